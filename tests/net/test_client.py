"""The client against scripted servers: what it keeps, what it sends again, what it refuses."""

from __future__ import annotations

import ssl
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import trio
import trio.testing
import trustme

from tests.net.peers import Peer, head, listen, patience
from tokenomics.net.call import MAX_ANSWER_HEAD, MAX_INTERIM
from tokenomics.net.client import (
    Broken,
    Client,
    Patience,
    Unreachable,
)
from tokenomics.net.origin import Origin
from tokenomics.net.pool import PoolLimits
from tokenomics.net.proxies import Proxies
from tokenomics.net.wire import Wire

OK = head("HTTP/1.1 200 OK", "Content-Length: 2") + b"ok"
ANY_SIZE = 1 << 30


@dataclass
class Log:
    """What a scripted server saw: one list of targets for each connection."""

    connections: list[list[str]] = field(default_factory=list)


Step = Callable[[Peer], Awaitable[None]]


def says(data: bytes) -> Step:
    """A step that sends bytes."""

    async def step(peer: Peer) -> None:
        await peer.send(data)

    return step


async def half_closes(peer: Peer) -> None:
    await peer.send_eof()


async def resets(peer: Peer) -> None:
    peer.reset()
    raise trio.BrokenResourceError  # the script ends here


async def server(nursery: trio.Nursery, *steps: list[Step], log: Log | None = None) -> Origin:
    """A server whose nth connection does the nth list of steps, each after a request; then it
    closes. With more connections than lists the last list is done again."""
    log = log if log is not None else Log()

    async def script(peer: Peer) -> None:
        seen: list[str] = []
        log.connections.append(seen)
        for step in steps[min(len(log.connections), len(steps)) - 1]:
            request = await peer.request()
            if request is None:
                return
            seen.append(request[0].target.decode())
            await step(peer)

    return Origin("http", "127.0.0.1", await listen(nursery, script))


@pytest.fixture
def client() -> Iterator[Client]:
    """A client whose connections are closed at the end."""
    made = Client()
    yield made
    for link in made._pool.clear():  # outside of trio, so not with Client.close
        link.wire.sock.close()


async def fetch(client: Client, origin: Origin, target: str = "/", method: str = "GET") -> bytes:
    with patience(), await client.call(origin, method, target, []) as call:
        return await call.read_all(ANY_SIZE)


# One request.


async def test_a_request_arrives_as_it_was_meant(nursery: trio.Nursery, client: Client) -> None:
    got: list[object] = []

    async def script(peer: Peer) -> None:
        request = await peer.request()
        assert request is not None
        got.extend([request[0].method, request[0].target, dict(request[0].headers), request[1]])
        await peer.send(OK)

    port = await listen(nursery, script)
    origin = Origin("http", "127.0.0.1", port, "/base")
    with patience(), await client.call(origin, "POST", "/x?y", [(b"x-a", b"b")], b"body") as call:
        assert (call.answer.status, await call.read_all(2)) == (200, b"ok")
    host = f"127.0.0.1:{port}".encode()
    fields = {b"host": host, b"x-a": b"b", b"content-length": b"4"}
    assert got == [b"POST", b"/base/x?y", fields, b"body"]


@pytest.mark.parametrize(("method", "length"), [("GET", None), ("HEAD", None), ("POST", b"0")])
async def test_an_empty_body_has_a_length_where_one_is_expected(
    nursery: trio.Nursery, client: Client, method: str, length: bytes | None
) -> None:
    got: list[bytes | None] = []

    async def script(peer: Peer) -> None:
        request = await peer.request()
        assert request is not None
        got.append(dict(request[0].headers).get(b"content-length"))
        await peer.send(head("HTTP/1.1 204 No Content"))

    origin = Origin("http", "127.0.0.1", await listen(nursery, script))
    await fetch(client, origin, method=method)
    assert got == [length]


BODIES = {
    "length": (head("HTTP/1.1 200 OK", "Content-Length: 5") + b"hello", b"hello"),
    "length-0": (head("HTTP/1.1 200 OK", "Content-Length: 0"), b""),
    "chunked": (
        head("HTTP/1.1 200 OK", "Transfer-Encoding: chunked") + b"3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n",
        b"hello",
    ),
    "trailers": (
        head("HTTP/1.1 200 OK", "Transfer-Encoding: chunked") + b"5\r\nhello\r\n0\r\nA: b\r\n\r\n",
        b"hello",
    ),
    "until-close": (head("HTTP/1.1 200 OK") + b"hello", b"hello"),
    "until-close-http10": (head("HTTP/1.0 200 OK") + b"hello", b"hello"),
    "204": (head("HTTP/1.1 204 No Content"), b""),
    "after-100": (head("HTTP/1.1 100 Continue") + OK, b"ok"),
    "after-103": (head("HTTP/1.1 103 Early Hints", "Link: </a>") * 2 + OK, b"ok"),
    "error": (head("HTTP/1.1 500 Oh", "Content-Length: 2") + b"no", b"no"),
}


