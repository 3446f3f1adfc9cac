"""Where a Redis is, as people write it. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from tokenomics.tokens import Secret

PORT = 6379
_HOST = re.compile(r"[0-9A-Za-z._-]+|[0-9A-Fa-f:.]+(?:%[0-9A-Za-z._-]+)?")
_HOST_PORT = re.compile(r"(?:\[([^]]*)\]|([^:\[\]]*))(?::([0-9]{1,5}))?")
_FORMS = (
    "write host:port, unix:/path, or redis://user:password@host:port/db (rediss:// for TLS; %XX for"
    " what is no letter or digit in user and password)"
)


@dataclass(frozen=True, slots=True)
class Address:
    """A host and port, or the path of a Unix socket; and what a URL says besides: `db` is None
    where it says nothing."""

    host: str = ""
    port: int = PORT
    path: str = ""
    tls: bool = False
    username: str = ""
    password: Secret = Secret()
    db: int | None = None

    def __str__(self) -> str:
        """As `parse_address` reads it, without user, password and database."""
        if self.path:
            return f"unix:{self.path}"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_address(text: str) -> Address:
    """The address in a setting. Raises ValueError, which never shows what may hold a password."""
    if text.startswith("unix:"):
        path = text.removeprefix("unix:").removeprefix("//")
        if not path.startswith("/") or "\0" in path:
            raise ValueError(f"{text!r} is not the path of a socket: write unix:/path")
        return Address(path=path)
    if "://" in text:
        return _parse_url(text)
    if "@" in text:
        raise ValueError(f"a user and password are written into a URL: {_FORMS}")
    host, port = _host_port(text)
    return Address(host, port)


def _parse_url(text: str) -> Address:
    try:
        parts = urlsplit(text)
    except ValueError:
        raise ValueError(f"it is not a URL: {_FORMS}") from None
    if parts.scheme not in ("redis", "rediss"):
        raise ValueError(f"its URL does not begin with redis:// or rediss://: {_FORMS}")
    db = parts.path.removeprefix("/")
    if parts.query or parts.fragment or not re.fullmatch(r"[0-9]{0,9}", db):
        raise ValueError(f"its URL has more behind the host than a database number: {_FORMS}")
    who, at, where = parts.netloc.rpartition("@")
    username, _, password = who.partition(":")
    try:
        host, port = _host_port(where)
    except ValueError:
        raise ValueError(
            f"its URL has no host and port{'' if at else ' (or no @)'}: {_FORMS}"
        ) from None
    return Address(
        host,
        port,
        tls=parts.scheme == "rediss",
        username=unquote(username),
        password=Secret(unquote(password)),
        db=int(db) if db else None,
    )


def _host_port(text: str) -> tuple[str, int]:
    match = _HOST_PORT.fullmatch(text)
    host = (match[1] or match[2] or "") if match else ""
    port = int(match[3] or PORT) if match else 0
    try:
        host = host if ":" in host else host.encode("idna").decode()
    except UnicodeError:
        host = ""
    if not _HOST.fullmatch(host) or not 0 < port < 65536:
        raise ValueError(f"{text!r} is not a host and port: {_FORMS}")
    return host, port
