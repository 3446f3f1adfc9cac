"""One request and its answer on one connection: sending, waiting, reading, each in its time."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

import trio

from tokenomics.net.framing import BadBody, ChunkDecoder, Decoder, decoder
from tokenomics.net.heads import AnswerHead, BadHead, parse_answer
from tokenomics.net.origin import Origin
from tokenomics.net.watch import Watch
from tokenomics.net.wire import Rest, Wire, WireError, WireExpired

MAX_ANSWER_HEAD = 64 << 10  # bytes
MAX_INTERIM = 8  # 1xx answers before the real one
ONE_SEND_BYTES = 64 << 10  # copying more costs more than a second send


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
    the peer has taken another `wire.STALL_BYTES`; `first_byte` that from the whole request to the
    whole head; `silence` each wait for more of a body; `total` everything from the request on."""

    connect: float = 10.0
    handshake: float = 10.0
    write: float = 60.0
    first_byte: float = 60.0
    silence: float = 60.0
    total: float = math.inf


class Link:
    """A connection, where it goes, and whether it was used before."""

    __slots__ = ("epoch", "origin", "used", "wire")

    def __init__(self, wire: Wire, origin: Origin, epoch: int) -> None:
        self.wire = wire
        self.origin = origin
        self.epoch = epoch  # how often the client had been refreshed when it was begun
        self.used = False


class Keeper(Protocol):
    """Who gave the connection, and takes it back."""

    watch: Watch

    def give_back(self, link: Link, reusable: bool) -> None:
        """A Call is done with its connection."""


class Call:
    """One request and its answer on one connection. Use as a context manager: leaving it gives the
    connection back if the answer was read to its end, and closes it otherwise."""

    __slots__ = (
        "_beat",
        "_beat_seconds",
        "_began",
        "_buffer",
        "_decoder",
        "_head",
        "_keeper",
        "_link",
        "_patience",
        "_unsent",
        "_until",
    )

    def __init__(self, keeper: Keeper, link: Link, patience: Patience) -> None:
        self._keeper = keeper
        self._link = link
        self._patience = patience
        bounded = patience.total != math.inf
        self._until = keeper.watch.now() + patience.total if bounded else math.inf
        self._beat: Callable[[], Awaitable[None]] | None = None
        self._beat_seconds = math.inf
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
        self._keeper.give_back(self._link, keep)

    def _wait(self, seconds: float) -> None:
        self._link.wire.deadline = min(self._keeper.watch.now() + seconds, self._until)

    def _renew_write(self) -> None:
        self._wait(self._patience.write)

    async def send(self, head: bytes, body: bytes) -> None:
        """Send the request. An answer that comes before all of it is sent ends the sending (RFC
        9112 section 9.3.2); so does a broken connection, which may have brought one. Raises
        TimedOut."""
        try:
            if len(body) <= ONE_SEND_BYTES:
                rest = self._link.wire.try_send(head + body)
            elif rest := self._link.wire.try_send(head):
                rest = bytes(rest) + body
            else:
                rest = self._link.wire.try_send(body)
            if rest:
                await self._send_rest(rest)
        except WireExpired as e:
            raise TimedOut(f"it took no more of the request: {e}", began=False) from None
        except WireError as e:
            self._unsent = e

    async def _send_rest(self, rest: Rest) -> None:
        """The part of a long request that the socket did not take at once."""
        failed: list[WireError] = []
        self._renew_write()
        try:
            await self._send_and_listen(rest, failed)
        except BaseExceptionGroup:
            await trio.lowlevel.checkpoint_if_cancelled()  # as one Cancelled, for who counts on it
            raise
        if failed:
            raise failed[0]

    async def _send_and_listen(self, rest: Rest, failed: list[WireError]) -> None:
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
                    await self._link.wire.send_rest(rest, self._renew_write)
                except WireError as e:
                    failed.append(e)
                nursery.cancel_scope.cancel()

            nursery.start_soon(listen)
            nursery.start_soon(speak)

    def _final_began(self) -> bool:
        """Whether more than interim answers (1xx) has come. Drops those that are whole."""
        while self._buffer.startswith((b"HTTP/1.1 10", b"HTTP/1.0 10")):
            if self._buffer[9:12] == b"101":  # it is not HTTP from here on
                return True
            end = self._buffer.find(b"\r\n\r\n")
            if end < 0:
                return False
            self._buffer = self._buffer[end + 4 :]
        return bool(self._buffer) and not b"HTTP/1.1 10".startswith(self._buffer)

    async def read_head(self, method: str, by: float) -> AnswerHead:
        """The answer's head, interim answers skipped, in time for `by`. Raises Broken, TimedOut."""
        first_byte = self._keeper.watch.now() + self._patience.first_byte
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

    def in_silence(self, seconds: float, act: Callable[[], Awaitable[None]]) -> None:
        """From now on do something after each so many seconds of a wait for more of the body. What
        it raises goes to who waits; the wait's own bound is not moved by it."""
        self._beat_seconds, self._beat = seconds, act

    async def _more(self) -> bytes:
        now, seconds = self._keeper.watch.now(), self._patience.silence
        end = min(now + seconds, self._until)
        beat = now + self._beat_seconds
        while True:
            self._link.wire.deadline = min(end, beat)
            try:
                return await self._link.wire.receive()
            except WireExpired:
                if beat >= end or self._beat is None:
                    raise TimedOut(f"it was silent for {seconds:g} s", began=True) from None
            except WireError as e:
                raise Broken(str(e), began=True) from e
            await self._beat()
            beat += self._beat_seconds

    def end_by(self, when: float) -> None:
        """All of the answer must have come by a time of trio's clock."""
        self._until = min(self._until, when)

    async def drain(self, seconds: float) -> None:
        """Read an end that should be near, so that the connection can be used again; what else
        comes is dropped, and so is the connection if nothing does."""
        self._until = self._keeper.watch.now() + seconds
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
