"""One client connection: its requests in turn, its deadlines, its answers.

One task and one cancel scope per connection; the scope's deadline moves with what is waited for.
The application is one async function `app(request, reply)`; what it raises is its bug, answered
with 500.
"""

from __future__ import annotations

import contextlib
import math
import select
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

import trio

from tokenomics.errors import Refusal
from tokenomics.net.framing import LAST_CHUNK, BadBody, chunk, decoder
from tokenomics.net.heads import BadHead, HeadJudge, RequestHead
from tokenomics.net.message import answer_head
from tokenomics.net.wire import TLSWire, Wire, WireError

HANDSHAKE_SECONDS = 10.0
# A reader that takes this much within the stall limit is slow, not stalled.
STALL_BYTES = 64 << 10
# How long and how many reads a refused client may go on sending before the connection is cut.
LINGER_SECONDS = 1.0
LINGER_READS = 64
# Any client takes interim answers, asked for or not (RFC 9110 section 15.2).
INTERIM = b"HTTP/1.1 100 Continue\r\n\r\n"

ReplyHeaders = list[tuple[bytes, bytes]]


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of every connection: bytes and seconds."""

    max_head: int = 64 << 10
    max_body: int = 32 << 20
    head_timeout: float = 30.0
    keep_alive: float = 75.0
    stall: float = 60.0
    max_connections: int = 10_000


class Report(Protocol):
    """Where the server says what a person should know."""

    def __call__(self, level: str, message: str, **fields: object) -> None:
        """Log a message of a level with fields."""


class Request:
    """A request; its body is read on demand, once."""

    __slots__ = ("_body", "_connection", "head", "peer")

    def __init__(self, connection: Connection, head: RequestHead) -> None:
        self._connection = connection
        self._body: bytes | None = None
        self.head = head
        self.peer = connection.peer

    async def body(self) -> bytes:
        """The whole body. Raises Refusal `body_too_large` or `invalid_request`."""
        if self._body is None:
            self._body = await self._connection.read_body(self.head)
        return self._body


class Reply:
    """The answer to one request: either `send` once, or `start`, `write`..., `end`."""

    __slots__ = ("_bodiless", "_chunked", "_connection", "ended", "started")

    def __init__(self, connection: Connection, head: RequestHead) -> None:
        self._connection = connection
        self._bodiless = head.method == "HEAD"
        self._chunked = head.http11
        self.started = False
        self.ended = False

    async def send(self, status: int, headers: ReplyHeaders, body: bytes = b"") -> None:
        """The whole answer in one go. Raises WireError if the client is gone."""
        self.started = self.ended = True
        self._connection.probe = b""  # nothing may follow an answer that is whole
        head = [*headers, (b"content-length", b"%d" % len(body))]
        await self._connection.write(self._head(status, head) + (b"" if self._bodiless else body))

    async def start(self, status: int, headers: ReplyHeaders, *, probe: bytes = b"") -> None:
        """Begin an answer whose length is not known.

        `probe` is body that changes nothing (a comment of an event stream): it is sent if the
        client stops sending, to see whether it still reads.
        """
        self.started = True
        self._connection.probe = chunk(probe) if probe and self._chunked else probe
        if self._chunked:
            headers = [*headers, (b"transfer-encoding", b"chunked")]
        else:
            self._connection.keep_alive = False
        await self._connection.write(self._head(status, headers))

    async def write(self, data: bytes) -> None:
        """Send some of the body."""
        if data and not self._bodiless:
            await self._connection.write(chunk(data) if self._chunked else data)

    async def end(self) -> None:
        """End the body; without it the client sees that the answer is not whole."""
        self.ended = True
        self._connection.probe = b""
        if self._chunked and not self._bodiless:
            await self._connection.write(LAST_CHUNK)

    def _head(self, status: int, headers: ReplyHeaders) -> bytes:
        self._connection.give_up_body()
        if not self._connection.keep_alive:
            headers = [*headers, (b"connection", b"close")]
        elif not self._chunked:  # an HTTP/1.0 client waits for the end if it isn't told
            headers = [*headers, (b"connection", b"keep-alive")]
        return answer_head(status, headers)


App = Callable[[Request, Reply], Awaitable[None]]


class Host(Protocol):
    """What a connection needs of the server it belongs to."""

    app: App
    limits: Limits
    report: Report
    judge: HeadJudge
    draining: bool

    def began(self, connection: Connection) -> None:
        """A request is running on the connection: watch its client."""

    def ended(self, connection: Connection) -> None:
        """It is over."""


class Connection:
    """One client connection. Owned by its task; only `keep_alive`, `scope` and the socket are
    touched by others (drain and the watcher)."""

    def __init__(self, host: Host, wire: Wire, peer: str) -> None:
        self._host = host
        self._limits = host.limits
        self._wire = wire
        self._buffer = b""
        self._length: int | None = 0  # of the current request's body; None: chunked
        self._unread = False  # a body that the application has not read to its end
        self.probe = INTERIM
        self.peer = peer
        self.keep_alive = True
        self.idle = True  # between requests: nothing is lost by closing now
        self.half_closed = False
        self.scope = trio.CancelScope()

    @property
    def sock(self) -> socket.socket:
        """The socket, for the watcher."""
        return self._wire.sock

    async def run(self) -> None:
        """Serve requests until either side ends the connection."""
        with self.scope:
            try:
                await self._shake_hands()
                await self._serve_all()
                if self._unread:
                    await self._linger()
            except WireError:
                pass  # the client is gone; there is nobody to tell
        if self.scope.cancelled_caught and self.idle and self._buffer:
            self._say(408, "the request head did not arrive in time")

    async def _serve_all(self) -> None:
        while self.keep_alive and not self._host.draining:
            try:
                head = await self._read_head()
            except BadHead as e:
                self._say(e.status, str(e))
                self._unread = True
                return
            if head is None:
                return
            await self._serve(head)

    async def _shake_hands(self) -> None:
        if isinstance(self._wire, TLSWire):
            self.scope.deadline = trio.current_time() + HANDSHAKE_SECONDS
            await self._wire.handshake()

    async def _serve(self, head: RequestHead) -> None:
        self.idle = False
        self.probe = INTERIM if head.http11 else b""
        self.keep_alive = head.keep_alive and not self._host.draining
        request, reply = Request(self, head), Reply(self, head)
        self._host.began(self)
        try:
            await self._host.app(request, reply)
        except WireError:
            self.keep_alive = False
        except Exception as e:  # noqa: BLE001  outer door: a bug ends one request, not the server
            self.keep_alive = False
            self._host.report("error", f"request failed: {e!r}", error=e)
            if not reply.started:
                await reply.send(500, [(b"content-type", b"text/plain")], b"internal error\n")
        finally:
            self._host.ended(self)
        if not reply.ended or self._unread or self._host.draining:
            self.keep_alive = False
        self.idle = True

    async def _read_head(self) -> RequestHead | None:
        """The next head, or None if the client closed. Raises BadHead."""
        limits = self._limits
        self.scope.deadline = trio.current_time() + limits.keep_alive
        started = False
        while True:
            if not started:
                self._buffer = self._buffer.lstrip(b"\r\n")
            end = self._buffer.find(b"\r\n\r\n")
            if end >= 0 or len(self._buffer) > limits.max_head:
                break
            if self._buffer and not started:  # from the first byte, whatever comes after it
                started = True
                self.scope.deadline = trio.current_time() + limits.head_timeout
            data = await self._wire.receive()
            if not data:
                return None
            self._buffer += data
        if end < 0 or end > limits.max_head:
            raise BadHead("the request head is too long", 431)
        raw, self._buffer = self._buffer[: end + 4], self._buffer[end + 4 :]
        head, length = self._host.judge.judge(raw)
        self._length = length
        self._unread = length != 0
        self.scope.deadline = math.inf
        return head

    async def read_body(self, head: RequestHead) -> bytes:
        """The body of the current request. Raises Refusal; the connection then ends."""
        length, limit = self._length, self._limits.max_body
        if length is not None and length > limit:
            raise _too_large(limit)
        if length is not None and length <= len(self._buffer):  # it came with the head
            body, self._buffer = self._buffer[:length], self._buffer[length:]
            self._unread = False
            return body
        if head.http11 and head.get(b"expect") is not None and not self._buffer:
            await self.write(INTERIM)
        reader = decoder(chunked=length is None, length=length)
        parts: list[bytes] = []
        size = 0
        data, self._buffer = self._buffer, b""
        try:
            while True:
                part, data = reader.feed(data)
                parts.append(part)
                size += len(part)
                if size > limit:
                    raise _too_large(limit)
                if reader.done:
                    break
                self.scope.deadline = trio.current_time() + self._limits.stall
                data = await self._wire.receive()
                if not data:
                    raise WireError("closed inside a request body")
        except BadBody as e:
            raise Refusal("invalid_request", f"malformed request body: {e}") from None
        finally:
            self.scope.deadline = math.inf
        self._buffer = data
        self._unread = False
        return b"".join(parts)

    def give_up_body(self) -> None:
        """The answer begins: a body that nobody has read is dropped if it is here, and otherwise
        ends the connection, which the answer then says."""
        if self._unread and self._length is not None and self._length <= len(self._buffer):
            self._buffer = self._buffer[self._length :]
            self._unread = False
        if self._unread:
            self.keep_alive = False

    async def write(self, data: bytes) -> None:
        """Send bytes; a reader that stalls longer than the limit ends the connection."""
        rest = self._wire.try_send(data)
        if rest:
            probe, self.probe = self.probe, b""  # it would land inside of what is sent
            for start in range(0, len(rest), STALL_BYTES):
                self.scope.deadline = trio.current_time() + self._limits.stall
                await self._wire.send_rest(rest[start : start + STALL_BYTES])
            self.scope.deadline = math.inf
            self.probe = probe

    async def _linger(self) -> None:
        """Let the client read a refusal before the connection closes: closing on unread bytes
        resets it, and the answer would be lost (RFC 9112 section 9.6)."""
        with contextlib.suppress(OSError):
            self._wire.sock.shutdown(socket.SHUT_WR)
        with trio.move_on_after(LINGER_SECONDS):
            for _ in range(LINGER_READS):
                if not await self._wire.receive():
                    break

    def _say(self, status: int, message: str) -> None:
        body = message.encode() + b"\n"
        headers = [
            (b"content-type", b"text/plain; charset=utf-8"),
            (b"content-length", b"%d" % len(body)),
            (b"connection", b"close"),
        ]
        try:
            self._wire.try_send(answer_head(status, headers) + body)
        except WireError:
            return

    def look(self, events: int) -> None:
        """What the watcher saw on the socket: a reset, or the end of the client's sending.

        A client that half-closed still wants its answer, one that closed does not. The two look
        alike until something is sent, so something harmless is: a client that is gone resets on it.
        """
        if events & (select.POLLERR | select.POLLHUP | select.POLLNVAL):
            self.keep_alive = False
            self.scope.cancel()
        elif events & select.POLLRDHUP and self.probe and not self.half_closed:
            self.keep_alive = False
            try:
                rest = self._wire.try_send(self.probe)
            except WireError:
                self.scope.cancel()
                return
            self.half_closed = rest != self.probe  # the socket is full: look again
            if rest and self.half_closed:  # half a probe would garble what follows
                self.scope.cancel()


def _too_large(limit: int) -> Refusal:
    return Refusal("body_too_large", f"the request body is over the limit of {limit} bytes")
