"""Providers: what the catalogue, `providers.yaml` and the config's `providers` say of each."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from types import MappingProxyType
from typing import Any

from tokenomics.config.catalogue import CATALOGUE
from tokenomics.config.prices import PRICES
from tokenomics.config.pricing import read_prices
from tokenomics.config.provider_keys import ProviderKey, read_keys
from tokenomics.errors import Invalid
from tokenomics.net.origin import DIRECT, parse_origin
from tokenomics.net.proxies import parse_proxy
from tokenomics.prices import PriceBook, Row

ECHO_URL = "builtin:echo"
CHAT_PATH = "/v1/chat/completions"


@dataclass(frozen=True, slots=True, eq=False)
class Provider:
    """How to reach one provider. Field names are those of `providers.yaml`. One is equal to itself
    only: what is worked out for it is remembered under it.

    `auth_scheme`: `bearer` sends `Authorization: Bearer KEY`, `header` sends `auth_header: KEY`,
    `query` appends `?key=KEY`, `none` sends no key. `output_cap` is the request field that bounds
    the answer's tokens. `chat_path` tells the dialect: one that ends in `/chat/completions` is
    OpenAI's. `prices` are rows by model, over those of the table: see `pricing`. From `ca_file` on
    it is about connections: see `net.origin.Origin`. `keys` are several keys, each with its share;
    without them it is the one in `api_key_env`.
    """

    name: str
    upstream_url: str = ""
    api_key_env: str = ""
    base_url_env: str = ""
    auth_scheme: str = "bearer"
    auth_header: str = ""
    headers: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    chat_path: str = CHAT_PATH
    models: tuple[str, ...] = ()
    output_cap: str = "max_tokens"
    prices: Mapping[str, Row] = field(default_factory=lambda: MappingProxyType({}))
    ca_file: str = ""
    cert_file: str = ""
    key_file: str = ""
    proxy: str = field(default="", repr=False)  # a password may be in it
    insecure: bool = False
    keys: tuple[ProviderKey, ...] = ()

    def speaks(self, dialect: str) -> bool:
        """Whether "openai" or "anthropic" can be sent as it is; "" can to everyone."""
        if self.upstream_url == ECHO_URL or not dialect:
            return True
        return dialect == ("anthropic" if self.chat_path.endswith("/messages") else "openai")


_FIELDS = tuple(f.name for f in fields(Provider) if f.name != "name")
_SCHEMES = ("bearer", "header", "query", "none")


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
        out[name] = _provider(name, {**base, **row}, faults)
    if faults:
        raise Invalid("\n".join(faults))
    return out


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
        elif key == "models":
            values[key] = _models(place, value, faults)
        elif key == "headers":
            values[key] = _headers(place, value, faults)
        elif key == "prices":
            values[key] = read_prices(place, PRICES.get(name, {}), value, faults)
        elif key == "keys":
            values[key] = read_keys(place, value, faults)
        elif key == "insecure":
            if not isinstance(value, bool):
                faults.append(f"{place} must be true or false")
            values[key] = value is True
        elif not isinstance(value, str):
            faults.append(f"{place} must be text")
        else:
            values[key] = value
    if values.get("auth_scheme", "bearer") not in _SCHEMES:
        faults.append(f"providers.{name}.auth_scheme must be one of: {', '.join(_SCHEMES)}")
    url = values.get("upstream_url", "")
    if url and url != ECHO_URL:
        try:
            parse_origin(url)
        except ValueError as e:
            faults.append(f"providers.{name}.upstream_url: {e} (or {ECHO_URL})")
    faults += _connection_faults(name, values)
    if not values.get("api_key_env"):  # what clients know it by
        values["api_key_env"] = next((key.env for key in values.get("keys", ()) if key.env), "")
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
    if not isinstance(value, Mapping) or not all(isinstance(v, str) for v in value.values()):
        faults.append(f"{place} must map names to text (quote numbers and dates)")
        return {}
    return MappingProxyType({str(k).lower(): v for k, v in value.items()})