@pytest.mark.parametrize("bytewise", [False, True], ids=["whole", "bytes"])
@pytest.mark.parametrize(("wire", "body"), BODIES.values(), ids=BODIES.keys())
async def test_a_whole_answer_is_read(
    nursery: trio.Nursery, client: Client, wire: bytes, body: bytes, bytewise: bool
) -> None:
    async def step(peer: Peer) -> None:
        for piece in [wire[i : i + 1] for i in range(len(wire))] if bytewise else [wire]:
            await peer.send(piece)

    assert await fetch(client, await server(nursery, [step])) == body


async def test_a_large_answer_comes_in_parts(nursery: trio.Nursery, client: Client) -> None:
    body = bytes(range(256)) * 8192
    wire = head("HTTP/1.1 200 OK", f"Content-Length: {len(body)}") + body
    origin = await server(nursery, [says(wire)])
    with patience(), await client.call(origin, "GET", "/", []) as call:
        parts = []
        while part := await call.receive():
            parts.append(part)
        assert await call.receive() == b""  # the end stays the end
    assert len(parts) > 1
    assert b"".join(parts) == body


async def test_head_has_no_body(nursery: trio.Nursery, client: Client) -> None:
    log = Log()
    says_head = says(head("HTTP/1.1 200 OK", "Content-Length: 5"))
    origin = await server(nursery, [says_head, says(OK)], log=log)
    assert await fetch(client, origin, "/1", "HEAD") == b""
    assert await fetch(client, origin, "/2") == b"ok"
    assert log.connections == [["/1", "/2"]]


# Answers that are not whole, or not HTTP.

CHUNKED = head("HTTP/1.1 200 OK", "Transfer-Encoding: chunked")
# id: (bytes before the close, whether an answer had begun)
BROKEN = {
    "nothing": (b"", False),
    "part-of-a-status-line": (b"HTTP/1.1 2", True),
    "part-of-a-head": (b"HTTP/1.1 200 OK\r\nContent-", True),
    "only-an-interim-answer": (head("HTTP/1.1 100 Continue"), True),
    "part-of-a-length": (head("HTTP/1.1 200 OK", "Content-Length: 5") + b"hell", True),
    "no-chunk": (CHUNKED, True),
    "part-of-a-chunk": (CHUNKED + b"5\r\nhel", True),
    "no-last-chunk": (CHUNKED + b"5\r\nhello\r\n", True),
    "part-of-the-last-chunk": (CHUNKED + b"5\r\nhello\r\n0\r\n", True),
    "part-of-a-trailer": (CHUNKED + b"0\r\nA: b\r\n", True),
    "bad-chunk": (CHUNKED + b"xyz\r\n", True),
    "not-http": (b"SSH-2.0-OpenSSH\r\n\r\n", True),
    "http-2": (head("HTTP/2 200 OK"), True),
    "http-0.9": (b"<html>hello</html>", True),
    "bad-field": (head("HTTP/1.1 200 OK", "a b: c"), True),
    "two-lengths": (
        head("HTTP/1.1 200 OK", "Content-Length: 2", "Content-Length: 3") + b"ok",
        True,
    ),
    "too-many-interim": (head("HTTP/1.1 100 Continue") * (MAX_INTERIM + 1) + OK, True),
    "endless-head": (b"HTTP/1.1 200 OK\r\nA: " + b"b" * (MAX_ANSWER_HEAD + 1), True),
}


@pytest.mark.parametrize(("wire", "began"), BROKEN.values(), ids=BROKEN.keys())
async def test_an_answer_that_is_not_whole_is_broken(
    nursery: trio.Nursery, client: Client, wire: bytes, began: bool
) -> None:
    log = Log()
    origin = await server(nursery, [says(wire)], log=log)
    with pytest.raises(Broken) as caught:
        await fetch(client, origin)
    assert caught.value.began == began
    assert log.connections == [["/"]]  # a fresh connection's failure is not tried again
    assert client._pool.clear() == []  # and it is not kept


