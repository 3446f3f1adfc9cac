"""The other ends of our connections: h11 over trio's own streams, and TLS from `trustme`.

Nothing of `tokenomics.net` is used here but what is started for a test, so that a mistake of ours
is not made twice.
"""

from __future__ import annotations

import socket
import ssl
import struct
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import h11
import trio

from tokenomics.net.connection import App, Limits
from tokenomics.net.server import Server, bind

PATIENCE = 5.0  # seconds until a test that waits for something gives up
RECEIVE_BYTES = 65536


@dataclass
class Answer:
    """An answer as h11 understood it."""

    status: int
    headers: dict[str, str]
    body: bytes
    interim: list[int] = field(default_factory=list)


class Peer:
    """One end of a connection, driven by a test. Every wait ends after PATIENCE seconds."""

    def __init__(self, stream: trio.SocketStream | trio.SSLStream[trio.SocketStream]) -> None:
        self.stream = stream
        self.unread = b""

    async def send(self, data: bytes) -> None:
        with trio.fail_after(PATIENCE):
            await self.stream.send_all(data)

    async def send_eof(self) -> None:
        """Half-close: no more is sent, but still read."""
        assert isinstance(self.stream, trio.SocketStream), "TLS has no half-close"
        await self.stream.send_eof()

    async def more(self) -> bool:
        """Read some bytes; False at the end."""
        with trio.fail_after(PATIENCE):
            data = await self.stream.receive_some(RECEIVE_BYTES)
        self.unread += data
        return bool(data)

    async def until(self, mark: bytes) -> bytes:
        """What comes up to and with `mark`."""
        while mark not in self.unread:
            assert await self.more(), f"closed before {mark!r}, after {self.unread!r}"
        end = self.unread.index(mark) + len(mark)
        found, self.unread = self.unread[:end], self.unread[end:]
        return found

    async def until_closed(self) -> bytes:
        """All that comes. A reset instead of a clean end raises BrokenResourceError."""
        while await self.more():
            pass
        found, self.unread = self.unread, b""
        return found

    async def answer(self, method: str = "GET") -> Answer:
        """The next answer, which must be whole; what follows it stays for the next call."""
        connection = h11.Connection(h11.CLIENT)
        connection.send(h11.Request(method=method, target="/", headers=[("host", "peer")]))
        connection.send(h11.EndOfMessage())
        interim: list[int] = []
        head: h11.Response | None = None
        body = bytearray()
        self._hand_over(connection)
        while True:
            event = connection.next_event()
            if event is h11.NEED_DATA:
                with trio.fail_after(PATIENCE):
                    connection.receive_data(bytes(await self.stream.receive_some(RECEIVE_BYTES)))
            elif isinstance(event, h11.InformationalResponse):
                interim.append(event.status_code)
            elif isinstance(event, h11.Response):
                head = event
            elif isinstance(event, h11.Data):
                body += event.data
            else:
                assert isinstance(event, h11.EndOfMessage), event
                break
        assert head is not None
        self.unread = connection.trailing_data[0]
        headers = {name.decode(): value.decode("latin-1") for name, value in head.headers}
        headers.pop("date", None)  # the same everywhere; it has a test of its own
        return Answer(head.status_code, headers, bytes(body), interim)

    async def request(self) -> tuple[h11.Request, bytes] | None:
        """The next request and its body, or None if the client closed between requests."""
        connection = h11.Connection(h11.SERVER)
        self._hand_over(connection)
        head: h11.Request | None = None
        body = bytearray()
        while True:
            event = connection.next_event()
            if event is h11.NEED_DATA:  # the client's tests bound the wait
                connection.receive_data(bytes(await self.stream.receive_some(RECEIVE_BYTES)))
            elif isinstance(event, h11.ConnectionClosed):
                return None
            elif isinstance(event, h11.Request):
                head = event
            elif isinstance(event, h11.Data):
                body += event.data
            else:
                break
        assert head is not None
        self.unread = connection.trailing_data[0]
        return head, bytes(body)

    def _hand_over(self, connection: h11.Connection) -> None:
        if self.unread:  # empty would mean the end
            connection.receive_data(self.unread)
        self.unread = b""

    def reset(self) -> None:
        """Close with a TCP reset."""
        sock = self.transport.socket
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        sock.close()

    @property
    def transport(self) -> trio.SocketStream:
        """The TCP stream, below TLS if there is TLS."""
        if isinstance(self.stream, trio.SSLStream):
            return self.stream.transport_stream
        return self.stream

    async def aclose(self) -> None:
        with trio.move_on_after(PATIENCE):
            await self.stream.aclose()


