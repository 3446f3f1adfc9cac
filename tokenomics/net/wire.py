"""Bytes in and out of a socket: plain or TLS, without a task, a lock or a scope of its own.

Plain non-blocking sockets and trio's `wait_readable`/`wait_writable` cost a third of trio's own
streams per message. A write is tried first and waits only if it would block; a read waits first.
A wait is bounded by the wire's `deadline`, which a `net.watch.Watch` looks at.
"""

from __future__ import annotations

import contextlib
import math
import select
import socket
import ssl
from collections.abc import Callable
from typing import Protocol

import trio
from trio.lowlevel import wait_readable, wait_writable

Rest = bytes | memoryview

# A peer that takes this much by a deadline is slow, not stalled: with 60 s about 1 KiB/s.
STALL_BYTES = 64 << 10
RECEIVE_BYTES = 1 << 18  # a megabyte in a few reads
# Received into and copied out of at once, never across an await: allocating as much as might come
# costs more than copying what came.
_SCRATCH = memoryview(bytearray(RECEIVE_BYTES))


class WireError(Exception):
    """The connection broke: reset, timed out in the kernel, or failed in TLS."""


class WireExpired(WireError):
    """What was waited for did not happen by the wire's deadline. The connection is still open."""


class Wire(Protocol):
    """One connection. One task reads, one task writes; they may be the same.

    `deadline` bounds every wait: whoever waits sets it first, in trio's time.
    """

    deadline: float

    @property
    def sock(self) -> socket.socket:
        """The socket at the bottom."""

    async def receive(self) -> bytes:
        """Some bytes, or b"" when the peer has finished sending. Raises WireError."""

    def try_send(self, data: bytes) -> Rest:
        """Send what can be sent at once. What is left is returned, for `send_rest`: until then
        nothing else may be sent. Raises WireError."""

    async def send_rest(self, rest: Rest, renew: Callable[[], None]) -> None:
        """Send what `try_send` left. `renew` sets the deadline anew; it is called at the beginning
        and after each STALL_BYTES. Raises WireError."""

    def expire(self) -> None:
        """The deadline is over: who waits gets WireExpired. Nobody may be waiting any more."""

    def close(self) -> None:
        """Close, at once; never fails."""

    def is_quiet(self) -> bool:
        """Whether the connection is open and nothing unread has come: fit to be used again."""


class SocketWire:
    """A plain connection over an owned socket."""

    __slots__ = ("_poll", "_sock", "deadline")

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        if sock.family in (socket.AF_INET, socket.AF_INET6):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._sock = sock
        self.deadline = math.inf
        self._poll: select.poll | None = None

    @property
    def sock(self) -> socket.socket:
        """See Wire."""
        return self._sock

    async def receive(self) -> bytes:
        """See Wire."""
        sock = self._sock
        try:
            while True:
                await wait_readable(sock)
                try:
                    return _SCRATCH[: sock.recv_into(_SCRATCH)].tobytes()
                except (BlockingIOError, InterruptedError):
                    continue
        except OSError as e:
            raise WireError(str(e)) from e
        except trio.ClosedResourceError:
            raise WireExpired("nothing came in time") from None

    def try_send(self, data: bytes) -> Rest:
        """See Wire."""
        try:
            sent = self._sock.send(data)
        except (BlockingIOError, InterruptedError):
            return data
        except OSError as e:
            raise WireError(str(e)) from e
        return b"" if sent == len(data) else memoryview(data)[sent:]

    async def send_rest(self, rest: Rest, renew: Callable[[], None]) -> None:
        """See Wire."""
        view = memoryview(rest)
        due = len(view)  # as much is left when the deadline is renewed
        try:
            while view:
                if len(view) <= due:
                    renew()
                    due = len(view) - STALL_BYTES
                await wait_writable(self._sock)
                with contextlib.suppress(BlockingIOError, InterruptedError):
                    view = view[self._sock.send(view) :]
        except OSError as e:
            raise WireError(str(e)) from e
        except trio.ClosedResourceError:
            raise WireExpired("the peer took nothing in time") from None

    def expire(self) -> None:
        """See Wire."""
        trio.lowlevel.notify_closing(self._sock)

    def close(self) -> None:
        """See Wire."""
        trio.lowlevel.notify_closing(self._sock)
        self._sock.close()

    def is_quiet(self) -> bool:
        """See Wire."""
        if self._poll is None:
            self._poll = select.poll()
            self._poll.register(self._sock, select.POLLIN | select.POLLRDHUP)
        return not self._poll.poll(0)


