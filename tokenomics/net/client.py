"""The HTTP/1.1 client of the product: to providers, webhook targets and the central server.

`Client.call` gives a `Call` that owns one connection until it is left. A request goes out a second
time, on a fresh connection, only if a kept connection broke before one byte of an answer came.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import trio

from tokenomics.net.dial import Dialer, Unreachable
from tokenomics.net.framing import BadBody, ChunkDecoder, Decoder, decoder
from tokenomics.net.heads import AnswerHead, BadHead, parse_answer
from tokenomics.net.message import request_head
from tokenomics.net.origin import Origin
from tokenomics.net.pool import Pool, PoolLimits
from tokenomics.net.proxies import Proxies
from tokenomics.net.watch import Watch
from tokenomics.net.wire import Wire, WireError, WireExpired

MAX_ANSWER_HEAD = 64 << 10  # bytes
MAX_INTERIM = 8  # 1xx answers before the real one
SWEEP_SECONDS = 1.0  # how often idle connections are looked at
STALL_BYTES = 64 << 10  # a peer that takes this much within `Patience.write` is slow, not stalled

__all__ = ["Broken", "Call", "Client", "Dial", "Patience", "TimedOut", "Unreachable"]


class Broken(Exception):
    """The connection broke, or what came is not HTTP. `began` tells whether an answer had begun."""

    def __init__(self, message: str, *, began: bool) -> None:
        super().__init__(message)
        self.began = began


class TimedOut(Broken):
    """The peer was silent, or took nothing, for longer than the caller's patience."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a call waits, in seconds. `connect` bounds the wait for a free place in the pool,
    the name look-up and TCP; `handshake` a proxy's CONNECT and TLS, each; `write` the time until
    the peer has taken another STALL_BYTES; `first_byte` that from the whole request to the whole
    head; `silence` each wait for more of a body; `total` everything from the request on."""

    connect: float = 10.0
    handshake: float = 10.0
    write: float = 60.0
    first_byte: float = 60.0
    silence: float = 60.0
    total: float = math.inf


class _Link:
    """A connection, where it goes, and whether it was used before."""

    __slots__ = ("epoch", "origin", "used", "wire")

    def __init__(self, wire: Wire, origin: Origin, epoch: int) -> None:
        self.wire = wire
        self.origin = origin
        self.epoch = epoch  # how often the client had been refreshed when it was begun
        self.used = False


class Call:
    """One request and its answer on one connection. Use as a context manager: leaving it gives the
    connection back if the answer was read to its end, and closes it otherwise."""

    __slots__ = (
        "_began",
        "_buffer",
        "_client",
        "_decoder",
        "_head",
        "_link",
        "_patience",
        "_unsent",
        "_until",
    )

    def __init__(self, client: Client, link: _Link, patience: Patience) -> None:
        self._client = client
        self._link = link
        self._patience = patience
        bounded = patience.total != math.inf
        self._until = client.watch.now() + patience.total if bounded else math.inf
        self._buffer = b""
        self._began = False  # bytes of an answer have come, an interim one's too
        self._unsent: WireError | None = None  # why part of the request did not go out
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
        reusable = finished and self._unsent is None and not self._buffer
        keep = reusable and self._head is not None and self._head.keep_alive
        self._client.give_back(self._link, keep)

    def _wait(self, seconds: float) -> None:
        self._link.wire.deadline = min(self._client.watch.now() + seconds, self._until)

    async def send(self, data: bytes) -> None:
        """Send the request. An answer that comes before all of it is sent ends the sending (RFC
        9112 section 9.3.2); so does a broken connection, which may have brought one. Raises
        TimedOut."""
        try:
            rest = self._link.wire.try_send(data)
            if rest:
                await self._send_rest(rest)
        except WireExpired as e:
            raise TimedOut(f"it took no more of the request: {e}", began=False) from None
        except WireError as e:
            self._unsent = e

    async def _send_rest(self, rest: bytes) -> None:
        """The part of a long request that the socket did not take at once."""
        failed: list[WireError] = []
        async with trio.open_nursery() as nursery:

            async def listen() -> None:
                try:
                    while not self._final_began():
                        data = await self._link.wire.receive()
                        self._began = self._began or bool(data)
                        self._buffer += data
                        if not data or len(self._buffer) > MAX_ANSWER_HEAD:
                            break
                except WireExpired:
                    return  # the sender has it too
                except WireError as e:
                    failed.append(e)
                    nursery.cancel_scope.cancel()
                    return
                failed.append(WireError("it answered before it had the whole request"))
                nursery.cancel_scope.cancel()

            async def speak() -> None:
                try:
                    for start in range(0, len(rest), STALL_BYTES):
                        self._wait(self._patience.write)
                        await self._link.wire.send_rest(rest[start : start + STALL_BYTES])
                except WireError as e:
                    failed.append(e)
                nursery.cancel_scope.cancel()

            nursery.start_soon(listen)
            nursery.start_soon(speak)
        if failed:
            raise failed[0]

    def _final_began(self) -> bool:
        """Whether more than interim answers (1xx) has come. Drops those that are whole."""
        while self._buffer.startswith((b"HTTP/1.1 1", b"HTTP/1.0 1")):
            end = self._buffer.find(b"\r\n\r\n")
            if end < 0:
                return False
            self._buffer = self._buffer[end + 4 :]
        return bool(self._buffer) and not b"HTTP/1.1 1".startswith(self._buffer)

    async def read_head(self, method: str, by: float) -> AnswerHead:
        """The answer's head, interim answers skipped, in time for `by`. Raises Broken, TimedOut."""
        first_byte = self._client.watch.now() + self._patience.first_byte
        self._link.wire.deadline = min(first_byte, self._until, by)
        for _ in range(MAX_INTERIM):
            head = parse_head(await self._read_raw_head(), method)
            if head.status >= 200:
                self._head = head
                self._decoder = decoder(chunked=head.chunked, length=head.length)
                return head
            if head.status == 101:
                raise Broken("it switched protocols unasked", began=True)
        raise Broken("too many interim answers", began=True)

    async def _read_raw_head(self) -> bytes:
        while True:
            end = self._buffer.find(b"\r\n\r\n")
            if 0 <= end <= MAX_ANSWER_HEAD:
                raw, self._buffer = self._buffer[: end + 4], self._buffer[end + 4 :]
                return raw
            if len(self._buffer) > MAX_ANSWER_HEAD:
                raise Broken("the answer's head is too long", began=True)
            try:
                data = await self._link.wire.receive()
            except WireExpired:
                raise TimedOut("no answer came in time", began=self._began) from None
            except WireError as e:
                raise Broken(str(self._unsent or e), began=self._began) from e
            if not data:
                reason = self._unsent or "the connection was closed before an answer came"
                raise Broken(str(reason), began=self._began)
            self._began = True
            self._buffer += data

    @property
    def ended(self) -> bool:
        """Whether the body has been read to its end."""
        return self._decoder is not None and self._decoder.done

    async def receive(self) -> bytes:
        """Some bytes of the body, b"" at its end. Raises Broken if it ends early, or TimedOut."""
        reader = self._decoder
        assert reader is not None, "read_head comes first"
        try:
            while not reader.done:
                data, self._buffer = self._buffer, b""
                if not data:
                    data = await self._more()
                    if not data:
                        reader.eof()
                        break
                body, self._buffer = reader.feed(data)
                if body:
                    return body
        except BadBody as e:
            raise Broken(str(e), began=True) from e
        return b""

    async def peek(self) -> bytes:
        """What has come of a chunked body, as it stands on the wire, where that begins between two
        chunks; else b"". `take` takes some of it, `receive` decodes it. Raises Broken, TimedOut."""
        if not isinstance(self._decoder, ChunkDecoder) or not self._decoder.between_chunks:
            return b""
        if not self._buffer:
            self._buffer = await self._more()
        return self._buffer

    def take(self, size: int) -> bytes:
        """Take whole chunks, `size` bytes of what `peek` gave."""
        data = self._buffer
        if size == len(data):
            self._buffer = b""
            return data
        self._buffer = data[size:]
        return data[:size]

    async def _more(self) -> bytes:
        self._wait(self._patience.silence)
        try:
            return await self._link.wire.receive()
        except WireExpired:
            seconds = self._patience.silence
            raise TimedOut(f"it was silent for {seconds:g} s", began=True) from None
        except WireError as e:
            raise Broken(str(e), began=True) from e

    async def drain(self, seconds: float) -> None:
        """Read an end that should be near, so that the connection can be used again; what else
        comes is dropped, and so is the connection if nothing does."""
        self._until = self._client.watch.now() + seconds
        with contextlib.suppress(Broken):
            await self.receive()

    async def read_all(self, limit: int) -> bytes:
        """The whole body. Raises Broken if it is longer than `limit` bytes or ends early, or
        TimedOut."""
        body = await self.receive()
        if self.ended and len(body) <= limit:
            return body
        parts = [body]
        size = len(body)
        while size <= limit:
            data = await self.receive()
            if not data:
                return b"".join(parts)
            size += len(data)
            parts.append(data)
        raise Broken(f"the answer is longer than {limit} bytes", began=True)


