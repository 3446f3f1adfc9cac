"""A comment while a provider is silent in its stream. On a mock clock."""

from __future__ import annotations

import contextlib
import gzip
import json
from pathlib import Path
from typing import Any

import h11
import pytest
import trio
from trio.testing import MockClock

from tests.support.clocks import hurried
from tests.support.http import until
from tests.support.node import HELLO, Proxy, proxy
from tests.support.upstream import DONE, SSE, chunk, provider, streams, usage_chunk
from tokenomics.gateway.relay import HEARTBEAT, HEARTBEAT_SECONDS
from tokenomics.net.connection import Reply, Request

STREAM = {**HELLO, "stream": True}
MASKED = [{"type": "keyword", "keywords": ["secret"], "action": "mask", "scope": "output"}]


@pytest.fixture
def clock() -> MockClock:
    """Waits pass where `hurried` says so."""
    return MockClock()


def patient(**more: Any) -> dict[str, Any]:
    return {"base_key_env": "OPENAI_API_KEY", "timeout": 100, **more}


def pausing(*parts: bytes, seconds: float, coding: str = "") -> Any:
    """A stream that is silent for so long before each part but the first."""

    async def step(_request: Request, reply: Reply) -> None:
        headers = [*SSE, (b"content-encoding", coding.encode())] if coding else SSE
        await reply.start(200, headers)
        for i, part in enumerate(parts):
            await trio.sleep(seconds if i else 0)
            await reply.write(part)
        await reply.end()

    return step


async def stream(gateway: Proxy) -> bytes:
    """The whole stream, without a bound on the silence in it, which the other readers have."""
    body = b""
    async with gateway.posting(STREAM) as call:
        with contextlib.suppress(h11.RemoteProtocolError):  # it ended in the middle
            while not isinstance(event := await call._event(), h11.EndOfMessage):
                body += bytes(getattr(event, "data", b""))
    return body


async def test_a_silent_stream_beats_between_events(tmp_path: Path, clock: MockClock) -> None:
    script = pausing(chunk("a"), chunk("b"), usage_chunk() + DONE, seconds=2.5 * HEARTBEAT_SECONDS)
    async with (
        hurried(clock),
        provider(script) as upstream,
        proxy(tmp_path, upstream, patient()) as gateway,
    ):
        begun = trio.current_time()
        body = await stream(gateway)
        took = trio.current_time() - begun
        row = await gateway.row()
    assert body == chunk("a") + 2 * HEARTBEAT + chunk("b") + 2 * HEARTBEAT + DONE
    assert 5 * HEARTBEAT_SECONDS <= took < 5 * HEARTBEAT_SECONDS + 2
    assert (row["output_tokens"], row.get("code")) == (3, None)


async def test_a_stream_that_talks_is_left_as_it_is(tmp_path: Path, clock: MockClock) -> None:
    parts = [chunk(str(i)) for i in range(5)]
    script = pausing(*parts, DONE, seconds=HEARTBEAT_SECONDS - 1)
    async with (
        hurried(clock),
        provider(script) as upstream,
        proxy(tmp_path, upstream, patient()) as gateway,
    ):
        assert await stream(gateway) == b"".join([*parts, DONE])


async def test_it_beats_before_the_first_event_but_not_before_the_head(
    tmp_path: Path, clock: MockClock
) -> None:
    async def step(_request: Request, reply: Reply) -> None:
        await trio.sleep(2.5 * HEARTBEAT_SECONDS)
        await reply.start(200, SSE)
        await trio.sleep(1.5 * HEARTBEAT_SECONDS)
        await reply.write(chunk("a") + DONE)
        await reply.end()

    async with (
        hurried(clock),
        provider(step) as upstream,
        proxy(tmp_path, upstream, patient()) as gateway,
    ):
        async with gateway.posting(STREAM) as call:
            event = await call._event()
            assert event.status_code == 200
            call.answer.body += bytes((await call._event()).data)
            body = call.answer.body
            await call.until(b"[DONE]")
        assert body == HEARTBEAT
        assert call.answer.body == HEARTBEAT + chunk("a") + DONE