async def test_a_reset_is_broken(nursery: trio.Nursery, client: Client) -> None:
    with pytest.raises(Broken) as caught:
        await fetch(client, await server(nursery, [resets]))
    assert not caught.value.began


@pytest.mark.parametrize(
    "wire", [BODIES["length"][0], BODIES["chunked"][0]], ids=["length", "chunk"]
)
@pytest.mark.parametrize(("limit", "whole"), [(5, True), (4, False)], ids=["at", "over"])
async def test_an_answer_over_the_callers_limit_is_broken(
    nursery: trio.Nursery, client: Client, wire: bytes, limit: int, whole: bool
) -> None:
    origin = await server(nursery, [says(wire)])
    with patience(), await client.call(origin, "GET", "/", []) as call:
        if whole:
            assert await call.read_all(limit) == b"hello"
        else:
            with pytest.raises(Broken, match="longer than 4 bytes"):
                await call.read_all(limit)


async def test_a_request_that_cannot_be_sent_is_broken(
    nursery: trio.Nursery, client: Client
) -> None:
    async def script(peer: Peer) -> None:
        await peer.more()
        peer.reset()

    origin = Origin("http", "127.0.0.1", await listen(nursery, script))
    with patience(), pytest.raises(Broken) as caught:
        await client.call(origin, "POST", "/", [], bytes(16 << 20))
    assert not caught.value.began
    assert client._pool.clear() == []


# Kept connections.


@pytest.mark.parametrize(
    "wire", [OK, BODIES["chunked"][0], BODIES["trailers"][0], BODIES["204"][0]]
)
async def test_a_connection_is_used_again(
    nursery: trio.Nursery, client: Client, wire: bytes
) -> None:
    log = Log()
    origin = await server(nursery, [says(wire)] * 3, log=log)
    for target in ("/1", "/2", "/3"):
        await fetch(client, origin, target)
    assert log.connections == [["/1", "/2", "/3"]]


NOT_KEPT = {
    "close": head("HTTP/1.1 200 OK", "Content-Length: 2", "Connection: close") + b"ok",
    "http10": head("HTTP/1.0 200 OK", "Content-Length: 2") + b"ok",
    "bytes-after-the-answer": OK + b"HTTP/1.1 200 OK\r\n\r\n",
}


@pytest.mark.parametrize("wire", NOT_KEPT.values(), ids=NOT_KEPT.keys())
async def test_a_connection_is_not_used_again(
    nursery: trio.Nursery, client: Client, wire: bytes
) -> None:
    log = Log()
    origin = await server(nursery, [says(wire)] * 2, log=log)
    for target in ("/1", "/2"):
        assert await fetch(client, origin, target) == b"ok"
    assert log.connections == [["/1"], ["/2"]]


async def test_a_connection_whose_answer_was_not_read_is_not_used_again(
    nursery: trio.Nursery, client: Client
) -> None:
    log = Log()
    origin = await server(nursery, [says(OK)] * 2, log=log)
    with patience(), await client.call(origin, "GET", "/1", []):
        pass
    assert await fetch(client, origin, "/2") == b"ok"
    assert log.connections == [["/1"], ["/2"]]


async def test_a_cancelled_call_closes_its_connection(
    nursery: trio.Nursery, client: Client
) -> None:
    closed = trio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        assert not await peer.more()
        closed.set()

    origin = Origin("http", "127.0.0.1", await listen(nursery, script))
    with trio.move_on_after(0.02):
        await client.call(origin, "GET", "/", [])
    with patience():
        await closed.wait()
    assert client._pool.clear() == []


async def test_calls_at_the_same_time_have_connections_of_their_own(
    nursery: trio.Nursery, client: Client
) -> None:
    log = Log()
    origin = await server(nursery, [says(OK)] * 2, log=log)
    with patience(), await client.call(origin, "GET", "/1", []) as first:
        assert await fetch(client, origin, "/2") == b"ok"
        assert await first.read_all(2) == b"ok"
    assert log.connections == [["/1"], ["/2"]]