def parse_head(raw: bytes, method: str) -> AnswerHead:
    """`parse_answer` with its error as Broken."""
    try:
        return parse_answer(raw, method)
    except BadHead as e:
        raise Broken(str(e), began=True) from e


Dial = Callable[[Origin], Awaitable[Wire]]


class Client:
    """Keeps connections. `dialers` serve schemes of their own (the built-in echo provider).

    While `run` runs, the deadlines of calls hold and idle connections are closed in time; without
    it, the caller's cancel scope is what bounds a call.
    """

    def __init__(
        self,
        dialers: dict[str, Dial] | None = None,
        proxies: Proxies | None = None,
        limits: PoolLimits | None = None,
    ) -> None:
        self._dialers = dialers or {}
        self._dialer = Dialer(proxies or Proxies.from_env({}))
        self._pool: Pool[_Link] = Pool(lambda link: link.wire.is_quiet(), limits or PoolLimits())
        # By origin: calls that wait for one of its connections to be closed or kept.
        self._waiting: dict[str, trio.lowlevel.ParkingLot] = {}
        self._epoch = 0
        self.watch = Watch()

    async def run(self) -> None:
        """Hold calls to their deadlines, and close what idles too long, for ever."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.watch.run)
            while True:
                await trio.sleep(SWEEP_SECONDS)
                for link in self._pool.overdue(self.watch.now()):
                    self._close(link)

    async def call(
        self,
        origin: Origin,
        method: str,
        target: str,
        headers: list[tuple[bytes, bytes]],
        body: bytes = b"",
        patience: Patience | None = None,
    ) -> Call:
        """Send a request and read the answer's head. The caller closes the Call.

        `target` is below the origin's own path. Raises Unreachable, Broken or TimedOut.
        """
        fields = [(b"host", origin.authority.encode("ascii")), *headers]
        if body or method not in ("GET", "HEAD", "DELETE"):
            fields.append((b"content-length", b"%d" % len(body)))
        data = request_head(method, origin.path + target, fields) + body
        return await self.exchange(origin, method, data, patience or Patience())

    async def exchange(
        self, origin: Origin, method: str, data: bytes, patience: Patience, by: float = math.inf
    ) -> Call:
        """The same for a request whose bytes stand already, Host and all, and for an answer that
        must begin by a time of trio's clock."""
        while True:
            link = self._kept(origin) or await self._fresh(origin, patience, by)
            call = Call(self, link, patience)
            try:
                await call.send(data)
                await call.read_head(method, by)
            except Broken as e:
                call.__exit__()
                if e.began or not link.used or isinstance(e, TimedOut):
                    raise
                continue  # a kept connection that the peer closed under us
            except BaseException:
                call.__exit__()
                raise
            return call

    def _kept(self, origin: Origin) -> _Link | None:
        link, closing = self._pool.take(origin.key, self.watch.now())
        for old in closing:
            self._close(old)
        if link is not None:
            link.used = True
        return link

    async def _fresh(self, origin: Origin, patience: Patience, by: float) -> _Link:
        """A connection of one's own, once there is room for it. Raises Unreachable, TimedOut."""
        connect = min(patience.connect, by - self.watch.now())
        if connect <= 0:
            raise TimedOut("no time is left for a connection", began=False)
        with trio.move_on_after(connect):
            while not self._pool.has_room(origin.key):
                await self._waiting.setdefault(origin.key, trio.lowlevel.ParkingLot()).park()
                link = self._kept(origin)
                if link is not None:
                    return link
        if not self._pool.has_room(origin.key):
            limit = self._pool.limits.max_open
            raise Unreachable(f"{origin.authority}: all {limit} connections are in use")
        self._pool.opened(origin.key)
        epoch = self._epoch
        try:
            dial_own = self._dialers.get(origin.scheme)
            if dial_own is not None:
                wire = await dial_own(origin)
            else:
                wire = await self._dialer.dial(origin, connect, patience.handshake)
        except BaseException:
            self._pool.closed(origin.key)
            self._wake(origin.key)
            raise
        self.watch.add(wire)
        return _Link(wire, origin, epoch)

    def give_back(self, link: _Link, reusable: bool) -> None:
        """Keep or close a connection that a Call is done with."""
        if reusable and link.epoch == self._epoch:
            closing = self._pool.put(link.origin.key, link, self.watch.now())
        else:
            closing = [link]
        for old in closing:
            self._close(old)
        if self._waiting:
            self._wake(link.origin.key)

    def _wake(self, key: str) -> None:
        """An origin may have room: let the call that waits longest look."""
        waiting = self._waiting.get(key)
        if waiting is not None:
            waiting.unpark()
            if not waiting:
                del self._waiting[key]

    def _close(self, link: _Link) -> None:
        self._dialer.remember(link.origin, link.wire)
        self._pool.closed(link.origin.key)
        self.watch.remove(link.wire)
        link.wire.close()

    def refresh(self, proxies: Proxies, limits: PoolLimits) -> None:
        """Files and names may have changed: make connections anew from now on, through these
        proxies and in these limits. Those in use go on to the end of their call."""
        self._epoch += 1
        self._dialer.forget(proxies)
        self._pool.limits = limits
        for link in self._pool.clear():
            self._close(link)
        for waiting in self._waiting.values():  # there may be more room now
            waiting.unpark_all()
        self._waiting.clear()

    def close(self) -> None:
        """Close the kept connections."""
        for link in self._pool.clear():
            self._close(link)
