"""The clients of the benchmark: blocking sockets on loopback that ask, read, and ask again."""

from __future__ import annotations

import json
import re
import select
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass

PATIENCE = 10.0  # seconds without a byte after which a measurement fails
SEND_BUFFER = 256 << 10  # bytes: a whole request fits, so that sending never waits
RECEIVE_BYTES = 256 << 10
_LENGTH = re.compile(rb"\r\ncontent-length: ?([0-9]+)", re.IGNORECASE)
_STAMP = re.compile(rb'"content":"([0-9]+)"')
# What the openai package for Python sends.
_HEAD = """POST /v1/chat/completions HTTP/1.1\r
Host: 127.0.0.1:{port}\r
Accept-Encoding: gzip, deflate\r
Connection: keep-alive\r
Accept: application/json\r
Content-Type: application/json\r
User-Agent: OpenAI/Python 1.59.3\r
X-Stainless-Lang: python\r
X-Stainless-Package-Version: 1.59.3\r
X-Stainless-OS: Linux\r
X-Stainless-Arch: x64\r
X-Stainless-Runtime: CPython\r
X-Stainless-Runtime-Version: 3.11.7\r
Authorization: Bearer {token}\r
X-Stainless-Async: false\r
x-stainless-retry-count: 0\r
Content-Length: {length}\r
\r
"""
_PROSE = 'Rivers carry more than water;\n\tthey carry the "memory" of every hill they\'ve passed. '


@dataclass(frozen=True, slots=True)
class Case:
    """A request to measure. With `stamped` the latency is that of each event of the answer, else
    of the whole answer; `paced` answers take their time, so that requests/s say nothing."""

    name: str
    body: bytes
    stamped: bool = False
    paced: bool = False


def _body(model: str, *, stream: bool = False, turns: int = 0) -> bytes:
    messages = [{"role": "system", "content": "You are a helpful assistant."}]
    for i in range(turns):
        messages.append({"role": ("user", "assistant")[i % 2], "content": _PROSE * 55})
    messages.append({"role": "user", "content": "What does the fox jump over?"})
    body: dict[str, object] = {"model": model, "messages": messages}
    return json.dumps(body | ({"stream": True} if stream else {})).encode()


CASES = {
    case.name: case
    for case in (
        Case("small", _body("bench-whole")),
        Case("100KB", _body("bench-whole", turns=20)),
        Case("stream", _body("bench-burst", stream=True)),
        Case("drip", _body("bench-drip", stream=True), stamped=True, paced=True),
    )
}


class BadAnswer(Exception):
    """An answer that is not 200, or not whole: what was measured is not what was meant."""


def request(case: Case, port: int, token: str) -> bytes:
    """The bytes of one request."""
    return _HEAD.format(port=port, token=token, length=len(case.body)).encode() + case.body


class Connection:
    """One kept connection; use as a context manager."""

    def __init__(self, port: int) -> None:
        self.sock = socket.socket()
        self.sock.settimeout(PATIENCE)
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock.connect(("127.0.0.1", port))
        self.last = b""  # what came last
        self._left = -1  # bytes to come of a body with a length
        self._in_body = False

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, *_: object) -> None:
        self.sock.close()

    def ask(self, data: bytes) -> None:
        """Send a request."""
        self._in_body, self._left, self.last = False, -1, b""
        self.sock.sendall(data)

    def receive(self) -> bool:
        """Read once; whether the answer is whole. Raises BadAnswer."""
        data = self.sock.recv(RECEIVE_BYTES)
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
    """One request after the other: microseconds of each answer, or of each event."""
    out: list[float] = []
    until = time.monotonic() + bound.seconds
    done = 0
    while done < bound.requests and time.monotonic() < until:
        begun = time.monotonic_ns()
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


def saturate(connections: Sequence[Connection], data: bytes, bound: Bound) -> tuple[int, float]:
    """All connections at once, each asking again when it is answered: (requests, seconds)."""
    poll = select.epoll()
    by_fd = {c.sock.fileno(): c for c in connections}
    for fd in by_fd:
        poll.register(fd, select.EPOLLIN)
    begun = time.monotonic()
    until = begun + bound.seconds
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
                    if asked < bound.requests and time.monotonic() < until:
                        by_fd[fd].ask(data)
                        asked += 1
    return done, time.monotonic() - begun
