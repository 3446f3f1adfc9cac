"""A client that hangs up, at every point of the road: nothing is left held, open or running."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import trio

from tests.support.http import PATIENCE, exchange, until
from tests.support.node import HELLO, POLICY, Proxy, proxy
from tests.support.upstream import (
    DONE,
    PROBE,
    SSE,
    Upstream,
    chunk,
    fails,
    hangs,
    provider,
    streams,
    usage_chunk,
)
from tokenomics.net.server import Server

STREAM = {**HELLO, "stream": True}
BUDGET = {**POLICY, "max_tokens": 1_000_000, "retry": {"max_retries": 2}, "timeout": 30}
# The contract's 100 ms, and what a busy machine of two cores needs to notice.
CANCEL_SECONDS = 1.0


async def left_nothing(gateway: Proxy, upstream: Upstream) -> None:
    """Wait until no request is under way, and check that none has left anything."""
    await gateway.idle()
    await until(lambda: not upstream.running, "the end of the calls", CANCEL_SECONDS)
    account = gateway.account()
    assert (account.parallel, account.held) == (0, {})
    assert not gateway.server.running
    assert upstream.server is not None
    assert_all_quiet(upstream.server)


def assert_all_quiet(server: Server) -> None:
    """What the proxy keeps open to a provider is between requests."""
    assert all(connection.idle for connection in server.connections)


async def test_a_call_is_cancelled_when_the_client_leaves_before_the_head(tmp_path: Path) -> None:
    async with provider(hangs) as upstream, proxy(tmp_path, upstream, BUDGET) as gateway:
        async with gateway.posting():
            await until(lambda: upstream.running, "the call")
        await until(lambda: upstream.cancelled == 1, "its cancellation", CANCEL_SECONDS)
        await left_nothing(gateway, upstream)
        row = await gateway.row()
        spent = gateway.account().settled["total"]
    assert (row["status"], row["code"]) == (499, "client_closed")
    assert 0 < spent < 50, "the provider has read the input"


async def test_a_stream_is_cancelled_and_charged_by_what_came(tmp_path: Path) -> None:
    script = streams(chunk("x" * 300), DONE, wait=trio.Event(), after=1)
    async with provider(script) as upstream, proxy(tmp_path, upstream, BUDGET) as gateway:
        async with gateway.posting(STREAM) as call:
            await call.head()
            await call.until(b"xxx")
            assert gateway.account().parallel == 1
        await until(lambda: upstream.cancelled == 1, "its cancellation", CANCEL_SECONDS)
        await left_nothing(gateway, upstream)
        row = await gateway.row()
        spent = gateway.account().settled["total"]
    assert row["code"] == "client_closed"
    assert (row["output_tokens"], row["estimated"]) == (100, True)
    assert spent == row["input_tokens"] + 100


async def test_a_client_that_half_closes_still_gets_its_answer(tmp_path: Path) -> None:
    wait = trio.Event()
    script = streams(chunk("one"), chunk("two"), DONE, wait=wait, after=1)
    async with provider(script) as upstream, proxy(tmp_path, upstream, BUDGET) as gateway:
        async with gateway.posting(STREAM) as call:
            await call.head()
            await call.until(b"one")
            assert isinstance(call.stream, trio.SocketStream)
            await call.stream.send_eof()
            await call.until(b":\n\n")  # the proxy has seen it, and looked whether we still read
            wait.set()
            answer = await call.rest()
        await left_nothing(gateway, upstream)
    assert (answer.whole, answer.events[-1]) == (True, "[DONE]")


async def test_a_backoff_ends_when_the_client_leaves(tmp_path: Path) -> None:
    script = fails(503, headers=[(b"retry-after", b"20")])
    async with provider(script) as upstream, proxy(tmp_path, upstream, BUDGET) as gateway:
        async with gateway.posting():
            await until(lambda: upstream.seen and not upstream.running, "the first try")
        await left_nothing(gateway, upstream)
    assert len(upstream.seen) == 1


@pytest.mark.parametrize("received", [1, 60, 130, 200, 280, 400, 700])
async def test_a_client_that_leaves_after_so_many_bytes_leaves_nothing(
    tmp_path: Path, received: int
) -> None:
    async def drips(_request: Any, reply: Any) -> None:
        await reply.start(200, SSE, probe=PROBE)
        for i in range(200):
            await reply.write(chunk(f"word{i} "))
            await trio.lowlevel.checkpoint()
        await reply.write(usage_chunk() + DONE)
        await reply.end()

    async with provider(drips) as upstream, proxy(tmp_path, upstream, BUDGET) as gateway:
        async with gateway.posting(STREAM) as call:
            with trio.fail_after(PATIENCE):
                for _ in range(received):
                    await call.stream.receive_some(1)
        await left_nothing(gateway, upstream)
        assert gateway.account().settled["total"] > 0


async def test_a_cancel_at_any_step_leaves_nothing(tmp_path: Path) -> None:
    """The client leaves after 0, 1, 2, ... turns of the event loop. Every await of the road takes
    a turn, so each is hit; the loop ends once a request gets through before its client leaves."""

    async def steps(_request: Any, reply: Any) -> None:
        for _ in range(2):
            await trio.lowlevel.checkpoint()
        await reply.start(200, SSE, probe=PROBE)
        for part in (chunk("one"), chunk("two"), usage_chunk() + DONE):
            await trio.lowlevel.checkpoint()
            await reply.write(part)
        await reply.end()

    through = 0
    async with provider(steps) as upstream, proxy(tmp_path, upstream, BUDGET) as gateway:
        for turns in range(400):
            rows = len(gateway.said.rows)
            async with gateway.posting(STREAM):
                for _ in range(turns):
                    await trio.lowlevel.checkpoint()
            for connection in list(gateway.server.connections):
                connection.scope.cancel()
            await left_nothing(gateway, upstream)
            done = gateway.said.rows[rows:]
            through += bool(done) and "code" not in done[0]
            if through > 5:
                break
        codes = {row.get("code") for row in gateway.said.rows}
        assert (await gateway.post(STREAM)).whole
    assert through > 5
    assert codes >= {None, "client_closed"}


@pytest.mark.parametrize("size", [0, 10, 40])
async def test_a_client_that_leaves_in_its_own_body_reaches_no_provider(
    tmp_path: Path, size: int
) -> None:
    async with provider() as upstream, proxy(tmp_path, upstream, BUDGET) as gateway:
        stream = await trio.open_tcp_stream("127.0.0.1", gateway.port)
        head = (
            "POST /v1/chat/completions HTTP/1.1\r\nhost: proxy\r\ncontent-length: 100\r\n"
            f"authorization: Bearer {gateway.token}\r\n\r\n"
        )
        await stream.send_all(head.encode() + b" " * size)
        await stream.aclose()
        row = await gateway.row()
        await left_nothing(gateway, upstream)
    assert row["code"] == "client_closed"
    assert upstream.seen == []


async def test_many_clients_that_leave_at_once_leave_nothing(tmp_path: Path) -> None:
    script = streams(chunk("one"), DONE, wait=trio.Event(), after=1)
    async with provider(script) as upstream, proxy(tmp_path, upstream, BUDGET) as gateway:
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                for _ in range(30):
                    nursery.start_soon(gateway.post, STREAM)
                await until(lambda: upstream.running == 30, "thirty streams")
                scope.cancel()
        await until(lambda: upstream.cancelled == 30, "their cancellation", CANCEL_SECONDS)
        await left_nothing(gateway, upstream)
        assert (await gateway.get("/health")).status == 200


async def test_a_proxy_that_ends_ends_its_calls(tmp_path: Path) -> None:
    async with provider(hangs) as upstream:
        async with proxy(tmp_path, upstream, BUDGET) as gateway, trio.open_nursery() as nursery:
            nursery.start_soon(_ask_in_vain, gateway)
            await until(lambda: upstream.running, "the call")
            await gateway.server.drain(0)
        await until(lambda: upstream.cancelled == 1, "its cancellation", CANCEL_SECONDS)


async def _ask_in_vain(gateway: Proxy) -> None:
    async with exchange(
        gateway.port,
        "POST",
        "/v1/chat/completions",
        [("authorization", f"Bearer {gateway.token}")],
        b'{"model":"gpt-4o","messages":[{"role":"user","content":"Hello"}]}',
    ) as call:
        assert await call.stream.receive_some(1) == b""


async def test_a_client_that_leaves_while_its_long_body_goes_up_is_charged_for_it(
    tmp_path: Path,
) -> None:
    """The provider reads nothing, so that sending waits."""

    async def deaf(stream: trio.SocketStream) -> None:
        await trio.sleep_forever()

    [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listener.socket.getsockname()[1]
    long = {**HELLO, "messages": [{"role": "user", "content": "word " * 2_000_000}]}
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, deaf, [listener])
        policy = {**BUDGET, "max_tokens": 100_000_000}
        async with proxy(tmp_path, f"http://127.0.0.1:{port}", policy) as gateway:
            async with gateway.posting(long):
                await until(lambda: gateway.account().parallel, "the call")
            row = await gateway.row()
            spent = gateway.account().settled["total"]
        nursery.cancel_scope.cancel()
    assert (row["status"], row["code"]) == (499, "client_closed")
    assert spent > 1_000_000


async def test_a_half_closed_client_gets_the_answers_to_all_it_has_sent(tmp_path: Path) -> None:
    async with provider() as upstream, proxy(tmp_path, upstream) as gateway:
        body = json.dumps(HELLO).encode()
        head = (
            f"POST /v1/chat/completions HTTP/1.1\r\nHost: t\r\nContent-Length: {len(body)}\r\n"
            f"Authorization: Bearer {gateway.token}\r\n\r\n"
        )
        stream = await trio.open_tcp_stream("127.0.0.1", gateway.port)
        async with stream:
            await stream.send_all((head.encode() + body) * 3)
            await stream.send_eof()
            said = b""
            while data := await stream.receive_some(65536):
                said += bytes(data)
    assert said.count(b"HTTP/1.1 200 ") == 3


async def test_a_body_of_very_many_values_is_refused_before_it_is_made(tmp_path: Path) -> None:
    many = {**HELLO, "metadata": [1] * 1_000_000}
    async with provider() as upstream, proxy(tmp_path, upstream) as gateway:
        answer = await gateway.post(many)
        assert not upstream.seen
    assert (answer.status, answer.code) == (400, "invalid_request")