async def test_a_kept_connection_that_the_peer_closed_is_not_written_to(
    nursery: trio.Nursery, client: Client
) -> None:
    """The server half-closes and reads on: it must see the end, not a request."""
    log = Log()
    seen: list[bool] = []

    async def closes(peer: Peer) -> None:
        await peer.send(OK)
        await peer.send_eof()
        seen.append(await peer.more())

    origin = await server(nursery, [closes], [says(OK)], log=log)
    assert await fetch(client, origin, "/1") == b"ok"
    [link] = client._pool.clear()
    with patience():
        await trio.lowlevel.wait_readable(link.wire.sock)  # the end has come
    client.give_back(link, reusable=True)
    assert await fetch(client, origin, "/2") == b"ok"
    with patience():
        while not seen:
            await trio.lowlevel.checkpoint()
    assert (seen, log.connections) == ([False], [["/1"], ["/2"]])


@pytest.mark.parametrize("step", [says(b""), resets], ids=["close", "reset"])
async def test_a_request_on_a_kept_connection_that_breaks_at_once_is_sent_again(
    nursery: trio.Nursery, client: Client, step: Step
) -> None:
    log = Log()
    origin = await server(nursery, [says(OK), step], [says(OK)], log=log)
    assert await fetch(client, origin, "/1") == b"ok"
    assert await fetch(client, origin, "/2", "POST") == b"ok"
    assert log.connections == [["/1", "/2"], ["/2"]]


@pytest.mark.parametrize(
    "wire",
    [b"H", b"HTTP/1.1 200 OK\r\n", head("HTTP/1.1 100 Continue"), b"garbage\r\n\r\n"],
    ids=["one-byte", "part-of-a-head", "interim", "garbage"],
)
async def test_no_request_is_sent_again_after_the_first_byte_of_an_answer(
    nursery: trio.Nursery, client: Client, wire: bytes
) -> None:
    log = Log()
    origin = await server(nursery, [says(OK), says(wire)], [says(OK)], log=log)
    assert await fetch(client, origin, "/1") == b"ok"
    with pytest.raises(Broken) as caught:
        await fetch(client, origin, "/2")
    assert caught.value.began
    assert log.connections == [["/1", "/2"]]


async def test_a_request_is_sent_again_once_only_on_a_fresh_connection(
    nursery: trio.Nursery, client: Client
) -> None:
    log = Log()
    origin = await server(nursery, [says(OK), says(b"")], [says(b"")], log=log)
    assert await fetch(client, origin, "/1") == b"ok"
    with pytest.raises(Broken) as caught:
        await fetch(client, origin, "/2")
    assert not caught.value.began
    assert log.connections == [["/1", "/2"], ["/2"]]


async def test_close_closes_the_kept_connections(nursery: trio.Nursery) -> None:
    closed = trio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(OK)
        assert await peer.request() is None
        closed.set()

    client = Client()
    await fetch(client, Origin("http", "127.0.0.1", await listen(nursery, script)))
    client.close()
    with patience():
        await closed.wait()


# Bounds and renewal.


def parked(client: Client) -> int:
    """How many calls wait for a connection to come free."""
    return sum(len(waiting) for waiting in client._waiting.values())


@pytest.mark.parametrize("kept", [True, False], ids=["kept", "closed"])
async def test_a_call_beyond_the_bound_waits_for_a_connection_to_come_free(
    nursery: trio.Nursery, kept: bool
) -> None:
    log = Log()
    origin = await server(nursery, [says(OK)] * 2, log=log)
    client = Client(limits=PoolLimits(max_open=1))
    got: list[bytes] = []

    async def wait() -> None:
        got.append(await fetch(client, origin, "/2"))

    with patience():
        async with trio.open_nursery() as calls:
            with await client.call(origin, "GET", "/1", []) as first:
                calls.start_soon(wait)
                await trio.testing.wait_all_tasks_blocked()
                assert (parked(client), got) == (1, [])
                if kept:
                    await first.read_all(2)
    assert got == [b"ok"]
    assert log.connections == ([["/1", "/2"]] if kept else [["/1"], ["/2"]])
    assert client._waiting == {}
    client.close()


async def test_no_free_connection_in_time_is_unreachable_and_says_the_bound(
    nursery: trio.Nursery,
) -> None:
    origin = await server(nursery, [says(OK)])
    client = Client(limits=PoolLimits(max_open=1))
    with patience(), await client.call(origin, "GET", "/1", []), pytest.raises(Unreachable) as got:
        await client.call(origin, "GET", "/2", [], patience=Patience(connect=0.02))
    assert "all 1 connections are in use" in str(got.value)
    client.close()


