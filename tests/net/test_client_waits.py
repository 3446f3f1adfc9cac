"""How long the client waits, for what, and what ends a wait sooner."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace

import pytest
import trio

from tests.net.peers import Peer, head, listen, patience
from tokenomics.net.client import Broken, Call, Client, Patience, TimedOut, Unreachable
from tokenomics.net.origin import Origin
from tokenomics.net.pool import PoolLimits
from tokenomics.net.watch import TICK_SECONDS

OK = head("HTTP/1.1 200 OK", "Content-Length: 2") + b"ok"
BIG = b"x" * (16 << 20)  # more than the sockets of both sides take at once
SHORT = 0.05
# What is not under test waits for ever; a test that hangs fails by `patience`.
EVER = Patience(math.inf, math.inf, math.inf, math.inf, math.inf)

Script = Callable[[Peer], Awaitable[None]]


async def read_head(peer: Peer) -> None:
    """Read a request's head, and none of its body but what came with it."""
    await peer.until(b"\r\n\r\n")


@pytest.fixture
async def client(nursery: trio.Nursery) -> AsyncIterator[Client]:
    """A client whose waits are watched."""
    made = Client()
    nursery.start_soon(made.run)
    yield made
    made.close()


async def call(
    nursery: trio.Nursery, client: Client, script: Script, wait: Patience = EVER, body: bytes = b""
) -> Call:
    """Call a server that does what `script` says."""
    origin = Origin("http", "127.0.0.1", await listen(nursery, script))
    with patience():
        return await client.call(origin, "POST", "/", [], body, wait)


# Waits that end.


async def test_a_server_that_does_not_answer(nursery: trio.Nursery, client: Client) -> None:
    async def silent(peer: Peer) -> None:
        await read_head(peer)
        await trio.sleep_forever()

    begun = trio.current_time()
    with pytest.raises(TimedOut, match="no answer came in time") as caught:
        await call(nursery, client, silent, replace(EVER, first_byte=SHORT))
    assert not caught.value.began
    assert SHORT <= trio.current_time() - begun < SHORT + 2.0  # far below any default


async def test_a_server_whose_head_does_not_end(nursery: trio.Nursery, client: Client) -> None:
    """Bytes of a head do not extend the wait for its end."""

    async def drips(peer: Peer) -> None:
        await read_head(peer)
        await peer.send(b"HTTP/1.1 200 OK\r\n")
        while True:
            await peer.send(b"x: y\r\n")
            await trio.sleep(SHORT / 5)

    with pytest.raises(TimedOut) as caught:
        await call(nursery, client, drips, replace(EVER, first_byte=SHORT))
    assert caught.value.began


async def test_interim_answers_do_not_extend_the_wait(
    nursery: trio.Nursery, client: Client
) -> None:
    async def processing(peer: Peer) -> None:
        await read_head(peer)
        await peer.send(head("HTTP/1.1 102 Processing"))
        await trio.sleep_forever()

    with pytest.raises(TimedOut):
        await call(nursery, client, processing, replace(EVER, first_byte=SHORT))


async def test_an_answer_may_be_due_by_a_time(nursery: trio.Nursery, client: Client) -> None:
    async def silent(peer: Peer) -> None:
        await trio.sleep_forever()

    origin = Origin("http", "127.0.0.1", await listen(nursery, silent))
    request = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
    with patience(), pytest.raises(TimedOut):
        await client.exchange(origin, "GET", request, b"", EVER, trio.current_time() + SHORT)
    with patience(), pytest.raises(TimedOut, match="no time is left"):
        await client.exchange(origin, "GET", request, b"", EVER, trio.current_time())


async def test_a_body_that_falls_silent(nursery: trio.Nursery, client: Client) -> None:
    async def stops(peer: Peer) -> None:
        await read_head(peer)
        await peer.send(head("HTTP/1.1 200 OK", "Content-Length: 5") + b"ab")
        await trio.sleep_forever()

    with await call(nursery, client, stops, replace(EVER, silence=SHORT)) as answer:
        assert await answer.receive() == b"ab"
        with patience(), pytest.raises(TimedOut, match=r"silent for 0\.05 s"):
            await answer.receive()


