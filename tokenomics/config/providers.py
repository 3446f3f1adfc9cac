"""Providers: what the catalogue, `providers.yaml` and the config's `providers` say of each."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from types import MappingProxyType
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode

from tokenomics.config.catalogue import CATALOGUE
from tokenomics.config.prices import PRICES
from tokenomics.config.pricing import read_prices
from tokenomics.config.provider_keys import ProviderKey, read_keys
from tokenomics.errors import Invalid
from tokenomics.net.origin import DIRECT, parse_origin
from tokenomics.net.proxies import parse_proxy
from tokenomics.prices import PriceBook, Row

ECHO_URL = "builtin:echo"
API_PATH = "/v1"
CHAT_PATH = "/v1/chat/completions"
DIALECTS = ("openai", "anthropic")
MODEL_MARK = "{model}"


@dataclass(frozen=True, slots=True, eq=False)
class Provider:
    """How to reach one provider. Field names are those of `providers.yaml`. One is equal to itself
    only: what is worked out for it is remembered under it.

    `dialect` is what it speaks at `chat_path`: "openai" or "anthropic". Of the two, one that is not
    given follows from the other: a path that ends in `/messages` is Anthropic's. `api_path` is what
    stands before all other paths of its API. In both, `{model}` stands for the model's name, as one
    segment. `query` is added to every request, where the client did not send the same name.

    `auth_scheme`: `bearer` sends `Authorization: Bearer KEY`, `header` sends `auth_header: KEY`,
    `query` appends `?key=KEY`, `none` sends no key. `output_cap` is the request field that bounds
    the answer's tokens. `prices` are rows by model, over those of the table: see `pricing`. From
    `ca_file` on it is about connections: see `net.origin.Origin`. `keys` are several keys, each
    with its share; without them it is the one in `api_key_env`.
    """

    name: str
    upstream_url: str = ""
    api_key_env: str = ""
    base_url_env: str = ""
    auth_scheme: str = "bearer"
    auth_header: str = ""
    headers: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    dialect: str = ""
    api_path: str = API_PATH
    chat_path: str = ""
    query: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    models: tuple[str, ...] = ()
    output_cap: str = "max_tokens"
    prices: Mapping[str, Row] = field(default_factory=lambda: MappingProxyType({}))
    ca_file: str = ""
    cert_file: str = ""
    key_file: str = ""
    proxy: str = field(default="", repr=False)  # a password may be in it
    insecure: bool = False
    keys: tuple[ProviderKey, ...] = ()

    def __post_init__(self) -> None:
        # Frozen, but not finished: what was left out follows from the rest.
        if not self.dialect:
            found = "anthropic" if self.chat_path.endswith("/messages") else "openai"
            object.__setattr__(self, "dialect", found)
        if not self.chat_path:
            last = "/messages" if self.dialect == "anthropic" else "/chat/completions"
            object.__setattr__(self, "chat_path", self.api_path + last)

    def speaks(self, dialect: str) -> bool:
        """Whether "openai" or "anthropic" can be sent as it is; "" can to everyone."""
        return self.upstream_url == ECHO_URL or not dialect or dialect == self.dialect

    @property
    def variables(self) -> tuple[str, ...]:
        """The variables whose keys may be sent to its URL."""
        if self.auth_scheme == "none":
            return ()
        named = [key.env for key in self.keys if key.env and not key.upstream_url]
        return tuple(named or filter(None, [self.api_key_env]))

    def segment(self, model: str) -> str:
        """What stands for a model in the paths: "" if they do not name it.

        Raises ValueError if it cannot be one segment of a path.
        """
        if MODEL_MARK not in self.api_path and MODEL_MARK not in self.chat_path:
            return ""
        # Servers and proxies unquote before they look: a quoted slash may still be one to them.
        if not model.strip(".") or "/" in model or "\\" in model:
            raise ValueError(
                f"model {model!r} cannot stand in a path of provider {self.name}: it must be a name"
                " without slashes"
            )
        return quote(model, safe="")

    def path(self, path: str, segment: str = "") -> str:
        """The target of an API path such as `/embeddings`, below the base URL's own path.

        A base URL that ends in the API's own path (`/v1`) already has it.
        """
        start, chat = (p.replace(MODEL_MARK, segment) for p in (self.api_path, self.chat_path))
        if path == "/chat/completions":
            path = chat
        elif self.dialect == "anthropic" and (path + "/").startswith("/messages/"):
            path = chat + path.removeprefix("/messages")
        else:
            path = start + path
        if path.startswith(start + "/") and self.upstream_url.rstrip("/").endswith(start):
            path = path.removeprefix(start)
        return path

    def query_of(self, sent: str, key: str) -> str:
        """The query of a request: what the client sent, what is configured, the key if it goes
        there."""
        names = {name for name, _ in parse_qsl(sent, keep_blank_values=True)}
        own = {name: value for name, value in self.query.items() if name not in names}
        parts = [sent, urlencode(own, quote_via=quote)]
        if self.auth_scheme == "query" and key:
            parts.append(f"key={quote(key, safe='')}")
        return "&".join(part for part in parts if part)

    def credentials(self, key: str) -> list[tuple[str, str]]:
        """The header that carries a key, if there is one."""
        if key and self.auth_scheme == "bearer":
            return [("authorization", f"Bearer {key}")]
        if key and self.auth_scheme == "header":
            return [(self.auth_header.lower() or "authorization", key)]
        return []


_FIELDS = tuple(f.name for f in fields(Provider) if f.name != "name")
_SCHEMES = ("bearer", "header", "query", "none")
_PATH = re.compile(r"(/([!$&-.0-;=@A-Z_a-z~]|%[0-9A-Fa-f]{2}|\{model\})+)*")


def build_providers(overrides: Mapping[str, Any]) -> dict[str, Provider]:
    """The catalogue with `overrides` laid over it by field. Raises Invalid with all faults."""
    faults: list[str] = []
    out = {name: _provider(name, row, faults) for name, row in CATALOGUE.items()}
    for name, row in overrides.items():
        base = CATALOGUE.get(name, {})
        if row is None:
            row = {}
        if not isinstance(row, Mapping):
            faults.append(f"providers.{name} must be a mapping")
            continue
        out[name] = _provider(name, _laid_over(base, row), faults)
    if faults:
        raise Invalid("\n".join(faults))
    return out


def _laid_over(base: Mapping[str, Any], row: Mapping[str, Any]) -> dict[str, Any]:
    """A row over the catalogue's. Dialect and chat path belong together: who gives another of one
    does not get the catalogue's of the other."""
    pair = ("dialect", "chat_path")
    gone = pair if any(key in row and row[key] != base.get(key) for key in pair) else ()
    return {**{key: value for key, value in base.items() if key not in gone}, **row}


