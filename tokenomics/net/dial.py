"""Making a connection out: name, TCP, a proxy's CONNECT, TLS; each with a deadline of its own."""

from __future__ import annotations

import contextlib
import os
import socket
import ssl

import trio

from tokenomics.errors import Invalid
from tokenomics.net.heads import BadHead, parse_answer
from tokenomics.net.origin import DIRECT, Origin
from tokenomics.net.proxies import Proxies, Proxy, connect_head, parse_proxy
from tokenomics.net.tls import client_context
from tokenomics.net.wire import SocketWire, TLSWire, Wire, WireError

MAX_PROXY_HEAD = 16 << 10  # bytes of a proxy's answer to CONNECT
MAX_SESSIONS = 1024  # TLS sessions kept, one per origin


class Unreachable(Exception):
    """No connection could be made; nothing was sent."""


class Dialer:
    """Makes connections. Owns the TLS sessions that later ones resume."""

    def __init__(self, proxies: Proxies) -> None:
        self._proxies = proxies
        self._sessions: dict[str, ssl.SSLSession] = {}

    async def dial(self, origin: Origin, connect: float, handshake: float) -> Wire:
        """A connection to an origin, ready for a request.

        `connect` bounds the name look-up and TCP, `handshake` the proxy's CONNECT and then TLS,
        each in seconds. Raises Unreachable.
        """
        proxy = self._proxy(origin)
        if proxy is None:
            wire: Wire = await _tcp(origin.authority, origin.host, origin.port, connect)
        else:
            wire = await _tcp(f"proxy {proxy.host}:{proxy.port}", proxy.host, proxy.port, connect)
        try:
            if proxy is not None:
                wire = await _tunnel(wire, proxy, origin, handshake)
            if origin.scheme == "https":
                wire = await self._secure(wire, origin, handshake)
        except BaseException:
            wire.close()
            raise
        return wire

    def remember(self, origin: Origin, wire: Wire) -> None:
        """A connection is done with: the next one may resume its TLS session."""
        if isinstance(wire, TLSWire) and wire.session is not None:
            if len(self._sessions) >= MAX_SESSIONS:
                self._sessions.clear()
            self._sessions[origin.key] = wire.session

    def forget(self, proxies: Proxies) -> None:
        """Certificates may have changed: begin anew, with these proxies."""
        self._proxies = proxies
        self._sessions.clear()

    def _proxy(self, origin: Origin) -> Proxy | None:
        if origin.proxy == DIRECT:
            return None
        if not origin.proxy:
            return self._proxies.proxy_for(origin)
        try:
            return parse_proxy(origin.proxy)
        except ValueError as e:
            raise Unreachable(f"{origin.authority}: {e}") from None

    async def _secure(self, below: Wire, origin: Origin, seconds: float) -> Wire:
        context = _context(origin)
        session = self._sessions.get(origin.key)
        try:
            wire = TLSWire(below, context, server_name=origin.host, session=session)
        except ValueError:  # the session belongs to a context of before a reload
            wire = TLSWire(below, context, server_name=origin.host)
        await _shake_hands(wire, origin.authority, seconds)
        return wire


def _context(origin: Origin) -> ssl.SSLContext:
    try:
        return client_context(
            insecure=origin.insecure,
            ca_file=origin.ca_file,
            cert_file=origin.cert_file,
            key_file=origin.key_file,
        )
    except Invalid as e:  # the file was good at start, and is not any more
        raise Unreachable(f"{origin.authority}: {e}") from None


async def _tcp(what: str, host: str, port: int, seconds: float) -> SocketWire:
    """Happy eyeballs (RFC 8305) by trio over all addresses of a name."""
    with trio.move_on_after(seconds):
        try:
            stream = await trio.open_tcp_stream(host, port)
        except OSError as e:
            raise Unreachable(f"{what}: {_reason(e)}") from e
        return SocketWire(socket.socket(fileno=stream.socket.detach()))
    raise Unreachable(f"{what}: no connection within {seconds:g} s")


async def _tunnel(wire: Wire, proxy: Proxy, origin: Origin, seconds: float) -> Wire:
    """Ask a proxy for a connection to an origin (RFC 9110 section 9.3.6)."""
    what = f"proxy {proxy.host}:{proxy.port}"
    if proxy.tls:
        try:
            context = client_context(ca_file=origin.ca_file)
        except Invalid as e:  # the file was good at start, and is not any more
            raise Unreachable(f"{what}: {e}") from None
        tls = TLSWire(wire, context, server_name=proxy.host)
        await _shake_hands(tls, what, seconds)
        wire = tls
    with trio.move_on_after(seconds):
        try:
            rest = wire.try_send(connect_head(proxy, origin.host, origin.port))
            if rest:
                await wire.send_rest(rest, lambda: None)
            head = b""
            while b"\r\n\r\n" not in head:  # what refuses has a body, too
                data = await wire.receive()
                head += data
                if not data or len(head) > MAX_PROXY_HEAD:
                    raise Unreachable(f"{what}: it did not answer CONNECT")
            head, end, rest = head.partition(b"\r\n\r\n")
            status = parse_answer(head + end, "CONNECT").status
        except (WireError, BadHead) as e:
            raise Unreachable(f"{what}: {e}") from None
        if status == 407:
            raise Unreachable(f"{what}: it wants a user and password; put them into its URL")
        if not 200 <= status < 300:
            raise Unreachable(f"{what}: it answered {status} to CONNECT {origin.authority}")
        if rest:  # nobody has been asked anything yet
            raise Unreachable(f"{what}: it sent more than an answer to CONNECT")
        return wire
    raise Unreachable(f"{what}: no answer to CONNECT within {seconds:g} s")


async def _shake_hands(wire: TLSWire, what: str, seconds: float) -> None:
    with trio.move_on_after(seconds):
        try:
            await wire.handshake()
        except WireError as e:
            raise Unreachable(f"{what}: {e}") from e
        return
    raise Unreachable(f"{what}: no TLS handshake within {seconds:g} s")


def _reason(error: OSError) -> str:
    """The plain reason out of trio's grouped connection errors."""
    cause = error.__cause__
    if isinstance(cause, OSError):
        error = cause
    elif isinstance(cause, ExceptionGroup):
        with contextlib.suppress(StopIteration):
            error = next(e for e in cause.exceptions if isinstance(e, OSError))
    if error.errno is not None and error.errno > 0:  # not getaddrinfo's numbers
        return os.strerror(error.errno)  # trio's text names the address again
    return error.strerror or str(error)