async def test_a_body_that_keeps_talking_is_not_cut_but_by_the_total(
    nursery: trio.Nursery, client: Client
) -> None:
    async def talks(peer: Peer) -> None:
        await read_head(peer)
        await peer.send(head("HTTP/1.1 200 OK"))
        while True:
            await peer.send(b"a")
            await trio.sleep(SHORT / 5)

    begun = trio.current_time()
    wait = replace(EVER, silence=4 * TICK_SECONDS, total=8 * TICK_SECONDS)
    with await call(nursery, client, talks, wait) as answer, patience(), pytest.raises(TimedOut):
        await answer.read_all(1 << 20)
    assert trio.current_time() - begun >= 8 * TICK_SECONDS


async def test_a_server_that_reads_nothing(nursery: trio.Nursery, client: Client) -> None:
    async def deaf(_peer: Peer) -> None:
        await trio.sleep_forever()

    with pytest.raises(TimedOut, match="took no more"):
        await call(nursery, client, deaf, replace(EVER, write=SHORT), BIG)


async def test_a_server_that_reads_slowly_is_waited_for(
    nursery: trio.Nursery, client: Client
) -> None:
    async def slow(peer: Peer) -> None:
        await read_head(peer)
        left = len(BIG) - len(peer.unread)
        while left:
            left -= len(await peer.stream.receive_some(1 << 20))
            await trio.lowlevel.checkpoint()
        await peer.send(OK)

    with await call(nursery, client, slow, replace(EVER, write=5.0), BIG) as answer:
        assert await answer.read_all(10) == b"ok"


async def test_a_listener_that_does_not_accept_ends_by_the_handshake(
    nursery: trio.Nursery, client: Client
) -> None:
    async def mute(_peer: Peer) -> None:
        await trio.sleep_forever()

    origin = Origin("https", "127.0.0.1", await listen(nursery, mute))
    with patience(), pytest.raises(Unreachable, match=r"no TLS handshake within 0\.05 s"):
        await client.call(origin, "GET", "/", [], b"", replace(EVER, handshake=SHORT))


# Answers that come before the request is sent.


@pytest.mark.parametrize("closes", [True, False], ids=["closes", "stays"])
async def test_an_answer_before_the_whole_request_is_sent(
    nursery: trio.Nursery, client: Client, closes: bool
) -> None:
    async def refuses(peer: Peer) -> None:
        await read_head(peer)
        await peer.send(head("HTTP/1.1 413 Too Large", "Content-Length: 4") + b"stop")
        if closes:
            await peer.send_eof()
        await trio.sleep_forever()

    with await call(nursery, client, refuses, EVER, BIG) as answer:
        assert answer.answer.status == 413
        assert await answer.read_all(10) == b"stop"
    assert client._pool.clear() == [], "the connection has half a request on it"


async def test_interim_answers_do_not_end_the_sending(
    nursery: trio.Nursery, client: Client
) -> None:
    async def hints(peer: Peer) -> None:
        await read_head(peer)
        await peer.send(head("HTTP/1.1 103 Early Hints", "Link: <x>"))
        left = len(BIG) - len(peer.unread)
        while left:
            left -= len(await peer.stream.receive_some(1 << 20))
        await peer.send(OK)

    with await call(nursery, client, hints, EVER, BIG) as answer:
        assert await answer.read_all(10) == b"ok"
    (link,) = client._pool.clear()  # it can be used again
    link.wire.close()


async def test_a_reset_while_the_request_is_sent(nursery: trio.Nursery, client: Client) -> None:
    async def resets(peer: Peer) -> None:
        await read_head(peer)
        peer.reset()
        raise trio.BrokenResourceError

    with pytest.raises(Broken) as caught:
        await call(nursery, client, resets, EVER, BIG)
    assert not caught.value.began
    assert not isinstance(caught.value, TimedOut)


async def test_switching_protocols_unasked_is_broken(nursery: trio.Nursery, client: Client) -> None:
    async def upgrades(peer: Peer) -> None:
        await read_head(peer)
        await peer.send(head("HTTP/1.1 101 Switching Protocols", "Upgrade: x"))
        await trio.sleep_forever()

    with pytest.raises(Broken, match="switched protocols"):
        await call(nursery, client, upgrades)


# Connections that idle.


async def test_an_idle_connection_is_closed_in_time(nursery: trio.Nursery) -> None:
    ended = trio.Event()

    async def script(peer: Peer) -> None:
        await read_head(peer)
        await peer.send(OK)
        assert not await peer.more()
        ended.set()

    client = Client(limits=PoolLimits(idle=SHORT))
    nursery.start_soon(client.run)
    with await call(nursery, client, script) as answer:
        await answer.read_all(10)
    with patience():
        await ended.wait()