async def test_a_free_connection_is_for_those_who_wait_for_its_origin(
    nursery: trio.Nursery,
) -> None:
    """Whoever waits for another origin has no use for it, and must not keep it from them."""
    one, two = await server(nursery, [says(OK)] * 2), await server(nursery, [says(OK)] * 2)
    client = Client(limits=PoolLimits(max_open=1))
    done: list[str] = []

    async def wait(origin: Origin, name: str) -> None:
        await fetch(client, origin)
        done.append(name)

    with patience():
        async with trio.open_nursery() as calls:
            with await client.call(two, "GET", "/", []) as second:
                with await client.call(one, "GET", "/", []) as first:
                    for origin, name in ((two, "two"), (one, "one")):
                        calls.start_soon(wait, origin, name)
                        await trio.testing.wait_all_tasks_blocked()
                    await first.read_all(2)
                while not done:
                    await trio.testing.wait_all_tasks_blocked()
                assert done == ["one"]
                await second.read_all(2)
    assert done == ["one", "two"]
    client.close()


async def test_a_call_that_is_cancelled_while_it_waits_keeps_nothing(
    nursery: trio.Nursery,
) -> None:
    origin = await server(nursery, [says(OK)] * 2)
    client = Client(limits=PoolLimits(max_open=1))
    with patience(), await client.call(origin, "GET", "/", []) as call:
        with trio.move_on_after(0.02):
            await client.call(origin, "GET", "/", [])
        assert parked(client) == 0
        await call.read_all(2)
    assert await fetch(client, origin) == b"ok"
    client.close()


async def test_after_a_refresh_connections_are_made_anew(nursery: trio.Nursery) -> None:
    """Those in use go on to the end of their call, and are not kept then."""
    log = Log()
    origin = await server(nursery, [says(OK)] * 2, log=log)
    client = Client()
    with patience(), await client.call(origin, "GET", "/1", []) as call:
        client.refresh(Proxies(), PoolLimits())
        assert await call.read_all(2) == b"ok"
    await fetch(client, origin, "/2")
    client.refresh(Proxies(), PoolLimits())
    await fetch(client, origin, "/3")
    assert log.connections == [["/1"], ["/2"], ["/3"]]
    client.close()


async def test_a_refresh_with_a_higher_bound_lets_calls_go_on(nursery: trio.Nursery) -> None:
    origin = await server(nursery, [says(OK)])
    client = Client(limits=PoolLimits(max_open=1))

    async def wait() -> None:
        assert await fetch(client, origin) == b"ok"

    with patience(), await client.call(origin, "GET", "/1", []):
        async with trio.open_nursery() as calls:
            calls.start_soon(wait)
            await trio.testing.wait_all_tasks_blocked()
            client.refresh(Proxies(), PoolLimits(max_open=2))
    client.close()


# Connections that are not made.


