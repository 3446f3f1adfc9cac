"""Which HTTP proxy a connection out goes through, and how that proxy is asked. Pure.

The environment is read the way Go's golang.org/x/net/http/httpproxy reads it: HTTPS_PROXY serves
https origins, HTTP_PROXY http ones, NO_PROXY lists what is reached directly. Where it differs:

- The lower-case spelling wins, as in curl (Go takes the upper-case one first). Empty is unset.
- A proxy that cannot be used is an error. Go goes on without it, past what an administrator set.

Not supported: SOCKS, ALL_PROXY, PAC files. A NO_PROXY name does not cover itself with a final dot.
"""

from __future__ import annotations

import base64
import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import SplitResult, unquote_to_bytes, urlsplit

from tokenomics.net.message import request_head
from tokenomics.net.origin import Origin
from tokenomics.tokens import Secret

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

DEFAULT_PORTS = {"http": 80, "https": 443}  # by the proxy's own scheme, as in Go

_HOST_NAME = re.compile(r"[0-9a-z._-]+")
_SPACES = re.compile(r"[\x00-\x20\x7f]")


@dataclass(frozen=True, slots=True)
class Proxy:
    """An HTTP proxy. `tls` says that it is itself spoken to in TLS (an https:// proxy);
    `authorization` is the value of Proxy-Authorization, or empty."""

    host: str
    port: int
    tls: bool = False
    authorization: Secret = Secret()

    @property
    def authority(self) -> str:
        """`host:port`, for messages: the credentials are not in it."""
        return _authority(self.host, self.port)


# The environment.


@dataclass(frozen=True, slots=True)
class Direct:
    """An entry of NO_PROXY: a network, or a name with what is below it. `port` is text, and empty
    for all ports."""

    port: str = ""
    network: Network | None = None
    name: str = ""
    below_only: bool = False

    def covers(self, host: str, address: Address | None, port: int) -> bool:
        """Whether a host is reached directly; `address` is the host's, if it is one."""
        if self.port and self.port != str(port):
            return False
        if address is not None:  # no name covers an address, not even one whose zone ends in it
            return self.network is not None and address in self.network
        if not self.name:
            return False
        return host.endswith("." + self.name) or (host == self.name and not self.below_only)


@dataclass(frozen=True, slots=True)
class Proxies:
    """The proxy for each scheme, and what goes past it."""

    http: Proxy | None = None
    https: Proxy | None = None
    direct: tuple[Direct, ...] = ()

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> Proxies:
        """What an environment says. Raises ValueError, which names the variable and never what is
        in it; entries of NO_PROXY that cannot be read cover nothing."""
        entries = [entry.strip().lower() for entry in _read(env, "no_proxy")[1].split(",")]
        if "*" in entries:
            return cls()
        direct = [parse_direct(entry) for entry in entries if entry]
        return cls(_read_proxy(env, "http_proxy"), _read_proxy(env, "https_proxy"), tuple(direct))

    def proxy_for(self, origin: Origin) -> Proxy | None:
        """The proxy for an origin, or None for a direct connection: to loopback, to what NO_PROXY
        covers, and for schemes of our own."""
        proxy = {"http": self.http, "https": self.https}.get(origin.scheme)
        if proxy is None:
            return None
        host = origin.host.lower()
        address = _address(host)
        if host == "localhost" or (address is not None and address.is_loopback):
            return None
        covered = any(entry.covers(host, address, origin.port) for entry in self.direct)
        return None if covered else proxy


def _read(env: Mapping[str, str], name: str) -> tuple[str, str]:
    """(the spelling that counts, its value)."""
    upper = name.upper()
    return (name, env[name]) if env.get(name) else (upper, env.get(upper, ""))


def _read_proxy(env: Mapping[str, str], name: str) -> Proxy | None:
    spelling, value = _read(env, name)
    try:
        return parse_proxy(value.strip()) if value.strip() else None
    except ValueError as e:
        raise ValueError(f"{spelling}: {e}") from None


