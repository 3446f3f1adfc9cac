"""Bytes in and out of a socket: plain or TLS, without a task, a lock or a scope of its own.

Plain non-blocking sockets and trio's `wait_readable`/`wait_writable` cost a third of trio's own
streams per message. A write is tried first and waits only if it would block; a read waits first.
Deadlines belong to the caller's cancel scope.
"""

from __future__ import annotations

import contextlib
import select
import socket
import ssl
from typing import Protocol

import trio

RECEIVE_BYTES = 1 << 16


class WireError(Exception):
    """The connection broke: reset, timed out in the kernel, or failed in TLS."""


class Wire(Protocol):
    """One connection. One task reads, one task writes; they may be the same."""

    sock: socket.socket

    async def receive(self) -> bytes:
        """Some bytes, or b"" when the peer has finished sending. Raises WireError."""

    def try_send(self, data: bytes) -> bytes:
        """Send what can be sent at once. What is left is returned, for `send_rest`: until then
        nothing else may be sent. Raises WireError."""

    async def send_rest(self, rest: bytes) -> None:
        """Send what `try_send` left. Raises WireError."""

    def close(self) -> None:
        """Close, at once; never fails."""

    def is_quiet(self) -> bool:
        """Whether the connection is open and nothing unread has come: fit to be used again."""


def _prepare(sock: socket.socket) -> None:
    sock.setblocking(False)
    if sock.family in (socket.AF_INET, socket.AF_INET6):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


async def _receive(sock: socket.socket) -> bytes:
    while True:
        await trio.lowlevel.wait_readable(sock)
        try:
            return sock.recv(RECEIVE_BYTES)
        except (BlockingIOError, InterruptedError):
            continue
        except OSError as e:
            raise WireError(str(e)) from e


def _try_send(sock: socket.socket, data: bytes | memoryview) -> int:
    try:
        return sock.send(data)
    except (BlockingIOError, InterruptedError):
        return 0
    except OSError as e:
        raise WireError(str(e)) from e


async def _send(sock: socket.socket, data: bytes) -> None:
    view = memoryview(data)
    while view:
        sent = _try_send(sock, view)
        view = view[sent:]
        if view:
            await trio.lowlevel.wait_writable(sock)


def _is_quiet(sock: socket.socket) -> bool:
    poll = select.poll()
    poll.register(sock, select.POLLIN | select.POLLRDHUP)
    return not poll.poll(0)


class SocketWire:
    """A plain connection over an owned socket."""

    __slots__ = ("sock",)

    def __init__(self, sock: socket.socket) -> None:
        _prepare(sock)
        self.sock = sock

    async def receive(self) -> bytes:
        """See Wire."""
        return await _receive(self.sock)

    def try_send(self, data: bytes) -> bytes:
        """See Wire."""
        return data[_try_send(self.sock, data) :]

    async def send_rest(self, rest: bytes) -> None:
        """See Wire."""
        await _send(self.sock, rest)

    def close(self) -> None:
        """See Wire."""
        trio.lowlevel.notify_closing(self.sock)
        self.sock.close()

    def is_quiet(self) -> bool:
        """See Wire."""
        return _is_quiet(self.sock)


class TLSWire:
    """A TLS connection over memory BIOs: half the cost of wrapping the socket per message."""

    __slots__ = ("_incoming", "_outgoing", "_tls", "sock")

    def __init__(
        self, sock: socket.socket, context: ssl.SSLContext, *, server_name: str | None = None
    ) -> None:
        """A client names the server it wants; without a name this is the server's side."""
        _prepare(sock)
        self.sock = sock
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._tls = context.wrap_bio(
            self._incoming,
            self._outgoing,
            server_side=server_name is None,
            server_hostname=server_name,
        )

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
                    _try_send(self.sock, self._outgoing.read())
                raise WireError(f"TLS: {e.reason or e}") from e
            else:
                await self._flush()
                return

    async def _flush(self) -> None:
        data = self._outgoing.read()
        if data:
            await _send(self.sock, data)

    async def _fill(self) -> bool:
        data = await _receive(self.sock)
        if data:
            self._incoming.write(data)
        else:
            self._incoming.write_eof()
        return bool(data)

    async def receive(self) -> bytes:
        """See Wire. An end without close_notify is the same as one with it: whether the message is
        whole is for HTTP's framing to say."""
        while True:
            try:
                return self._tls.read(RECEIVE_BYTES)
            except ssl.SSLWantReadError:
                await self._flush()
                if not await self._fill():
                    return b""
            except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
                return b""
            except ssl.SSLError as e:
                raise WireError(f"TLS: {e.reason or e}") from e

    def try_send(self, data: bytes) -> bytes:
        """See Wire. What is left is ciphertext."""
        try:
            self._tls.write(data)
        except ssl.SSLError as e:
            raise WireError(f"TLS: {e.reason or e}") from e
        ciphertext = self._outgoing.read()
        return ciphertext[_try_send(self.sock, ciphertext) :]

    async def send_rest(self, rest: bytes) -> None:
        """See Wire."""
        await _send(self.sock, rest)

    def close(self) -> None:
        """See Wire. Says close_notify if the socket takes it at once."""
        with contextlib.suppress(ssl.SSLError, WireError, OSError, ValueError):
            self._tls.unwrap()
        with contextlib.suppress(WireError):
            _try_send(self.sock, self._outgoing.read())
        trio.lowlevel.notify_closing(self.sock)
        self.sock.close()

    def is_quiet(self) -> bool:
        """See Wire."""
        return not self._tls.pending() and not self._incoming.pending and _is_quiet(self.sock)