async def refused_port() -> int:
    """A port where nobody listens."""
    [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port: int = listener.socket.getsockname()[1]
    await listener.aclose()
    return port


async def test_a_refused_connection_is_unreachable_and_says_why(client: Client) -> None:
    port = await refused_port()
    with pytest.raises(Unreachable) as caught:
        await fetch(client, Origin("http", "127.0.0.1", port))
    assert str(caught.value) == f"127.0.0.1:{port}: Connection refused"


async def test_a_refused_connection_of_several_addresses_says_why(client: Client) -> None:
    port = await refused_port()
    with pytest.raises(Unreachable) as caught:
        await fetch(client, Origin("http", "localhost", port))
    assert str(caught.value) == f"localhost:{port}: Connection refused"


async def test_a_name_that_does_not_exist_is_unreachable(client: Client) -> None:
    with pytest.raises(Unreachable, match=r"^no-such-host\.invalid: "):
        await fetch(client, Origin("http", "no-such-host.invalid", 80))


async def test_an_own_dialer_serves_its_scheme(nursery: trio.Nursery) -> None:
    dialled: list[Origin] = []

    async def dial(origin: Origin) -> Wire:
        dialled.append(origin)
        raise Unreachable("not today")

    client = Client({"echo": dial})
    origin = Origin("echo", "echo", 0)
    with pytest.raises(Unreachable, match="not today"):
        await client.call(origin, "GET", "/", [])
    assert dialled == [origin]


# TLS.


async def tls_origin(nursery: trio.Nursery, context: ssl.SSLContext, **extra: object) -> Origin:
    async def script(peer: Peer) -> None:
        while await peer.request() is not None:
            await peer.send(OK)

    port = await listen(nursery, script, context)
    return Origin("https", "127.0.0.1", port, **extra)  # type: ignore[arg-type]


async def test_a_ca_file_makes_a_certificate_good(
    nursery: trio.Nursery, client: Client, server_tls: ssl.SSLContext, ca_file: Path
) -> None:
    origin = await tls_origin(nursery, server_tls, ca_file=str(ca_file))
    for _ in range(2):
        assert await fetch(client, origin) == b"ok"
    assert len(client._pool._idle[origin.key]) == 1  # the connection was kept


async def test_an_unknown_ca_is_unreachable_and_says_why(
    nursery: trio.Nursery, client: Client, server_tls: ssl.SSLContext
) -> None:
    origin = await tls_origin(nursery, server_tls)
    with pytest.raises(Unreachable, match="CERTIFICATE_VERIFY_FAILED"):
        await fetch(client, origin)


async def test_insecure_takes_any_certificate(
    nursery: trio.Nursery, client: Client, server_tls: ssl.SSLContext
) -> None:
    assert await fetch(client, await tls_origin(nursery, server_tls, insecure=True)) == b"ok"


async def test_a_certificate_of_another_name_is_unreachable(
    nursery: trio.Nursery, client: Client, authority: trustme.CA, ca_file: Path
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("other.example").configure_cert(context)
    origin = await tls_origin(nursery, context, ca_file=str(ca_file))
    with pytest.raises(Unreachable, match="CERTIFICATE_VERIFY_FAILED"):
        await fetch(client, origin)


async def test_a_server_that_does_not_speak_tls_is_unreachable(
    nursery: trio.Nursery, client: Client
) -> None:
    async def script(peer: Peer) -> None:
        assert await peer.more()
        await peer.send(head("HTTP/1.1 400 Bad Request"))

    origin = Origin("https", "127.0.0.1", await listen(nursery, script))
    with pytest.raises(Unreachable, match="TLS: "):
        await fetch(client, origin)


async def test_a_cancelled_handshake_closes_its_connection(
    nursery: trio.Nursery, client: Client
) -> None:
    closed = trio.Event()

    async def script(peer: Peer) -> None:
        while await peer.more():
            pass
        closed.set()

    port = await listen(nursery, script)
    with trio.move_on_after(0.05):
        await client.call(Origin("https", "127.0.0.1", port), "GET", "/", [])
    with patience():
        await closed.wait()


@pytest.mark.parametrize("content", [None, "not a certificate"], ids=["missing", "garbage"])
async def test_a_ca_file_that_cannot_be_used_is_unreachable_and_named(
    nursery: trio.Nursery,
    client: Client,
    server_tls: ssl.SSLContext,
    tmp_path: Path,
    content: str | None,
) -> None:
    path = tmp_path / "ca.crt"
    if content is not None:
        path.write_text(content)
    origin = await tls_origin(nursery, server_tls, ca_file=str(path))
    with pytest.raises(Unreachable, match=str(path)):
        await fetch(client, origin)


async def test_a_truncated_tls_answer_is_broken(
    nursery: trio.Nursery, client: Client, server_tls: ssl.SSLContext
) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(head("HTTP/1.1 200 OK", "Content-Length: 5") + b"hell")

    port = await listen(nursery, script, server_tls)
    with pytest.raises(Broken) as caught:
        await fetch(client, Origin("https", "127.0.0.1", port, insecure=True))
    assert caught.value.began


async def test_secure_and_insecure_connections_are_not_mixed(
    nursery: trio.Nursery, client: Client, server_tls: ssl.SSLContext
) -> None:
    origin = await tls_origin(nursery, server_tls, insecure=True)
    assert await fetch(client, origin) == b"ok"
    with pytest.raises(Unreachable):
        await fetch(client, Origin(origin.scheme, origin.host, origin.port))


async def test_a_request_that_kills_connections_is_sent_twice_at_most(
    nursery: trio.Nursery, client: Client
) -> None:
    """However many are kept: the second time is on a fresh one."""
    poisoned: list[str] = []

    async def script(peer: Peer) -> None:
        while (request := await peer.request()) is not None:
            if request[0].target == b"/poison":
                poisoned.append("dead")
                return
            await peer.send(OK)

    origin = Origin("http", "127.0.0.1", await listen(nursery, script))
    with patience():
        calls = [await client.call(origin, "GET", "/kept", []) for _ in range(5)]
        for call in calls:
            with call:
                await call.read_all(2)
        with pytest.raises(Broken):
            await client.call(origin, "POST", "/poison", [])
    assert len(poisoned) == 2
