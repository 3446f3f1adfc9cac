"""From a parsed document, the environment and flags to a frozen `Config`, with all faults at once.

Pure: the document is what YAML or TOML gave, `lines` says where each key stood, `env` is a mapping.
Precedence: flag, environment, file, default (contract 3).
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields, is_dataclass, replace
from pathlib import Path
from typing import Any, cast

from tokenomics.config import settings
from tokenomics.config.settings import Certificate, Config, Redis, Webhook, rows
from tokenomics.errors import Invalid
from tokenomics.net.origin import parse_origin
from tokenomics.net.redis_address import parse_address
from tokenomics.tokens import Secret
from tokenomics.units import parse_duration, parse_size

_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}")
_TRUE, _FALSE = {"true", "1", "yes", "on"}, {"false", "0", "no", "off", ""}
_CHOICES = {
    "session.backend": ("memory", "redis"),
    "session.redis.on_error": ("local", "closed", "open"),
    "logging.level": ("debug", "info", "warn", "error"),
    "logging.format": ("json", "text"),
}
# With nothing of these, no provider and no Redis could be reached.
_POSITIVE = frozenset(
    [*(row.key for row in rows() if row.key.startswith("upstream.")), "session.redis.timeout"]
)
_LISTS = {"tuple[Webhook, ...]": Webhook, "tuple[Certificate, ...]": Certificate}


@dataclass(frozen=True, slots=True)
class Source:
    """Where values come from. `file` names the document in messages; `lines` maps a dotted key to
    the line it stands on; `flags` maps dotted keys to values given on the command line."""

    file: str
    document: Mapping[str, Any]
    lines: Mapping[str, int]
    env: Mapping[str, str]
    flags: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Built:
    """A config and what a person should know about it (accepted settings that do nothing yet)."""

    config: Config
    warnings: tuple[str, ...]


class _Builder:
    """Walks the table once, collecting faults instead of stopping at the first."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.faults: list[str] = []
        self.warnings: list[str] = []
        self.given: set[str] = set()  # the keys that somebody gave a value

    def where(self, key: str) -> str:
        line = self.source.lines.get(key)
        return f"{self.source.file}:{line}: {key}" if line else f"{self.source.file}: {key}"

    def group(self, cls: type, node: object, prefix: str) -> Any:
        if node is None:
            node = {}
        if not isinstance(node, Mapping):
            self.faults.append(f"{self.where(prefix[:-1])} must be a mapping")
            node = {}
        self.unknown(cls, node, prefix)
        values = {}
        for f in fields(cast(Any, cls)):
            key = prefix + f.name
            nested = f.default_factory
            if isinstance(nested, type) and is_dataclass(nested):
                values[f.name] = self.group(nested, node.get(f.name), key + ".")
                continue
            default = f.default if f.default is not MISSING else {}
            values[f.name] = self.value(key, str(f.type), default, node.get(f.name, MISSING))
            if f.metadata["inert"] and values[f.name] != default:
                self.warnings.append(f"{key} is set but has no effect: {f.metadata['inert']}")
        return cls(**values)

    def unknown(self, cls: type, node: Mapping[str, Any], prefix: str) -> None:
        known = [f.name for f in fields(cast(Any, cls))]
        for name in node:
            if name in known:
                continue
            message = f"{self.where(prefix + str(name))} is not a known key"
            near = difflib.get_close_matches(str(name), known, 1, 0.5)
            elsewhere = [r.key for r in rows() if r.key.rsplit(".", 1)[-1] == name]
            if near:
                message += f"; did you mean {prefix}{near[0]}?"
            elif elsewhere:
                message += f"; did you mean {elsewhere[0]}?"
            self.faults.append(message)

    def value(self, key: str, type_: str, default: Any, node: Any) -> Any:
        flags, env = self.source.flags, self.source.env
        variable = "TOKENOMICS_" + key.upper().replace(".", "_")
        if flags.get(key) is not None:
            origin, raw = "command line", flags[key]
        elif variable in env and "[" not in key:
            origin, raw = f"${variable}", env[variable]
        elif node is not MISSING and node is not None:
            origin, raw = self.where(key), node
        else:
            return default
        try:
            raw = self.expand(raw) if raw is node else raw
            if raw != "":
                self.given.add(key)
            return self.read(key, type_, raw)
        except ValueError as e:
            self.faults.append(f"{origin}: {e}")
            return default

    def expand(self, raw: Any) -> Any:
        if isinstance(raw, dict):
            return {k: self.expand(v) for k, v in raw.items()}
        if isinstance(raw, list):
            return [self.expand(v) for v in raw]
        return expand(raw, self.source.env) if isinstance(raw, str) else raw

    def read(self, key: str, type_: str, raw: Any) -> Any:
        if type_ in _LISTS:
            return self.items(key, _LISTS[type_], raw)
        value = _read(type_, raw)
        if key in _POSITIVE and not value:
            raise ValueError("must be more than 0")
        allowed = _CHOICES.get(key)
        if allowed and value not in allowed:
            raise ValueError(f"{value!r} is not one of: {', '.join(allowed)}")
        return value

    def url(self, key: str, value: str) -> None:
        try:
            parse_origin(value)
        except ValueError as e:
            self.faults.append(f"{self.where(key)}: {e}")

    def redis(self, redis: Redis) -> Redis:
        """With what the URL in `addr` says in fields of its own, where nobody gave those."""
        try:
            found = parse_address(redis.addr or Redis().addr)
        except ValueError as e:
            self.faults.append(f"{self.where('session.redis.addr')}: {e}")
            return redis

        def silent(name: str) -> bool:
            return f"session.redis.{name}" not in self.given

        return replace(
            redis,
            addr=str(found),
            tls=redis.tls or found.tls,
            username=found.username if silent("username") else redis.username,
            password=found.password if silent("password") else redis.password,
            db=found.db or 0 if silent("db") else redis.db,
        )

    def items(self, key: str, cls: type, raw: Any) -> tuple[Any, ...]:
        if not isinstance(raw, list):
            raise ValueError(f"must be a list of {key.rpartition('.')[2]}")
        out = []
        for i, node in enumerate(raw):
            item = self.group(cls, node, f"{key}[{i}].")
            if isinstance(item, Webhook):
                self.url(f"{key}[{i}].url", item.url)
            elif not (item.cert_file and item.key_file):
                self.faults.append(f"{self.where(f'{key}[{i}]')} needs cert_file and key_file")
            out.append(item)
        return tuple(out)


