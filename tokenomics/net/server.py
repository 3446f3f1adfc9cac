"""The HTTP/1.1 server of both roles: it accepts, watches and drains connections.

One watcher per server looks for clients that hung up while their request runs.
"""

from __future__ import annotations

import errno
import select
import socket
import ssl
from collections.abc import Callable

import trio

from tokenomics.net.connection import App, Connection, Limits, Report
from tokenomics.net.heads import HeadJudge
from tokenomics.net.wire import SocketWire, TLSWire, Wire

# How often running requests are looked at for a client that hung up. A close is seen by one look
# and proven by the next; both must fit in the 100 ms after which its upstream call must be gone.
WATCH_SECONDS = 0.025
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
        self.running: set[Connection] = set()
        self.draining = False
        self._watcher_parked: trio.Event | None = None
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
            nursery.start_soon(self.watch)
            with self._accepting:
                async with trio.open_nursery() as accepting:
                    for sock, context in listeners:
                        accepting.start_soon(self._accept, sock, context, nursery)
                    task_status.started()
            await self._until_empty()
            nursery.cancel_scope.cancel()

    async def drain(self, seconds: float) -> None:
        """Take no more requests, let running ones end for at most `seconds`, then cut them."""
        self.draining = True
        if self._on_drain is not None:
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
                    _turn_away(sock)
                else:
                    nursery.start_soon(self.serve_socket, sock, context, peer)

    async def serve_socket(
        self, sock: socket.socket, context: ssl.SSLContext | None = None, peer: str = "local"
    ) -> None:
        """Serve one connected socket, and close it."""
        wire: Wire = SocketWire(sock) if context is None else TLSWire(sock, context)
        connection = Connection(self, wire, peer)
        self.connections.add(connection)
        try:
            await connection.run()
        except Exception as e:  # noqa: BLE001  outer door: a bug ends one connection, not the server
            self.report("error", f"connection failed: {e!r}", error=e)
        finally:
            self.connections.discard(connection)
            if not self.connections:
                self._empty.unpark_all()
            wire.close()

    async def _until_empty(self) -> None:
        while self.connections:
            await self._empty.park()

    def began(self, connection: Connection) -> None:
        """See Host; and see that the watcher is not asleep."""
        self.running.add(connection)
        if self._watcher_parked is not None:
            self._watcher_parked.set()
            self._watcher_parked = None

    def ended(self, connection: Connection) -> None:
        """See Host."""
        self.running.discard(connection)

    async def watch(self) -> None:
        """Look for clients that hung up, for ever; for who serves sockets without `serve`."""
        while True:
            if not self.running:
                self._watcher_parked = trio.Event()
                await self._watcher_parked.wait()
            await trio.sleep(WATCH_SECONDS)
            by_fd = {c.sock.fileno(): c for c in self.running}
            poll = select.poll()
            for fd in by_fd:
                poll.register(fd, select.POLLRDHUP)
            for fd, events in poll.poll(0):
                by_fd[fd].look(events)


def _turn_away(sock: socket.socket) -> None:
    """At the connection limit: say so without waiting, and close."""
    with sock:
        sock.setblocking(False)
        try:
            sock.send(
                b"HTTP/1.1 503 Service Unavailable\r\nconnection: close\r\n"
                b"retry-after: 1\r\ncontent-length: 0\r\n\r\n"
            )
        except OSError:
            return


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