async def connect(nursery: trio.Nursery, port: int, context: ssl.SSLContext | None = None) -> Peer:
    """A client's end of a new connection to a port of 127.0.0.1, closed with the nursery."""
    stream = await trio.open_tcp_stream("127.0.0.1", port)
    nursery.start_soon(_close_at_the_end, stream)
    if context is None:
        return Peer(stream)
    tls = trio.SSLStream(stream, context, server_hostname="127.0.0.1", https_compatible=True)
    with trio.fail_after(PATIENCE):
        await tls.do_handshake()
    return Peer(tls)


async def _close_at_the_end(stream: trio.SocketStream) -> None:
    try:
        await trio.sleep_forever()
    finally:
        stream.socket.close()


Script = Callable[[Peer], Awaitable[None]]


async def listen(
    nursery: trio.Nursery, script: Script, context: ssl.SSLContext | None = None
) -> int:
    """Run `script` for each connection to the port that is returned; its errors fail the test."""

    async def handle(stream: trio.SocketStream) -> None:
        peer = Peer(stream)
        try:
            if context is not None:
                tls = trio.SSLStream(stream, context, server_side=True, https_compatible=True)
                await tls.do_handshake()
                peer = Peer(tls)
            await script(peer)
        except trio.BrokenResourceError:
            return  # the client closed, or did not like the certificate: its side says so
        finally:
            stream.socket.close()

    [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
    nursery.start_soon(trio.serve_listeners, handle, [listener])
    port: int = listener.socket.getsockname()[1]
    return port


@dataclass
class Stage:
    """A server under test, and what it reported."""

    nursery: trio.Nursery
    server: Server
    port: int
    reports: list[str]
    ended: trio.Event
    context: ssl.SSLContext | None = None  # for clients, if the server speaks TLS

    async def connect(self) -> Peer:
        """A new client."""
        return await connect(self.nursery, self.port, self.context)


async def serve(
    nursery: trio.Nursery,
    app: App,
    limits: Limits | None = None,
    tls: tuple[ssl.SSLContext, ssl.SSLContext] | None = None,
    on_drain: Callable[[], None] | None = None,
) -> Stage:
    """Start a server on 127.0.0.1. `tls` is the server's and the clients' context."""
    reports: list[str] = []

    def report(level: str, message: str, **_: object) -> None:
        reports.append(f"{level}: {message}")

    server = Server(app, limits or Limits(), report, on_drain)
    sock = bind("127.0.0.1", 0)
    port: int = sock.getsockname()[1]
    stage = Stage(nursery, server, port, reports, trio.Event(), tls[1] if tls else None)

    async def run(task_status: trio.TaskStatus[None]) -> None:
        await server.serve([(sock, tls[0] if tls else None)], task_status=task_status)
        stage.ended.set()

    await nursery.start(run)
    return stage


@contextmanager
def patience() -> Iterator[None]:
    """Fail instead of waiting for ever."""
    with trio.fail_after(PATIENCE):
        yield


def head(line: str, *fields: str) -> bytes:
    """A head of a start line and header lines, with CRLFs."""
    return "\r\n".join([line, *fields, "", ""]).encode("latin-1")


def get(path: str = "/", *fields: str, version: str = "1.1") -> bytes:
    """A GET request."""
    return head(f"GET {path} HTTP/{version}", "Host: test", *fields)


def post(path: str, body: bytes, *fields: str) -> bytes:
    """A POST request with a body of a known length."""
    return head(f"POST {path} HTTP/1.1", "Host: t", f"Content-Length: {len(body)}", *fields) + body