def expand(text: str, env: Mapping[str, str]) -> str:
    """`text` with `${NAME}` and `${NAME:-default}` filled in. An unset name is a ValueError: an
    empty secret would switch a check off."""

    def fill(match: re.Match[str]) -> str:
        value = env.get(match[1], match[2])
        if value is None:
            raise ValueError(f"${{{match[1]}}} is not set in the environment or .env")
        return value

    return _VARIABLE.sub(fill, text)


def _read(type_: str, raw: Any) -> Any:
    if type_ == "Secret" and not isinstance(raw, str):
        raise ValueError("must be text: put it in quotes")  # YAML reads 0123 as 83
    if type_ in ("str", "Path", "Secret"):
        if not isinstance(raw, str | int | float) or isinstance(raw, bool):
            raise ValueError("must be text")
        return {"str": str, "Path": Path, "Secret": Secret}[type_](str(raw))
    if type_ == "bool":
        text = str(raw).lower()
        if text not in _TRUE | _FALSE:
            raise ValueError(f"{raw!r} is not true or false")
        return text in _TRUE
    if type_ == "int":
        if isinstance(raw, bool) or not re.fullmatch(r"\d{1,9}", str(raw)):
            raise ValueError(f"{raw!r} is not a whole number")
        return int(raw)
    if type_ == "Seconds":
        text = str(raw)
        return float(text) if re.fullmatch(r"\d+(\.\d+)?", text) else parse_duration(text)
    if type_ == "Bytes":
        return parse_size(str(raw))
    if type_ == "tuple[str, ...]":
        items = raw.split(",") if isinstance(raw, str) else raw
        if not isinstance(items, list) or not all(isinstance(i, str) for i in items):
            raise ValueError("must be a list of text")
        return tuple(i.strip() for i in items)
    if not isinstance(raw, dict):
        raise ValueError("must be a mapping")
    return raw


def build(source: Source) -> Built:
    """The config. Raises Invalid with every fault, a line each, naming file, line and key."""
    builder = _Builder(source)
    config: Config = builder.group(Config, source.document, "")
    for key in ("server.http_port", "server.https_port"):
        port = config.server.http_port if key.endswith("http_port") else config.server.https_port
        if port > 65535:
            builder.faults.append(f"{builder.where(key)}: {port} is not a port (0 to 65535)")
    if config.remote.url:
        builder.url("remote.url", config.remote.url)
    redis = builder.redis(config.session.redis)
    if builder.faults:
        raise Invalid("\n".join(builder.faults))
    config = replace(config, session=replace(config.session, redis=redis))
    return Built(_with_paths(config, builder.given, source.env), tuple(builder.warnings))


def state_folder(chosen: str, env: Mapping[str, str]) -> Path:
    """The state directory: the chosen one, else systemd's, else ~/.tokenomics."""
    state = env.get("STATE_DIRECTORY", "").split(":")[0]
    return _from_home(chosen or state or "~/.tokenomics", env)


def _from_home(text: str, env: Mapping[str, str]) -> Path:
    at_home = text == "~" or text.startswith("~/")
    return Path(env.get("HOME", "/"), text[2:]) if at_home else Path(text)


def _with_paths(config: Config, given: set[str], env: Mapping[str, str]) -> Config:
    """Fill in the paths that follow from others, and expand `~`. A path is told from none by
    `given`, for `.` and an empty one are the same `Path`."""

    def at(key: str, path: Path, default: Path) -> Path:
        return _from_home(str(path), env) if key in given else default

    root = state_folder(str(config.dir) if "dir" in given else "", env)
    tls = config.server.tls
    tls = replace(tls, cert_dir=at("server.tls.cert_dir", tls.cert_dir, root / "certs"))
    db_path = at("storage.db_path", config.storage.db_path, root / "tokenomics.db")
    storage = settings.Storage(db_path=db_path)
    return replace(config, dir=root, server=replace(config.server, tls=tls), storage=storage)
