"""One client connection: its requests in turn, its deadlines, its answers.

One task and one cancel scope per connection; each wait's deadline is a number on the wire, which
the server's watch looks at. The application is one async function `app(request, reply)`; what it
raises is its bug, answered with 500.
"""

from __future__ import annotations

import contextlib
import re
import select
import socket
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from email.utils import formatdate
from functools import lru_cache
from typing import Protocol

import trio

from tokenomics.errors import Refusal
from tokenomics.net.framing import LAST_CHUNK, BadBody, chunk, decoder
from tokenomics.net.heads import BadHead, HeadJudge, RequestHead
from tokenomics.net.message import answer_head, block, status_line
from tokenomics.net.watch import Watch
from tokenomics.net.wire import STALL_BYTES, TLSWire, Wire, WireError, WireExpired

HANDSHAKE_SECONDS = 10.0
# Each chunk costs some work. Beyond MOST_CHUNKS they must be of LEAST_CHUNK bytes on average, which
# nobody's honest client comes near.
MOST_CHUNKS = 4096
LEAST_CHUNK = 64
# How long and how many reads a refused client may go on sending before the connection is cut.
LINGER_SECONDS = 1.0
LINGER_READS = 64
# Any client takes interim answers, asked for or not (RFC 9110 section 15.2).
INTERIM = b"HTTP/1.1 100 Continue\r\n\r\n"
_EMPTY_LINES = re.compile(rb"\A(?:\r\n)+")  # before a request line: RFC 9112 section 2.2
_NO_BODY = (204, 304)  # RFC 9110 section 6.4.1
_RESET = select.EPOLLERR | select.EPOLLHUP

ReplyHeaders = Iterable[tuple[bytes, bytes]]


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

    @property
    def max_body(self) -> int:
        """Bytes that a body may have; for who decodes one."""
        return self._connection.max_body

    async def body(self) -> bytes:
        """The whole body. Raises Refusal `body_too_large` or `invalid_request`."""
        if self._body is None:
            self._body = await self._connection.read_body(self.head)
        return self._body


class Reply:
    """The answer to one request: either `send` once, or `start`, `write`..., `end`.

    `lines` are header lines that stand already, each with its end, a Date among them: a provider's,
    passed on.
    """

    __slots__ = ("_bodiless", "_connection", "chunked", "ended", "started")

    def __init__(self, connection: Connection, head: RequestHead) -> None:
        self._connection = connection
        self._bodiless = head.method == "HEAD"
        self.chunked = head.http11  # whether the body of `start` goes out in chunks
        self.started = False
        self.ended = False

    async def send(
        self, status: int, headers: ReplyHeaders = (), body: bytes = b"", *, lines: bytes = b""
    ) -> None:
        """The whole answer in one go. Raises WireError if the client is gone."""
        self.started = self.ended = True
        self._connection.probe = b""  # nothing may follow an answer that is whole
        head = self._head(status, headers, lines)
        if status in _NO_BODY:
            await self._connection.write(head + b"\r\n")
            return
        head += b"content-length: %d\r\n\r\n" % len(body)
        await self._connection.write(head if self._bodiless else head + body)

    async def start(
        self, status: int, headers: ReplyHeaders = (), *, lines: bytes = b"", probe: bytes = b""
    ) -> None:
        """Begin an answer whose length is not known.

        `probe` is body that changes nothing (a comment of an event stream): it is sent if the
        client stops sending, to see whether it still reads.
        """
        self.started = True
        self._connection.probe = chunk(probe) if probe and self.chunked else probe
        if not self.chunked:
            self._connection.keep_alive = False
        head = self._head(status, headers, lines)
        end = b"transfer-encoding: chunked\r\n\r\n" if self.chunked else b"\r\n"
        await self._connection.write(head + end)

    async def write(self, data: bytes) -> None:
        """Send some of the body."""
        if data and not self._bodiless:
            await self._connection.write(chunk(data) if self.chunked else data)

    async def write_chunks(self, data: bytes) -> None:
        """Send some of a `chunked` body that is framed already, as whole chunks."""
        await self._connection.write(data)

    async def end(self) -> None:
        """End the body; without it the client sees that the answer is not whole."""
        self.ended = True
        self._connection.probe = b""
        if self.chunked and not self._bodiless:
            await self._connection.write(LAST_CHUNK)

    def _head(self, status: int, headers: ReplyHeaders, lines: bytes) -> bytes:
        """The head but for its last lines. Every answer has a Date (RFC 9110 section 6.6.1), an
        HTTP/1.0 client is told that it may go on (it waits for the end otherwise)."""
        connection = self._connection
        connection.give_up_body()
        own = block(headers)
        date = b"" if lines else date_line(int(time.time()))
        if not connection.keep_alive:
            own += b"connection: close\r\n"
        elif not self.chunked:
            own += b"connection: keep-alive\r\n"
        return b"%b%b%b%b" % (status_line(status), lines, date, own)


