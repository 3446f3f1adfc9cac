"""Streams tell the truth: what passes, what is taken out, how a broken one ends."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from tests.support.http import until
from tests.support.node import HELLO, proxy
from tests.support.upstream import (
    DONE,
    PROBE,
    SSE,
    Step,
    breaks_off,
    chunk,
    event,
    provider,
    refuses_to_speak,
    streams,
    usage_chunk,
)
from tokenomics.net.connection import Reply, Request

STREAM = {**HELLO, "stream": True}
WITH_USAGE = {**STREAM, "stream_options": {"include_usage": True}}


@pytest.fixture
def clock() -> MockClock:
    """Waits pass at once, but only after sockets had a moment to speak."""
    return MockClock(autojump_threshold=0.002)


async def test_bytes_pass_as_they_came_but_for_the_usage_chunk(tmp_path: Path) -> None:
    before = b": a comment\n\n" + chunk("H\u00e9") + b"event: own\nid: 7\ndata: {}\n\n"
    after = chunk(None, "stop") + DONE
    script = streams(before, usage_chunk(), after)
    async with provider(script) as upstream, proxy(tmp_path, upstream) as gateway:
        plain = await gateway.post(STREAM)
        asked = await gateway.post(WITH_USAGE)
    assert plain.headers["content-type"] == "text/event-stream"
    assert plain.body == before + after
    assert asked.body == before + usage_chunk() + after
    assert plain.whole
    assert asked.whole


async def test_an_event_goes_out_when_it_comes(tmp_path: Path) -> None:
    wait = trio.Event()
    script = streams(chunk("one"), chunk("two"), DONE, wait=wait, after=1)
    async with (
        provider(script) as upstream,
        proxy(tmp_path, upstream) as gateway,
        gateway.posting(STREAM) as call,
    ):
        await call.head()
        await call.until(b"one")
        assert b"two" not in call.answer.body
        wait.set()
        assert (await call.rest()).events[-1] == "[DONE]"


async def test_usage_is_charged_and_logged(tmp_path: Path) -> None:
    policy = {"base_key_env": "OPENAI_API_KEY", "max_tokens": 100_000}
    script = streams(chunk("x" * 3000), chunk(None, "stop"), usage_chunk(40, 2), DONE)
    async with provider(script) as upstream, proxy(tmp_path, upstream, policy) as gateway:
        await gateway.post(STREAM)
        row = await gateway.row()
        account = gateway.account()
    assert (row["input_tokens"], row["output_tokens"], row.get("estimated")) == (40, 2, None)
    assert (account.settled, account.held, account.parallel) == ({"total": 42}, {}, 0)


async def test_a_stream_without_usage_is_charged_by_estimate(tmp_path: Path) -> None:
    policy = {"base_key_env": "OPENAI_API_KEY", "max_tokens": 100_000}
    script = streams(chunk("x" * 300), chunk(None, "stop"), DONE)
    async with provider(script) as upstream, proxy(tmp_path, upstream, policy) as gateway:
        await gateway.post(STREAM)
        row = await gateway.row()
        spent = gateway.account().settled["total"]
    assert row["estimated"] is True
    assert row["output_tokens"] == 100
    assert spent == row["input_tokens"] + row["output_tokens"]


@pytest.mark.parametrize(
    ("step", "code"),
    [
        (breaks_off(chunk("Hel")), "upstream_invalid"),
        (breaks_off(chunk("Hel"), chunk("lo")[:-9]), "upstream_invalid"),
        (streams(chunk("Hel"), chunk(None, "stop")), "upstream_invalid"),
        (streams(chunk("Hel"), b'data: {"choices":[{"delta":{"content":"[DO'), "upstream_invalid"),
        (streams(chunk("data: [DONE]\n")), "upstream_invalid"),
    ],
    ids=["cut", "cut in an event", "without [DONE]", "ends in an event", "text that says [DONE]"],
)
async def test_a_broken_stream_ends_with_an_error_event_and_no_clean_end(
    tmp_path: Path, step: Step, code: str
) -> None:
    policy = {"base_key_env": "OPENAI_API_KEY", "max_tokens": 100_000}
    async with provider(step) as upstream, proxy(tmp_path, upstream, policy) as gateway:
        answer = await gateway.post(STREAM)
        row = await gateway.row()
        account = gateway.account()
    assert (answer.status, answer.whole) == (200, False)
    assert json.loads(answer.events[-1])["error"]["code"] == code
    assert "[DONE]" not in answer.events
    assert row["code"] == code
    assert account.held == {}
    assert account.settled["total"] > 0


async def test_a_stream_that_falls_silent_is_a_timeout(tmp_path: Path, clock: MockClock) -> None:
    policy = {"base_key_env": "OPENAI_API_KEY", "timeout": 1}
    script = streams(chunk("Hel"), chunk("lo"), wait=trio.Event(), after=1)
    async with provider(script) as upstream, proxy(tmp_path, upstream, policy) as gateway:
        answer = await gateway.post(STREAM)
        assert json.loads(answer.events[-1])["error"]["code"] == "upstream_timeout"
        assert not answer.whole
        await until(lambda: not upstream.running, "the end of the call")


async def test_a_stream_that_keeps_talking_outlives_the_timeout(
    tmp_path: Path, clock: MockClock
) -> None:
    async def step(_request: Any, reply: Any) -> None:
        await reply.start(200, SSE, probe=PROBE)
        for i in range(6):
            await trio.sleep(0.6)
            await reply.write(chunk(str(i)))
        await reply.write(DONE)
        await reply.end()

    policy = {"base_key_env": "OPENAI_API_KEY", "timeout": 1}
    async with provider(step) as upstream, proxy(tmp_path, upstream, policy) as gateway:
        begun = trio.current_time()
        async with gateway.posting(STREAM) as call:
            await call.head()
            for i in range(6):
                await call.until(b'"%d"' % i)
            answer = await call.rest()
        assert trio.current_time() - begun > 3
    assert (answer.whole, answer.events[-1]) == (True, "[DONE]")


async def test_a_provider_s_own_error_event_is_the_only_one(tmp_path: Path) -> None:
    own = event({"error": {"message": "overloaded", "code": "own"}})
    async with (
        provider(breaks_off(chunk("Hel"), own)) as upstream,
        proxy(tmp_path, upstream) as gateway,
    ):
        answer = await gateway.post(STREAM)
        row = await gateway.row()
    errors = [json.loads(e)["error"]["code"] for e in answer.events if '"error"' in e]
    assert (errors, answer.whole) == (["own"], False)
    assert row["code"] == "upstream_invalid"


async def test_a_provider_that_closes_before_its_head_is_an_error_answer(tmp_path: Path) -> None:
    async with provider(refuses_to_speak) as upstream, proxy(tmp_path, upstream) as gateway:
        answer = await gateway.post(STREAM)
    assert (answer.status, answer.code, answer.whole) == (502, "upstream_invalid", True)


async def test_a_whole_answer_to_a_stream_passes_as_it_is(tmp_path: Path) -> None:
    """Some providers answer an error, or a short text, whole."""
    async with provider() as upstream, proxy(tmp_path, upstream) as gateway:
        answer = await gateway.post(STREAM)
    assert answer.headers["content-type"] == "application/json"
    assert answer.json()["usage"]["total_tokens"] == 10


async def test_a_final_done_without_a_blank_line_is_an_end(tmp_path: Path) -> None:
    async with (
        provider(streams(chunk("Hi"), b"data: [DONE]")) as upstream,
        proxy(tmp_path, upstream) as gateway,
    ):
        answer = await gateway.post(STREAM)
    assert (answer.whole, answer.events[-1]) == (True, "[DONE]")


async def test_lines_may_end_in_crlf(tmp_path: Path) -> None:
    parts = [p.replace(b"\n", b"\r\n") for p in (chunk("Hi"), usage_chunk(4, 1), DONE)]
    async with provider(streams(*parts)) as upstream, proxy(tmp_path, upstream) as gateway:
        answer = await gateway.post(STREAM)
        row = await gateway.row()
    assert answer.body == parts[0] + parts[2]
    assert answer.whole
    assert (row["input_tokens"], row["output_tokens"]) == (4, 1)


async def test_an_encoded_stream_is_decoded_however_much_it_expands(tmp_path: Path) -> None:
    events = chunk("word " * 20) * 40_000 + usage_chunk() + DONE

    async def encoded(_request: Request, reply: Reply) -> None:
        await reply.start(200, [*SSE, (b"content-encoding", b"gzip")])
        await reply.write(gzip.compress(events))
        await reply.end()

    async with provider(encoded) as upstream, proxy(tmp_path, upstream) as gateway:
        answer = await gateway.post(STREAM)
    assert answer.body == events.replace(usage_chunk(), b"")
    assert answer.whole
