"""Where a connection goes: URLs judged once, so that nothing later can fail on one. Pure."""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from urllib.parse import urlsplit

_PRINTABLE = re.compile(r"[!-~]+")


@dataclass(frozen=True, slots=True)
class Origin:
    """`path` is the base URL's own path, without a final slash."""

    scheme: str
    host: str
    port: int
    path: str = ""
    insecure: bool = False
    ca_file: str = ""

    @property
    def key(self) -> str:
        """What connections are pooled under."""
        return f"{self.scheme}://{self.host}:{self.port} {self.insecure} {self.ca_file}"

    @property
    def authority(self) -> str:
        """The Host header's value."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        default = {"http": 80, "https": 443}.get(self.scheme)
        return host if self.port == default else f"{host}:{self.port}"


@functools.lru_cache(maxsize=1024)  # one per provider and target
def parse_origin(url: str, *, insecure: bool = False, ca_file: str = "") -> Origin:
    """The origin of an http(s) URL. Raises ValueError, saying what is wrong with it."""
    try:
        parts = urlsplit(url)
        port = parts.port or (443 if parts.scheme == "https" else 80)
        host = (parts.hostname or "").encode("idna").decode()
    except ValueError as e:  # also UnicodeError: a host name that cannot be one
        raise ValueError(f"{url!r} is not an http(s) URL: {e}") from None
    if parts.scheme not in ("http", "https") or not _PRINTABLE.fullmatch(host):
        raise ValueError(f"{url!r} is not an http(s) URL such as https://host:8443")
    rest = parts.path + parts.query
    if rest and not _PRINTABLE.fullmatch(rest):
        raise ValueError(f"{url!r}: write spaces and other alphabets as %XX")
    return Origin(parts.scheme, host, port, parts.path.rstrip("/"), insecure, ca_file)