async def test_half_an_event_stays_behind_the_beats(tmp_path: Path, clock: MockClock) -> None:
    event = chunk("whole")
    script = pausing(event[:20], event[20:] + DONE, seconds=1.5 * HEARTBEAT_SECONDS)
    async with (
        hurried(clock),
        provider(script) as upstream,
        proxy(tmp_path, upstream, patient()) as gateway,
    ):
        assert await stream(gateway) == HEARTBEAT + event + DONE


async def test_half_an_encoded_event_stays_behind_too(tmp_path: Path, clock: MockClock) -> None:
    event = chunk("whole")
    raw = gzip.compress(event + DONE)
    script = pausing(raw[:30], raw[30:], seconds=1.5 * HEARTBEAT_SECONDS, coding="gzip")
    async with (
        hurried(clock),
        provider(script) as upstream,
        proxy(tmp_path, upstream, patient()) as gateway,
    ):
        assert await stream(gateway) == HEARTBEAT + event + DONE


async def test_a_screened_stream_beats_and_holds_back_what_it_must(
    tmp_path: Path, clock: MockClock
) -> None:
    parts = [chunk("a sec"), chunk("ret b"), chunk(None, "stop") + DONE]
    script = pausing(*parts, seconds=1.5 * HEARTBEAT_SECONDS)
    policy = patient(rules=MASKED)
    async with (
        hurried(clock),
        provider(script) as upstream,
        proxy(tmp_path, upstream, policy) as gateway,
    ):
        body = await stream(gateway)
    assert body.count(HEARTBEAT) == 2
    assert b"secret" not in body
    events = [line for line in body.split(b"\n\n") if line.startswith(b"data: {")]
    texts = [json.loads(line[6:])["choices"][0]["delta"].get("content", "") for line in events]
    assert "".join(texts) == "a [REDACTED] b"


@pytest.mark.parametrize("timeout", [HEARTBEAT_SECONDS - 1, 2.5 * HEARTBEAT_SECONDS])
async def test_beats_do_not_move_the_bound_on_silence(
    tmp_path: Path, clock: MockClock, timeout: float
) -> None:
    script = streams(chunk("a"), DONE, wait=trio.Event(), after=1)
    policy = patient(timeout=timeout)
    async with (
        hurried(clock),
        provider(script) as upstream,
        proxy(tmp_path, upstream, policy) as gateway,
    ):
        begun = trio.current_time()
        body = await stream(gateway)
        took = trio.current_time() - begun
    assert timeout <= took < timeout + 2
    assert body.count(HEARTBEAT) == int(timeout // HEARTBEAT_SECONDS)
    assert b"upstream_timeout" in body


async def test_a_silent_stream_ends_with_its_client(tmp_path: Path, clock: MockClock) -> None:
    script = streams(chunk("a"), DONE, wait=trio.Event(), after=1)
    async with (
        hurried(clock),
        provider(script) as upstream,
        proxy(tmp_path, upstream, patient()) as gateway,
    ):
        async with gateway.posting(STREAM) as call:
            await call.head()
            await call.until(b"\n\n")
        await until(lambda: not upstream.running, "the end of the call", 60)
        row = await gateway.row()
        assert upstream.cancelled == 1
    assert (row["status"], row["code"]) == (200, "client_closed")


async def test_a_whole_answer_has_no_beats(tmp_path: Path, clock: MockClock) -> None:
    async def step(_request: Request, reply: Reply) -> None:
        await reply.start(200, [(b"content-type", b"application/json")])
        await trio.sleep(2.5 * HEARTBEAT_SECONDS)
        await reply.write(b'{"choices": []}')
        await reply.end()

    async with (
        hurried(clock),
        provider(step) as upstream,
        proxy(tmp_path, upstream, patient()) as gateway,
        gateway.posting() as call,
    ):
        event = await call._event()
        assert event.status_code == 200
        assert (await call.rest()).body == b'{"choices": []}'
