"""The HTTP/1.1 client of the product: to providers, webhook targets and the central server.

`Client.call` gives a `Call` that owns one connection until it is left. Deadlines belong to the
caller's cancel scope. A request goes out a second time, on a fresh connection, only if a kept
connection broke before one byte of an answer came.
"""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
from collections.abc import Awaitable, Callable

import trio

from tokenomics.errors import Invalid
from tokenomics.net.framing import BadBody, Decoder, decoder
from tokenomics.net.heads import AnswerHead, BadHead, parse_answer
from tokenomics.net.message import request_head
from tokenomics.net.origin import Origin
from tokenomics.net.pool import Pool
from tokenomics.net.tls import client_context
from tokenomics.net.wire import SocketWire, TLSWire, Wire, WireError

MAX_ANSWER_HEAD = 64 << 10  # bytes
CONNECT_SECONDS = 10.0
MAX_INTERIM = 8  # 1xx answers before the real one


class Unreachable(Exception):
    """No connection could be made; nothing was sent."""


class Broken(Exception):
    """The connection broke, or what came is not HTTP. `began` tells whether an answer had begun."""

    def __init__(self, message: str, *, began: bool) -> None:
        super().__init__(message)
        self.began = began


class _Link:
    """A connection and how often it was used."""

    __slots__ = ("used", "wire")

    def __init__(self, wire: Wire) -> None:
        self.wire = wire
        self.used = False


class Call:
    """One request and its answer on one connection. Use as a context manager: leaving it gives the
    connection back if the answer was read to its end, and closes it otherwise."""

    def __init__(self, client: Client, origin: Origin, link: _Link) -> None:
        self._client = client
        self._origin = origin
        self._link = link
        self._buffer = b""
        self._began = False  # bytes of an answer have come, an interim one's too
        self._decoder: Decoder | None = None
        self._head: AnswerHead | None = None

    @property
    def answer(self) -> AnswerHead:
        """The answer's head; `Client.call` has read it."""
        assert self._head is not None, "read_head comes first"
        return self._head

    def __enter__(self) -> Call:
        return self

    def __exit__(self, *_: object) -> None:
        finished = self._decoder is not None and self._decoder.done
        reusable = finished and self._head is not None and self._head.keep_alive
        self._client.give_back(self._origin, self._link, reusable and not self._buffer)

    async def send(self, data: bytes) -> None:
        """Send the request. Raises Broken."""
        try:
            rest = self._link.wire.try_send(data)
            if rest:
                await self._link.wire.send_rest(rest)
        except WireError as e:
            raise Broken(str(e), began=False) from e

    async def read_head(self, method: str) -> AnswerHead:
        """The answer's head, interim answers skipped. Raises Broken."""
        for _ in range(MAX_INTERIM):
            head = parse_head(await self._read_raw_head(), method)
            if head.status >= 200:
                self._head = head
                self._decoder = decoder(chunked=head.chunked, length=head.length)
                return head
        raise Broken("too many interim answers", began=True)

    async def _read_raw_head(self) -> bytes:
        while True:
            end = self._buffer.find(b"\r\n\r\n")
            if end >= 0:
                raw, self._buffer = self._buffer[: end + 4], self._buffer[end + 4 :]
                return raw
            if len(self._buffer) > MAX_ANSWER_HEAD:
                raise Broken("the answer's head is too long", began=True)
            try:
                data = await self._link.wire.receive()
            except WireError as e:
                raise Broken(str(e), began=self._began) from e
            if not data:
                reason = "the connection was closed before an answer came"
                raise Broken(reason, began=self._began)
            self._began = True
            self._buffer += data

    def receive_nowait(self) -> tuple[bytes, bool]:
        """What of the body is here already, and whether that was its end. Raises Broken."""
        reader = self._decoder
        assert reader is not None, "read_head comes first"
        if reader.done or not self._buffer:
            return b"", reader.done
        try:
            data, self._buffer = reader.feed(self._buffer)
        except BadBody as e:
            raise Broken(str(e), began=True) from e
        return data, reader.done

    async def receive(self) -> bytes:
        """Some bytes of the body, b"" at its end. Raises Broken if it ends early."""
        reader = self._decoder
        assert reader is not None, "read_head comes first"
        try:
            while not reader.done:
                data, self._buffer = self._buffer, b""
                if not data:
                    data = await self._link.wire.receive()
                    if not data:
                        reader.eof()
                        break
                body, self._buffer = reader.feed(data)
                if body:
                    return body
        except (WireError, BadBody) as e:
            raise Broken(str(e), began=True) from e
        return b""

    async def read_all(self, limit: int) -> bytes:
        """The whole body. Raises Broken if it is longer than `limit` bytes or ends early."""
        parts: list[bytes] = []
        size = 0
        while data := await self.receive():
            size += len(data)
            if size > limit:
                raise Broken(f"the answer is longer than {limit} bytes", began=True)
            parts.append(data)
        return parts[0] if len(parts) == 1 else b"".join(parts)


