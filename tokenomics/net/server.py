"""The HTTP/1.1 server of both roles: it accepts and drains connections.

One watch per server ends their overdue waits, and tells them of clients that hung up.
"""

from __future__ import annotations

import contextlib
import errno
import socket
import ssl
from collections.abc import Callable

import trio

from tokenomics.net.connection import App, Connection, Limits, Report
from tokenomics.net.heads import HeadJudge
from tokenomics.net.watch import Watch
from tokenomics.net.wire import SocketWire, TLSWire, Wire

# Accepting failed for want of file descriptors or memory: let some connections end first.
ACCEPT_PAUSE_SECONDS = 0.1
_OUT_OF_RESOURCES = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}


class Server:
    """Accepts connections and serves them. Owns its connections; the caller owns its lifetime."""

    def __init__(
        self, app: App, limits: Limits, report: Report, on_drain: Callable[[], None] | None = None
    ) -> None:
        """`on_drain` is called once when draining begins, for requests that wait on purpose."""
        self.app = app
        self._on_drain = on_drain
        self.limits = limits
        self.report = report
        self.judge = HeadJudge()
        self.connections: set[Connection] = set()
        self.watch = Watch()
        self.draining = False
        self._accepting = trio.CancelScope()
        self._empty = trio.lowlevel.ParkingLot()  # waits for the last connection to end

    async def serve(
        self,
        listeners: list[tuple[socket.socket, ssl.SSLContext | None]],
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Serve on listening sockets until cancelled or drained. Closes the sockets."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.watch.run)
            with self._accepting:
                async with trio.open_nursery() as accepting:
                    for sock, context in listeners:
                        accepting.start_soon(self._accept, sock, context, nursery)
                    task_status.started()
            await self._until_empty()
            nursery.cancel_scope.cancel()

    async def drain(self, seconds: float) -> None:
        """Take no more requests, let running ones end for at most `seconds`, then cut them."""
        again, self.draining = self.draining, True
        if self._on_drain is not None and not again:
            self._on_drain()
        self._accepting.cancel()
        for connection in list(self.connections):
            connection.keep_alive = False  # so that the answers to running requests say it
            if connection.idle:
                connection.scope.cancel()
        with trio.move_on_after(seconds):
            await self._until_empty()
        for connection in list(self.connections):
            connection.scope.cancel()

    async def _accept(
        self, listener: socket.socket, context: ssl.SSLContext | None, nursery: trio.Nursery
    ) -> None:
        with listener:
            listener.setblocking(False)
            while True:
                await trio.lowlevel.wait_readable(listener)
                try:
                    sock, address = listener.accept()
                except OSError as e:
                    if e.errno in _OUT_OF_RESOURCES:
                        self.report("warn", f"cannot accept connections: {e}")
                        await trio.sleep(ACCEPT_PAUSE_SECONDS)
                    continue  # or the client gave up before it was accepted
                peer = address[0] if isinstance(address, tuple) else "local"
                if len(self.connections) >= self.limits.max_connections:
                    _turn_away(sock, tls=context is not None)
                else:
                    nursery.start_soon(self.serve_socket, sock, context, peer)

    async def serve_socket(
        self, sock: socket.socket, context: ssl.SSLContext | None = None, peer: str = "local"
    ) -> None:
        """Serve one connected socket, and close it."""
        try:
            with sock:
                wire: Wire = SocketWire(sock)
                if context is not None:
                    wire = TLSWire(wire, context)
                await self._serve_wire(wire, peer)
        except Exception as e:  # noqa: BLE001  outer door: a bug ends one connection, not the server
            self.report("error", f"connection failed: {e!r}", error=e)

    async def _serve_wire(self, wire: Wire, peer: str) -> None:
        connection = Connection(self, wire, peer)
        self.connections.add(connection)
        try:
            self.watch.add(wire, connection.hung_up)
            await connection.run()
        finally:
            self.connections.discard(connection)
            if not self.connections:
                self._empty.unpark_all()
            self.watch.remove(wire)
            wire.close()

    async def _until_empty(self) -> None:
        while self.connections:
            await self._empty.park()

    @property
    def running(self) -> set[Connection]:
        """The connections that are inside a request."""
        return {c for c in self.connections if not c.idle}


def _turn_away(sock: socket.socket, *, tls: bool) -> None:
    """At the connection limit: say so without waiting, and close. A TLS client would take the
    words for a broken handshake, so it gets none."""
    with sock, contextlib.suppress(OSError):
        sock.setblocking(False)
        if not tls:
            sock.send(
                b"HTTP/1.1 503 Service Unavailable\r\nconnection: close\r\n"
                b"retry-after: 1\r\ncontent-length: 0\r\n\r\n"
            )
            sock.recv(1 << 16)  # closing on unread bytes would reset, and lose the answer


def bind(host: str, port: int, backlog: int = 1024) -> socket.socket:
    """A listening socket; an empty host means all interfaces, IPv6 and IPv4. Raises OSError."""
    if host:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family, backlog=backlog)
    if socket.has_dualstack_ipv6():
        try:
            return socket.create_server(
                ("", port), family=socket.AF_INET6, backlog=backlog, dualstack_ipv6=True
            )
        except OSError as e:
            if e.errno not in (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL):
                raise
    return socket.create_server(("", port), backlog=backlog)
