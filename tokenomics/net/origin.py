"""Where a connection goes: URLs judged once, so that nothing later can fail on one. Pure."""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from urllib.parse import urlsplit

DIRECT = "direct"

_PRINTABLE = re.compile(r"[!-~]+")


@dataclass(frozen=True)
class Origin:
    """Where connections go, and how. `path` is the base URL's own path, without a final slash.

    `ca_file` has CAs to trust beside the system's; `cert_file` and `key_file` are a client
    certificate; `proxy` is the URL of an HTTP proxy, DIRECT for none, "" for what the environment
    says.
    """

    scheme: str
    host: str
    port: int
    path: str = ""
    insecure: bool = False
    ca_file: str = ""
    cert_file: str = ""
    key_file: str = ""
    proxy: str = ""

    @functools.cached_property
    def key(self) -> str:
        """What connections are pooled under."""
        tls = (self.insecure, self.ca_file, self.cert_file, self.key_file)
        return f"{self.scheme}://{self.host}:{self.port} {tls} {self.proxy}"

    @functools.cached_property
    def authority(self) -> str:
        """The Host header's value."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        default = {"http": 80, "https": 443}.get(self.scheme)
        return host if self.port == default else f"{host}:{self.port}"


@functools.lru_cache(maxsize=1024)  # one per provider and target
def parse_origin(
    url: str,
    *,
    insecure: bool = False,
    ca_file: str = "",
    cert_file: str = "",
    key_file: str = "",
    proxy: str = "",
) -> Origin:
    """The origin of an http(s) URL; see Origin. Raises ValueError, saying what is wrong with it."""
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
    return Origin(
        parts.scheme,
        host,
        port,
        parts.path.rstrip("/"),
        insecure,
        ca_file,
        cert_file,
        key_file,
        proxy,
    )
