"""The crowds of `crowd.py`, from the client's side: sockets that are opened, kept and closed.

Each has one owner, the measurement, which calls `tick` every few milliseconds: a crowd has no
thread, so that it does nothing while a latency is taken.
"""

from __future__ import annotations

import select
import socket
import time
from typing import ClassVar

from cases import Case, chat, request
from load import PATIENCE, RECEIVE_BYTES, BadAnswer, Connection
from world import Target

BATCH = 64  # requests under way while a crowd is opened: nobody waits for a SYN queue
PORTS_PER_SOURCE = 20_000  # of the 28,000 that a source address has towards one port
PACE_SECONDS = 1.0  # between two bytes of a slow head; of the events, see upstream.SLOW_SECONDS
EVENTS = 4096  # most that are looked at in one tick

SMALL = Case("small", chat("bench-whole"))
SLOW = Case("slow", chat("bench-slow", stream=True))


def connect(port: int, number: int) -> socket.socket:
    """The so-manieth connection, from a source address that has ports left."""
    source = (f"127.0.0.{1 + number // PORTS_PER_SOURCE}", 0)
    sock = socket.create_connection(("127.0.0.1", port), PATIENCE, source_address=source)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


class Idle:
    """Kept connections that have done one request each, and wait."""

    name: ClassVar[str] = "idle connections"
    files: ClassVar[int] = 1  # that each costs the proxy

    def __init__(self, target: Target) -> None:
        self._target = target
        self._data = request(SMALL, target.port, target.token)
        self._poll = select.epoll()
        self.socks: dict[int, socket.socket] = {}
        self.ended = 0  # closed by the proxy

    def open(self, count: int) -> None:
        """Open so many more. Raises BadAnswer or OSError."""
        while len(self.socks) < count:
            batch = min(BATCH, count - len(self.socks))
            self._open([connect(self._target.port, len(self.socks) + i) for i in range(batch)])

    def _open(self, batch: list[socket.socket]) -> None:
        for sock in batch:
            self._keep(sock)
            sock.sendall(self._data)
        for sock in batch:
            data = b""
            while not self._begun(data):
                more = sock.recv(RECEIVE_BYTES)
                if not more or not (data + more).startswith(b"HTTP/1.1 200 "[: len(data + more)]):
                    raise BadAnswer(f"not a 200: {(data + more)[:1000]!r}")
                data += more

    def _begun(self, data: bytes) -> bool:
        """Whether as much of an answer has come as opening waits for."""
        return data.endswith(b"}")  # what follows the head is small, and comes in one

    def _keep(self, sock: socket.socket) -> None:
        self.socks[sock.fileno()] = sock
        self._poll.register(sock.fileno(), select.EPOLLIN)

    def tick(self) -> None:
        """Read what has come."""
        for fd, _ in self._poll.poll(0, EVENTS):
            try:
                data = self.socks[fd].recv(RECEIVE_BYTES)
            except OSError:
                data = b""
            if not data:
                self._end(fd)

    def _end(self, fd: int) -> None:
        self.ended += 1
        self._poll.unregister(fd)
        self.socks.pop(fd).close()

    def close(self) -> None:
        """Close all."""
        self._poll.close()
        for sock in self.socks.values():
            sock.close()


class Streams(Idle):
    """Streams that get an event now and then."""

    name = "slow streams"
    files = 2

    def __init__(self, target: Target) -> None:
        super().__init__(target)
        self._data = request(SLOW, target.port, target.token)

    def _begun(self, data: bytes) -> bool:
        return b"\r\n\r\n" in data


class Loris(Idle):
    """Clients that send a head byte by byte, and never come to its end."""

    name = "slow heads"

    def __init__(self, target: Target) -> None:
        super().__init__(target)
        self._turns: list[int] = []  # descriptors in the order in which they send
        self._sent = 0  # bytes of all of them
        self._began = 0.0

    def _open(self, batch: list[socket.socket]) -> None:
        for sock in batch:
            self._keep(sock)
            sock.sendall(self._data[:1])
            self._turns.append(sock.fileno())

    def tick(self) -> None:
        """Let those send whose turn it is: they are spread over the pace, not all at once."""
        now = time.monotonic()
        self._began = self._began or now
        due = int((now - self._began) / PACE_SECONDS * len(self._turns))
        while self._sent < due:
            round_, turn = divmod(self._sent, len(self._turns))
            self._sent += 1
            sock = self.socks.get(self._turns[turn])
            if sock is not None:
                try:
                    sock.send(self._data[1 + round_ : 2 + round_])
                except OSError:
                    self._end(sock.fileno())
        super().tick()


def latency(connection: Connection, data: bytes) -> float:
    """The milliseconds of one small request."""
    begun = time.monotonic_ns()
    connection.ask(data)
    while not connection.receive():
        pass
    return (time.monotonic_ns() - begun) / 1e6