@lru_cache(maxsize=2)
def date_line(second: int) -> bytes:
    """The Date header of a second since the epoch (RFC 9110 section 5.6.7)."""
    return b"date: %b\r\n" % formatdate(second, usegmt=True).encode()


App = Callable[[Request, Reply], Awaitable[None]]


class Host(Protocol):
    """What a connection needs of the server it belongs to."""

    app: App
    limits: Limits
    report: Report
    judge: HeadJudge
    watch: Watch
    draining: bool


class Connection:
    """One client connection. Owned by its task; only `keep_alive`, `scope` and `hung_up` are
    touched by others (drain and the watch)."""

    def __init__(self, host: Host, wire: Wire, peer: str) -> None:
        self._host = host
        self._limits = host.limits
        self._wire = wire
        self._now = host.watch.now
        self._buffer = b""
        self._length: int | None = 0  # of the current request's body; None: chunked
        self._unread = False  # a body that the application has not read to its end
        self._ended_sending = False  # the client's side is closed, as far as the kernel knows
        self._tried = False  # and it was sent something on which it would reset if it were gone
        self.max_body = host.limits.max_body
        self.probe = INTERIM
        self.peer = peer
        self.keep_alive = True
        self.idle = True  # between requests: nothing is lost by closing now
        self.scope = trio.CancelScope()

    async def run(self) -> None:
        """Serve requests until either side ends the connection."""
        with self.scope, contextlib.suppress(WireError):  # there is nobody left to tell
            if isinstance(self._wire, TLSWire):
                self._wire.deadline = self._now() + HANDSHAKE_SECONDS
                await self._wire.handshake()
            await self._serve_all()
            if self._unread:
                await self._linger()

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
            if self._buffer:  # who sends many requests at once lets others have their turn
                await trio.lowlevel.checkpoint()

    async def _serve(self, head: RequestHead) -> None:
        self.idle = False
        self.probe = INTERIM if head.http11 else b""
        self.keep_alive = head.keep_alive and not self._host.draining
        if self._ended_sending and not self._unread:
            self._try_client()
        reply = Reply(self, head)
        try:
            await self._host.app(Request(self, head), reply)
        except WireError:
            self.keep_alive = False
        except Exception as e:  # noqa: BLE001  outer door: a bug ends one request, not the server
            self.keep_alive = False
            self._host.report("error", f"request failed: {e!r}", error=e)
            if not reply.started:
                await reply.send(500, [(b"content-type", b"text/plain")], b"internal error\n")
        if not reply.ended or self._unread or self._host.draining:
            self.keep_alive = False
        self.idle = True

    async def _read_head(self) -> RequestHead | None:
        """The next head, or None if the client closed or was idle too long. Raises BadHead."""
        limits, wire = self._limits, self._wire
        wire.deadline = self._now() + limits.keep_alive
        started = False
        end = -1
        while True:
            if not started and self._buffer.startswith(b"\r\n"):
                self._buffer = _EMPTY_LINES.sub(b"", self._buffer, 1)
            end = self._buffer.find(b"\r\n\r\n")
            if end >= 0 or len(self._buffer) > limits.max_head:
                break
            if not started and self._buffer not in (b"", b"\r"):  # from the first byte on
                started = True
                wire.deadline = self._now() + limits.head_timeout
            try:
                data = await wire.receive()
            except WireExpired:
                if self._buffer:
                    raise BadHead("the request head did not arrive in time", 408) from None
                return None
            if not data:
                return None
            self._buffer += data
        if end < 0 or end > limits.max_head:
            raise BadHead("the request head is too long", 431)
        raw, self._buffer = self._buffer[: end + 4], self._buffer[end + 4 :]
        head, length = self._host.judge.judge(raw)
        self._limits = self._host.limits  # a request goes by those of its beginning
        self.max_body = self._limits.max_body
        self._length = length
        self._unread = length != 0
        return head

    async def read_body(self, head: RequestHead) -> bytes:
        """The body of the current request. Raises Refusal; the connection then ends."""
        length, limit = self._length, self._limits.max_body
        if length is not None and length > limit:
            raise _too_large(limit)
        if length is not None and length <= len(self._buffer):  # it came with the head
            body, self._buffer = self._buffer[:length], self._buffer[length:]
            self._unread = False
            if self._ended_sending:
                self._try_client()
            return body
        if head.http11 and b"expect" in head.fields and not self._buffer:
            await self.write(INTERIM)
        try:
            return await self._receive_body(length, limit)
        except BadBody as e:
            raise Refusal("invalid_request", f"malformed request body: {e}") from None
        except WireExpired:
            raise Refusal(
                "request_timeout", f"the request body stalled for {self._limits.stall:g} s"
            ) from None

    async def _receive_body(self, length: int | None, limit: int) -> bytes:
        reader = decoder(chunked=length is None, length=length)
        parts: list[bytes] = []
        size = 0
        due = 0  # bytes that extend the deadline
        data, self._buffer = self._buffer, b""
        while True:
            part, data = reader.feed(data)
            parts.append(part)
            size += len(part)
            if size > limit:
                raise _too_large(limit)
            if reader.chunks > MOST_CHUNKS + size // LEAST_CHUNK:
                raise Refusal("invalid_request", "the request body comes in too small chunks")
            if reader.done:
                break
            if data:  # a fault is in it
                continue
            if size >= due:
                due = size + STALL_BYTES
                self._renew()
            data = await self._wire.receive()
            if not data:
                raise WireError("closed inside a request body")
        self._buffer = data
        self._unread = False
        if self._ended_sending:
            self._try_client()
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
            await self._wire.send_rest(rest, self._renew)
            self.probe = probe

    def _renew(self) -> None:
        self._wire.deadline = self._now() + self._limits.stall

    async def _linger(self) -> None:
        """Let the client read a refusal before the connection closes: closing on unread bytes
        resets it, and the answer would be lost (RFC 9112 section 9.6)."""
        with contextlib.suppress(OSError):
            self._wire.sock.shutdown(socket.SHUT_WR)
        self._wire.deadline = self._now() + LINGER_SECONDS
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
        with contextlib.suppress(WireError):
            self._wire.try_send(answer_head(status, headers) + body)

    def hung_up(self, events: int) -> None:
        """The watch saw a reset, or the end of the client's sending."""
        self._ended_sending = True
        if self.idle:
            return  # the task is reading, and learns it by that
        if events & _RESET:
            self.keep_alive = False
            self.scope.cancel()
        elif not self._unread:  # else it is tried once the body has been read
            self._try_client()

    def _try_client(self) -> None:
        """Find out whether a client that ended its sending is gone.

        One that half-closed still wants its answer, one that closed does not. The two look alike
        until something is sent, so something harmless is: a client that is gone resets on it.
        """
        probe, self.probe = self.probe, b""
        if not probe or self._tried or not _has_room(self._wire.sock):
            return  # once is enough, a reset is heard of; a full socket is bounded by the stall
        self._tried = True
        try:
            rest = self._wire.try_send(probe)
        except WireError:
            rest = probe
        if rest:  # half a probe would garble what follows
            self.scope.cancel()


def _has_room(sock: socket.socket) -> bool:
    """Whether a few bytes can be sent at once."""
    poll = select.poll()
    poll.register(sock, select.POLLOUT)
    return any(events & select.POLLOUT for _, events in poll.poll(0))


def _too_large(limit: int) -> Refusal:
    return Refusal("body_too_large", f"the request body is over the limit of {limit} bytes")