class TLSWire:
    """TLS over another wire, through memory BIOs: half the cost of wrapping the socket."""

    __slots__ = ("_below", "_ended", "_incoming", "_outgoing", "_tls", "_unsent")

    def __init__(
        self,
        below: Wire,
        context: ssl.SSLContext,
        *,
        server_name: str | None = None,
        session: ssl.SSLSession | None = None,
    ) -> None:
        """A client names the server it wants; without a name this is the server's side. `session`
        is one of an earlier connection to the same server, which shortens the handshake."""
        self._below = below
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._ended = False  # the peer has finished sending
        self._unsent = 0  # bytes that `try_send` left: nothing may cut in before all are sent
        self._tls = context.wrap_bio(
            self._incoming,
            self._outgoing,
            server_side=server_name is None,
            server_hostname=server_name,
            session=session,
        )

    @property
    def sock(self) -> socket.socket:
        """See Wire."""
        return self._below.sock

    @property
    def deadline(self) -> float:
        """See Wire."""
        return self._below.deadline

    @deadline.setter
    def deadline(self, when: float) -> None:
        self._below.deadline = when

    @property
    def session(self) -> ssl.SSLSession | None:
        """What a later connection may resume. With TLS 1.3 it comes after the first answer."""
        return self._tls.session

    async def handshake(self) -> None:
        """Raises WireError with OpenSSL's reason."""
        while True:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                await self._flush()
                if not await self._fill():
                    raise WireError("closed during the TLS handshake") from None
            except ssl.SSLError as e:
                with contextlib.suppress(WireError):  # the alert tells the peer why
                    self._below.try_send(self._outgoing.read())
                raise WireError(f"TLS: {e.reason or e}") from e
            else:
                await self._flush()
                return

    async def _flush(self) -> None:
        if not self._unsent and self._outgoing.pending:
            rest = self._below.try_send(self._outgoing.read())
            if rest:
                await self._below.send_rest(rest, _as_it_is)

    async def _fill(self) -> bool:
        data = await self._below.receive()
        if data:
            self._incoming.write(data)
        else:
            self._incoming.write_eof()
        return bool(data)

    async def receive(self) -> bytes:
        """See Wire. An end without close_notify is the same as one with it: whether the message is
        whole is for HTTP's framing to say."""
        here = self._incoming.pending or self._tls.pending()
        while not self._ended:
            if not here:
                await self._flush()
                await self._fill()
            try:
                data = self._tls.read(RECEIVE_BYTES)
                self._ended = not data
                return data
            except ssl.SSLWantReadError:
                here = 0
            except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
                self._ended = True
            except ssl.SSLError as e:
                raise WireError(f"TLS: {e.reason or e}") from e
        return b""

    def try_send(self, data: bytes) -> Rest:
        """See Wire. What is left is ciphertext."""
        try:
            self._tls.write(data)
        except ssl.SSLError as e:
            raise WireError(f"TLS: {e.reason or e}") from e
        rest = self._below.try_send(self._outgoing.read())
        self._unsent = len(rest)
        return rest

    async def send_rest(self, rest: Rest, renew: Callable[[], None]) -> None:
        """See Wire."""
        await self._below.send_rest(rest, renew)
        self._unsent = 0

    def expire(self) -> None:
        """See Wire."""
        self._below.expire()

    def close(self) -> None:
        """See Wire. Says close_notify if the socket takes it at once."""
        if not self._unsent:
            with contextlib.suppress(ssl.SSLError, WireError, OSError, ValueError):
                self._tls.unwrap()
            with contextlib.suppress(WireError):
                self._below.try_send(self._outgoing.read())
        self._below.close()

    def is_quiet(self) -> bool:
        """See Wire. Session tickets, which some servers send late, are taken in."""
        if self._tls.pending():
            return False
        if self._below.is_quiet():
            return not self._incoming.pending
        if not isinstance(self._below, SocketWire):
            return False
        try:
            self._incoming.write(self._below.sock.recv(RECEIVE_BYTES))
            self._tls.read(1)
        except ssl.SSLWantReadError:
            return self._below.is_quiet()
        except OSError:  # what TLS raises is one too
            return False
        return False


def _as_it_is() -> None:
    """A few bytes of a handshake need no more time than it has."""
