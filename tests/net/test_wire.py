"""Bytes in and out of a socket, plain and over TLS."""

from __future__ import annotations

import socket
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from tests.net.peers import Peer, patience
from tokenomics.net.wire import SocketWire, TLSWire, Wire, WireError

BIG = bytes(range(256)) * (1 << 14)  # 4 MiB: more than both sockets' buffers hold


async def tcp_pair() -> tuple[socket.socket, trio.SocketStream]:
    """Two ends of a TCP connection."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        stream = await trio.open_tcp_stream(*listener.getsockname())
        return listener.accept()[0], stream


@dataclass
class Link:
    """A wire and who is at its other end."""

    wire: Wire
    peer: Peer


@pytest.fixture(params=["plain", "tls-server", "tls-client"])
async def link(
    request: pytest.FixtureRequest, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext
) -> AsyncIterator[Link]:
    """A connected wire: plain, or TLS as either side."""
    sock, stream = await tcp_pair()
    if request.param == "plain":
        made = Link(SocketWire(sock), Peer(stream))
    else:
        made = await tls_link(sock, stream, server_tls, client_tls, request.param == "tls-server")
    yield made
    made.wire.close()
    await trio.aclose_forcefully(made.peer.stream)


async def tls_link(
    sock: socket.socket,
    stream: trio.SocketStream,
    server_tls: ssl.SSLContext,
    client_tls: ssl.SSLContext,
    serving: bool,
) -> Link:
    """A TLS wire after its handshake; its peer is trio's TLS."""
    if serving:
        wire = TLSWire(SocketWire(sock), server_tls)
        tls = trio.SSLStream(stream, client_tls, server_hostname="localhost")
    else:
        wire = TLSWire(SocketWire(sock), client_tls, server_name="localhost")
        tls = trio.SSLStream(stream, server_tls, server_side=True)
    with patience():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(tls.do_handshake)
            nursery.start_soon(wire.handshake)
    return Link(wire, Peer(tls))


async def send(wire: Wire, data: bytes) -> None:
    rest = wire.try_send(data)
    if rest:
        with patience():
            await wire.send_rest(rest, lambda: None)


async def receive(wire: Wire) -> bytes:
    with patience():
        return await wire.receive()


async def test_bytes_go_both_ways(link: Link) -> None:
    await send(link.wire, b"over")
    assert await link.peer.until(b"over") == b"over"
    await link.peer.send(b"and back")
    assert await receive(link.wire) == b"and back"


async def test_many_bytes_arrive_whole_and_in_order(link: Link) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(send, link.wire, BIG)
        while len(link.peer.unread) < len(BIG):
            assert await link.peer.more()
    assert link.peer.unread == BIG


async def test_many_bytes_are_received_whole_and_in_order(link: Link) -> None:
    got = bytearray()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(link.peer.send, BIG)
        while len(got) < len(BIG):
            data = await receive(link.wire)
            assert data
            got += data
    assert got == BIG


async def test_what_a_full_socket_does_not_take_is_returned(link: Link) -> None:
    rest = link.wire.try_send(BIG)
    assert len(rest) > 0
    with trio.move_on_after(0.01) as scope:
        await link.wire.send_rest(rest, lambda: None)
    assert scope.cancelled_caught  # it waited for a peer that does not read


async def test_the_peers_end_is_an_empty_receive(link: Link) -> None:
    await link.peer.send(b"last")
    await link.peer.aclose()
    assert await receive(link.wire) == b"last"
    assert await receive(link.wire) == b""
    assert await receive(link.wire) == b""


async def test_an_end_without_close_notify_is_an_end_too(link: Link) -> None:
    await link.peer.send(b"last")
    await link.peer.transport.send_eof()
    assert await receive(link.wire) == b"last"
    assert await receive(link.wire) == b""


async def test_a_reset_is_a_wire_error(link: Link) -> None:
    link.peer.reset()
    with pytest.raises(WireError):
        await receive(link.wire)
    with pytest.raises(WireError):
        await send(link.wire, BIG)


async def test_close_ends_the_peers_reading(link: Link) -> None:
    await send(link.wire, b"bye")
    link.wire.close()
    # trio raises where TLS ends without close_notify: a truncation.
    assert await link.peer.until_closed() == b"bye"


async def test_close_wakes_a_waiting_receive(link: Link) -> None:
    async def wait() -> None:
        with pytest.raises(WireError):
            await receive(link.wire)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait)
        await wait_all_tasks_blocked()
        link.wire.close()


async def test_close_may_come_twice(link: Link) -> None:
    link.wire.close()
    link.wire.close()


async def use_once(link: Link) -> None:
    """One exchange, so that nothing of a handshake is unread."""
    await link.peer.send(b"x")
    assert await receive(link.wire) == b"x"


async def test_an_open_silent_connection_is_quiet(link: Link) -> None:
    await use_once(link)
    assert link.wire.is_quiet()


async def readable(link: Link) -> None:
    with patience():
        await trio.lowlevel.wait_readable(link.wire.sock)


@pytest.mark.parametrize("event", ["bytes", "end", "cut", "reset"])
async def test_a_connection_where_something_came_is_not_quiet(link: Link, event: str) -> None:
    await use_once(link)
    if event == "bytes":
        await link.peer.send(b"unasked")
    elif event == "end":
        await link.peer.aclose()
    elif event == "cut":
        await link.peer.transport.send_eof()
    else:
        link.peer.reset()
    await readable(link)
    assert not link.wire.is_quiet()


async def test_decrypted_bytes_that_nobody_read_are_not_quiet(
    server_tls: ssl.SSLContext, client_tls: ssl.SSLContext
) -> None:
    link = await tls_link(*await tcp_pair(), server_tls, client_tls, serving=True)
    await link.peer.send(b"one")
    await link.peer.send(b"two")
    assert await receive(link.wire) == b"one"
    assert not link.wire.is_quiet()
    link.wire.close()
    await trio.aclose_forcefully(link.peer.stream)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", "TLS: HTTP_REQUEST"),
        (b"\x00" * 64, "TLS: "),
        (b"\x16\x03\x01", "closed during the TLS handshake"),
        (b"", "closed during the TLS handshake"),
    ],
    ids=["http", "zeros", "truncated", "nothing"],
)
async def test_a_handshake_with_something_else_fails(
    data: bytes, reason: str, server_tls: ssl.SSLContext
) -> None:
    sock, stream = await tcp_pair()
    wire = TLSWire(SocketWire(sock), server_tls)
    async with stream:
        await stream.send_all(data)
        await stream.send_eof()
        with patience(), pytest.raises(WireError, match=reason):
            await wire.handshake()
    wire.close()


async def test_bytes_that_are_not_tls_end_an_established_connection(
    server_tls: ssl.SSLContext, client_tls: ssl.SSLContext
) -> None:
    link = await tls_link(*await tcp_pair(), server_tls, client_tls, serving=True)
    await link.peer.transport.send_all(b"\x00" * 64)
    with pytest.raises(WireError, match="TLS"):
        await receive(link.wire)
    link.wire.close()
    await trio.aclose_forcefully(link.peer.stream)


async def test_small_messages_are_not_held_back() -> None:
    sock, stream = await tcp_pair()
    wire = SocketWire(sock)
    assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
    assert not sock.getblocking()
    wire.close()
    await stream.aclose()
