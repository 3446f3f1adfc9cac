"""The clients of the benchmark: blocking sockets on loopback that ask, read, and ask again."""

from __future__ import annotations

import re
import select
import socket
import ssl
import time
from collections.abc import Sequence
from dataclasses import dataclass

from cases import Case

PATIENCE = 10.0  # seconds without a byte after which a measurement fails
SEND_BUFFER = 256 << 10  # bytes: most requests fit, so that sending them never waits
RECEIVE_BYTES = 256 << 10
_LENGTH = re.compile(rb"\r\ncontent-length: ?([0-9]+)", re.IGNORECASE)
_STAMP = re.compile(rb'"content":"([0-9]+)"')


class BadAnswer(Exception):
    """An answer that is not 200, or not whole: what was measured is not what was meant."""


def _unverified() -> ssl.SSLContext:
    """Whom the client trusts is not what is measured; a connection has a full handshake."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(["http/1.1"])
    return context


_TLS = _unverified()


class Connection:
    """One connection, kept unless `reopen` is called; use as a context manager."""

    def __init__(self, port: int, *, tls: bool = False) -> None:
        self._port = port
        self._tls = tls
        self.last = b""  # what came last
        self._left = -1  # bytes to come of a body with a length
        self._in_body = False
        self.sock = self._open()

    def _open(self) -> socket.socket:
        sock = socket.socket()
        sock.settimeout(PATIENCE)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.connect(("127.0.0.1", self._port))
        return _TLS.wrap_socket(sock) if self._tls else sock

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, *_: object) -> None:
        self.sock.close()

    def reopen(self) -> None:
        """Close, and connect anew."""
        self.sock.close()
        self.sock = self._open()

    def ask(self, data: bytes) -> None:
        """Send a request."""
        self._in_body, self._left, self.last = False, -1, b""
        self.sock.sendall(data)

    def receive(self) -> bool:
        """Read once; whether the answer is whole. Raises BadAnswer."""
        data = self.sock.recv(RECEIVE_BYTES)  # of TLS a record, which is never cut
        if not data:
            raise BadAnswer(f"closed inside an answer, after {self.last[-200:]!r}")
        if not self._in_body:
            data = self.last + data
            end = data.find(b"\r\n\r\n") + 4
            if end >= 4:
                self._begin_body(data, end)
        elif self._left >= 0:
            self._left -= len(data)
        else:
            data = self.last[-32:] + data  # the end may come in two
        self.last = data
        if self._left >= 0:
            return self._left == 0
        return self._in_body and data.endswith(b"data: [DONE]\n\n\r\n0\r\n\r\n")

    def _begin_body(self, data: bytes, end: int) -> None:
        if not data.startswith(b"HTTP/1.1 200 "):
            raise BadAnswer(f"not a 200: {data[:1000]!r}")
        self._in_body = True
        length = _LENGTH.search(data, 0, end)
        if length:
            self._left = int(length[1]) - (len(data) - end)


@dataclass(frozen=True, slots=True)
class Bound:
    """How long a measurement goes on: until either is reached."""

    seconds: float
    requests: int


def latencies(connection: Connection, case: Case, data: bytes, bound: Bound) -> list[float]:
    """One request after the other: microseconds of each answer, or of each event. A connection that
    has to be made for it counts as part of it."""
    out: list[float] = []
    until = time.monotonic() + bound.seconds
    done = 0
    while done < case.most(bound.requests) and time.monotonic() < until:
        begun = time.monotonic_ns()
        if case.fresh:
            connection.reopen()
        connection.ask(data)
        whole = False
        while not whole:
            whole = connection.receive()
            if case.stamped:
                now = time.monotonic_ns()
                out += [(now - int(sent)) / 1000 for sent in _STAMP.findall(connection.last, 32)]
        if not case.stamped:
            out.append((time.monotonic_ns() - begun) / 1000)
        done += 1
    return out


def saturate(
    connections: Sequence[Connection], case: Case, data: bytes, bound: Bound
) -> tuple[int, float]:
    """All connections at once, each asking again when it is answered: (requests, seconds)."""
    poll = select.epoll()
    by_fd = {c.sock.fileno(): c for c in connections}
    for fd in by_fd:
        poll.register(fd, select.EPOLLIN)
    begun = time.monotonic()
    until = begun + bound.seconds
    most = case.most(bound.requests)
    for connection in connections:
        connection.ask(data)
    asked, done = len(connections), 0
    with poll:
        while done < asked:
            ready = poll.poll(PATIENCE)
            if not ready:
                raise BadAnswer(f"no answer within {PATIENCE:g} s")
            for fd, _ in ready:
                if by_fd[fd].receive():
                    done += 1
                    if asked < most and time.monotonic() < until:
                        _again(by_fd, fd, poll, case, data)
                        asked += 1
    return done, time.monotonic() - begun


def _again(
    by_fd: dict[int, Connection], fd: int, poll: select.epoll, case: Case, data: bytes
) -> None:
    connection = by_fd[fd]
    if case.fresh:
        del by_fd[fd]
        connection.reopen()  # closing has taken the old one out of the poll
        by_fd[connection.sock.fileno()] = connection
        poll.register(connection.sock.fileno(), select.EPOLLIN)
    connection.ask(data)