def price_book(providers: Mapping[str, Provider]) -> PriceBook:
    """The table's prices with those of `providers` over them."""
    own = {name: provider.prices for name, provider in providers.items()}
    names = {**PRICES, **own}
    return PriceBook({name: {**PRICES.get(name, {}), **own.get(name, {})} for name in names})


def _provider(name: str, row: Mapping[str, Any], faults: list[str]) -> Provider:
    values: dict[str, Any] = {}
    for key, value in row.items():
        place = f"providers.{name}.{key}"
        if key not in _FIELDS:
            near = difflib.get_close_matches(str(key), _FIELDS, 1, 0.5)
            hint = f"; did you mean {near[0]}?" if near else f"; known: {', '.join(_FIELDS)}"
            faults.append(f"{place} is not a known key{hint}")
        elif key in _READERS:
            values[key] = _READERS[key](place, value, faults)
        elif key == "prices":
            values[key] = read_prices(place, PRICES.get(name, {}), value, faults)
        elif key == "insecure":
            if not isinstance(value, bool):
                faults.append(f"{place} must be true or false")
            values[key] = value is True
        elif not isinstance(value, str):
            faults.append(f"{place} must be text")
        else:
            values[key] = value
    for key, allowed in (("auth_scheme", _SCHEMES), ("dialect", DIALECTS)):
        value = values.get(key, allowed[0])
        if isinstance(value, str) and value not in allowed:
            faults.append(_not_one_of(f"providers.{name}.{key}", value, allowed))
    for key in ("api_path", "chat_path"):
        if not _PATH.fullmatch(values.get(key, "")):
            faults.append(
                f"providers.{name}.{key} must be a path such as /v1, without a slash at its end;"
                f" {MODEL_MARK} in it stands for the model"
            )
    url = values.get("upstream_url", "")
    if url and url != ECHO_URL:
        try:
            parse_origin(url)
        except ValueError as e:
            faults.append(f"providers.{name}.upstream_url: {e} (or {ECHO_URL})")
    faults += _connection_faults(name, values)
    if not values.get("api_key_env"):  # what clients know it by
        own = (key.env for key in values.get("keys", ()) if not key.upstream_url)
        values["api_key_env"] = next(own, "")
    return Provider(name, **values)


def _connection_faults(name: str, values: Mapping[str, Any]) -> list[str]:
    faults = []
    proxy = values.get("proxy", "")
    if proxy and proxy != DIRECT:
        try:
            parse_proxy(proxy)
        except ValueError as e:
            faults.append(f"providers.{name}.proxy: {e} (or {DIRECT}, for none)")
    if values.get("key_file") and not values.get("cert_file"):
        faults.append(f"providers.{name}.key_file needs cert_file")
    return faults


def _models(place: str, value: Any, faults: list[str]) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(m, str) for m in value):
        faults.append(f"{place} must be a list of names")
        return ()
    return tuple(value)


def _headers(place: str, value: Any, faults: list[str]) -> Mapping[str, str]:
    return MappingProxyType({k.lower(): v for k, v in _texts(place, value, faults).items()})


def _texts(place: str, value: Any, faults: list[str]) -> Mapping[str, str]:
    if not isinstance(value, Mapping) or not all(isinstance(v, str) for v in value.values()):
        faults.append(f"{place} must map names to text (quote numbers and dates)")
        return {}
    return MappingProxyType({str(k): v for k, v in value.items()})


def _not_one_of(place: str, value: str, allowed: tuple[str, ...]) -> str:
    near = difflib.get_close_matches(value.lower(), allowed, 1, 0.5)
    hint = f"; did you mean {near[0]}?" if near else ""
    return f"{place} must be one of: {', '.join(allowed)}; it is {value!r}{hint}"


_READERS: dict[str, Callable[[str, Any, list[str]], Any]] = {
    "models": _models,
    "headers": _headers,
    "query": _texts,
    "keys": read_keys,
}