def parse_direct(entry: str) -> Direct:
    """An entry of NO_PROXY, in lower case."""
    if "/" in entry:
        return Direct(network=_network(entry))
    host, port = _split_port(entry)
    address = _address(host)
    if address is not None:
        return Direct(port, network=ipaddress.ip_network(address))
    name = host.removeprefix("*")
    return Direct(port, name=_ascii(name.removeprefix(".")), below_only=name.startswith("."))


def _split_port(entry: str) -> tuple[str, str]:
    if entry.startswith("["):
        host, _, rest = entry[1:].partition("]")
        return host, rest.removeprefix(":")
    if entry.count(":") > 1:  # an IPv6 address without brackets
        return entry, ""
    host, _, port = entry.partition(":")
    return host, port


def _address(host: str) -> Address | None:
    """The address a host is, without its zone; IPv4 in IPv6 counts as IPv4, as in Go."""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


def _network(text: str) -> Network | None:
    try:
        return ipaddress.ip_network(text, strict=False)
    except ValueError:
        return None


def _ascii(name: str) -> str:
    """A name as origins have it (see `parse_origin`). One that cannot be a name stays: it never
    matches."""
    try:
        return name if name.isascii() else name.encode("idna").decode("ascii")
    except UnicodeError:
        return name


# A proxy's URL.


def parse_proxy(url: str) -> Proxy:
    """The proxy of `http://user:password@host:port`, `https://...` or a bare `host:port`.

    Raises ValueError, saying what is wrong. It repeats nothing of the URL: with an unescaped `/`
    or `@` in it, a password may stand where the host, the port or the scheme should.
    """
    if _SPACES.search(url):
        raise ValueError("the proxy's URL has a space or a control character; write it as %XX")
    scheme, found, _ = url.partition("://")
    if found and scheme.lower() not in DEFAULT_PORTS:
        raise ValueError("the proxy's URL must begin with http:// or https://; SOCKS is not there")
    parts = _split(url if found else "http://" + url)
    if parts.path not in ("", "/") or parts.query or parts.fragment:
        raise ValueError(
            "the proxy's URL has more than a host and a port; write / ? # in a password as %XX"
        )
    host, port = _host(parts), _port(parts)
    return Proxy(host, port, parts.scheme == "https", _authorization(parts))


def _split(url: str) -> SplitResult:
    try:
        return urlsplit(url)
    except ValueError:
        raise ValueError(
            "the proxy's URL is not one: write [ ] and other alphabets in a password as %XX"
        ) from None


def _host(parts: SplitResult) -> str:
    try:
        host = (parts.hostname or "").encode("idna").decode("ascii").lower()
    except ValueError:
        host = ""
    if _HOST_NAME.fullmatch(host) or (":" in host and _address(host) is not None):
        return host
    raise ValueError("the proxy's URL has no host, or one that cannot be; as in http://proxy:3128")


def _port(parts: SplitResult) -> int:
    try:
        port = DEFAULT_PORTS[parts.scheme] if parts.port is None else parts.port
    except ValueError:
        port = 0
    if port == 0:
        raise ValueError("the proxy's port must be a number from 1 to 65535")
    return port


def _authorization(parts: SplitResult) -> Secret:
    """Basic authentication (RFC 7617), in UTF-8, from a URL's userinfo."""
    userinfo, found, _ = parts.netloc.rpartition("@")
    if not found:
        return Secret()
    user, _, password = userinfo.partition(":")
    try:
        pair = unquote_to_bytes(user) + b":" + unquote_to_bytes(password)
    except UnicodeEncodeError:
        raise ValueError("the proxy's user and password are not UTF-8") from None
    return Secret("Basic " + base64.b64encode(pair).decode("ascii"))


# What is said to a proxy.


def connect_head(proxy: Proxy, host: str, port: int) -> bytes:
    """The request for a tunnel to `host:port` (RFC 9110 section 9.3.6). The bytes hold the proxy's
    credentials: they go onto the wire and nowhere else."""
    target = _authority(host, port)
    headers = [(b"host", target.encode("ascii"))]
    if proxy.authorization:
        headers.append((b"proxy-authorization", proxy.authorization.reveal().encode("ascii")))
    return request_head("CONNECT", target, headers)


def _authority(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