def parse_head(raw: bytes, method: str) -> AnswerHead:
    """`parse_answer` with its error as Broken."""
    try:
        return parse_answer(raw, method)
    except BadHead as e:
        raise Broken(str(e), began=True) from e


Dial = Callable[[Origin], Awaitable[Wire]]


class Client:
    """Keeps connections. `dialers` serve schemes of their own (the built-in echo provider)."""

    def __init__(self, dialers: dict[str, Dial] | None = None) -> None:
        self._dialers = dialers or {}
        self._pool: Pool[_Link] = Pool(lambda link: link.wire.is_quiet())

    async def call(
        self,
        origin: Origin,
        method: str,
        target: str,
        headers: list[tuple[bytes, bytes]],
        body: bytes = b"",
    ) -> Call:
        """Send a request and read the answer's head. The caller closes the Call.

        `target` is below the origin's own path. Raises Unreachable or Broken.
        """
        fields = [(b"host", origin.authority.encode("ascii")), *headers]
        if body or method not in ("GET", "HEAD", "DELETE"):
            fields.append((b"content-length", b"%d" % len(body)))
        data = request_head(method, origin.path + target, fields) + body
        while True:
            link = await self._connect(origin)
            call = Call(self, origin, link)
            try:
                await call.send(data)
                await call.read_head(method)
            except Broken as e:
                call.__exit__()
                if e.began or not link.used:
                    raise
                continue  # a kept connection that the peer closed under us
            except BaseException:
                call.__exit__()
                raise
            return call

    async def _connect(self, origin: Origin) -> _Link:
        link, closing = self._pool.take(origin.key, trio.current_time())
        for old in closing:
            old.wire.close()
        if link is not None:
            link.used = True
            return link
        dial_own = self._dialers.get(origin.scheme)
        return _Link(await (dial_own(origin) if dial_own else dial(origin)))

    def give_back(self, origin: Origin, link: _Link, reusable: bool) -> None:
        """Keep or close a connection that a Call is done with."""
        if not reusable:
            link.wire.close()
            return
        for old in self._pool.put(origin.key, link, trio.current_time()):
            old.wire.close()

    def close(self) -> None:
        """Close the kept connections."""
        for link in self._pool.clear():
            link.wire.close()


async def dial(origin: Origin) -> Wire:
    """Connect, and shake hands if it is https. Raises Unreachable; bounded by CONNECT_SECONDS."""
    context = _context(origin)
    with trio.move_on_after(CONNECT_SECONDS):
        try:
            stream = await trio.open_tcp_stream(origin.host, origin.port)
        except OSError as e:
            raise Unreachable(f"{origin.authority}: {_reason(e)}") from e
        sock = socket.socket(fileno=stream.socket.detach())
        return SocketWire(sock) if context is None else await _secure(sock, context, origin)
    raise Unreachable(f"{origin.authority}: no connection within {CONNECT_SECONDS:.0f} s")


def _context(origin: Origin) -> ssl.SSLContext | None:
    if origin.scheme == "http":
        return None
    try:
        return client_context(insecure=origin.insecure, ca_file=origin.ca_file)
    except Invalid as e:  # the file was good at start, and is not any more
        raise Unreachable(f"{origin.authority}: {e}") from None


async def _secure(sock: socket.socket, context: ssl.SSLContext, origin: Origin) -> Wire:
    wire = TLSWire(sock, context, server_name=origin.host)
    try:
        await wire.handshake()
    except WireError as e:
        wire.close()
        raise Unreachable(f"{origin.authority}: {e}") from e
    except BaseException:
        wire.close()
        raise
    return wire


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
