"""Budgets on the road: what is held as streams flow, how they end, what is charged."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
import trio

from tests.support.http import until
from tests.support.node import HELLO, proxy
from tests.support.upstream import (
    DONE,
    PROBE,
    SSE,
    answers,
    chunk,
    completion,
    event,
    fails,
    provider,
    streams,
    usage_chunk,
)
from tokenomics.dialects.sse import named_event
from tokenomics.gateway.admission import STEP
from tokenomics.net.connection import Reply, Request

STREAM = {**HELLO, "stream": True}
KEY = {"base_key_env": "OPENAI_API_KEY"}
ANTHROPIC = {"anthropic": {"upstream_url": "http://unused", "chat_path": "/v1/messages"}}
WORD = "wordwordwo"  # 10 bytes: 2 tokens on the lower side, 7 on the upper


def budget(tokens: int, **more: Any) -> dict[str, Any]:
    return {**KEY, "max_tokens": tokens, **more}


def words(count: int) -> list[bytes]:
    return [chunk(WORD) for _ in range(count)]


def finish(events: list[str]) -> list[str | None]:
    """The finish reasons of a chat stream, in order."""
    documents = [json.loads(event) for event in events if event != "[DONE]"]
    return [c["finish_reason"] for d in documents for c in d["choices"] if c["finish_reason"]]


# What a stream holds


async def test_a_stream_holds_little_at_first_and_more_as_it_flows(tmp_path: Path) -> None:
    wait, later = trio.Event(), trio.Event()

    async def script(_request: Request, reply: Reply) -> None:
        await reply.start(200, SSE, probe=PROBE)
        await reply.write(chunk("a"))
        await wait.wait()
        await reply.write(b"".join(words(300)))
        await later.wait()
        await reply.write(usage_chunk(9, 900) + DONE)
        await reply.end()

    async with (
        provider(script) as upstream,
        proxy(tmp_path, upstream, budget(100_000)) as gateway,
        gateway.posting(STREAM) as call,
    ):
        await call.head()
        first = gateway.account().held["total"]
        assert STEP < first < STEP + 50
        wait.set()
        await until(lambda: gateway.account().held["total"] > 2000, "a hold that grew")
        later.set()
        assert (await call.rest()).events[-1] == "[DONE]"
        await gateway.row()
        account = gateway.account()
    assert (account.settled["total"], account.held, account.parallel) == (909, {}, 0)


@pytest.mark.parametrize("asked", [{"max_tokens": 128_000}, {}], ids=["claude-code", "codex"])
async def test_a_long_stream_does_not_lock_a_budget(tmp_path: Path, asked: dict[str, int]) -> None:
    wait = trio.Event()
    script = [streams(chunk("a"), chunk("b"), usage_chunk(), DONE, wait=wait, after=1), answers()]
    async with (
        provider(*script) as upstream,
        proxy(tmp_path, upstream, budget(150_000)) as gateway,
        gateway.posting({**STREAM, **asked}) as call,
    ):
        await call.head()
        others = [await gateway.post({**HELLO, "max_tokens": 50_000}) for _ in range(2)]
        assert [answer.status for answer in others] == [200, 200]
        wait.set()
        assert (await call.rest()).events[-1] == "[DONE]"


async def test_what_a_stream_may_write_goes_upstream_as_its_cap(tmp_path: Path) -> None:
    async with provider(streams()) as upstream, proxy(tmp_path, upstream, budget(900)) as gateway:
        await gateway.post({**STREAM, "max_tokens": 128_000})
    assert upstream.last.json()["max_tokens"] < 900


# How a stream ends when nothing is left


async def spent_by_another(tmp_path: Path, body: dict[str, Any], policy: dict[str, Any]) -> Any:
    """A stream whose budget another request takes while it flows."""
    wait = trio.Event()
    script = [
        streams(chunk("Hel"), *words(2000), chunk(None, "stop"), DONE, wait=wait, after=1),
        answers(completion(usage=(10, 600))),
    ]
    async with (
        provider(*script) as upstream,
        proxy(tmp_path, upstream, policy) as gateway,
        gateway.posting(body) as call,
    ):
        await call.head()
        await call.until(b"Hel")
        assert (await gateway.post({**HELLO, "max_tokens": 600})).status == 200
        wait.set()
        answer = await call.rest()
        await until(lambda: not upstream.running, "the end of the call")
        row = await gateway.row(of=2)
        return answer, row, gateway.account()


async def test_a_stream_ends_by_length_when_its_budget_is_spent(tmp_path: Path) -> None:
    answer, row, account = await spent_by_another(tmp_path, STREAM, budget(1000))
    assert answer.whole
    assert answer.events[-1] == "[DONE]"
    assert finish(answer.events) == ["length"]
    assert (row["code"], row["status"], row["estimated"]) == ("budget_spent", 200, True)
    assert account.held == {}
    assert 610 < account.settled["total"] <= 1000


async def test_who_asked_for_usage_gets_it_from_a_stream_that_was_cut(tmp_path: Path) -> None:
    body = {**STREAM, "stream_options": {"include_usage": True}}
    answer, row, _ = await spent_by_another(tmp_path, body, budget(1000))
    usage = json.loads(answer.events[-2])["usage"]
    assert usage["completion_tokens"] == row["output_tokens"] > 0


async def test_a_screened_stream_that_is_cut_lets_go_of_what_it_held(tmp_path: Path) -> None:
    rules = [{"type": "keyword", "keywords": ["wordier"], "action": "mask", "scope": "output"}]
    answer, _, account = await spent_by_another(tmp_path, STREAM, budget(1000, rules=rules))
    assert answer.whole
    assert finish(answer.events) == ["length"]
    assert b"wordwordwo" in answer.body
    assert account.held == {}


async def test_a_masked_response_that_is_cut_shows_no_item_unmasked(tmp_path: Path) -> None:
    """Its last event repeats the items that were done."""
    head = {"id": "resp_1", "object": "response", "model": "gpt-4o", "output": []}
    item = {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed"}
    place = {"item_id": "msg_1", "output_index": 0, "content_index": 0}
    part = {"type": "output_text", "annotations": [], "text": "the sekret"}
    found: list[dict[str, Any]] = [
        {"type": "response.created", "response": {**head, "status": "in_progress"}},
        {"type": "response.output_item.added", "output_index": 0, "item": {**item, "content": []}},
        {"type": "response.output_text.delta", **place, "delta": "the sek"},
        {"type": "response.output_text.delta", **place, "delta": "ret"},
        {"type": "response.output_text.done", **place, "text": "the sekret"},
        {
            "type": "response.output_item.done",
            "output_index": 0,
            "item": {**item, "content": [part]},
        },
    ]
    other = {"item_id": "msg_2", "output_index": 1, "content_index": 0, "delta": WORD}
    found += [{"type": "response.output_text.delta", **other}] * 2000
    events = [
        named_event(document["type"], json.dumps({**document, "sequence_number": i}).encode())
        for i, document in enumerate(found)
    ]
    rules = [{"type": "keyword", "keywords": ["sekret"], "action": "mask", "scope": "output"}]
    body = {"model": "gpt-4o", "input": "Hello", "stream": True}
    async with (
        provider(streams(*events)) as upstream,
        proxy(tmp_path, upstream, budget(600, rules=rules)) as gateway,
    ):
        answer = await gateway.post(body, "/v1/responses")
        account = gateway.account()
    last = json.loads(answer.events[-1])
    assert (answer.whole, last["type"]) == (True, "response.incomplete")
    assert last["response"]["incomplete_details"] == {"reason": "max_output_tokens"}
    assert last["response"]["output"][0]["content"][0]["text"] == "the [REDACTED]"
    assert b"sekret" not in answer.body
    assert account.held == {}


async def test_an_upstream_that_ignores_its_cap_is_ended(tmp_path: Path) -> None:
    script = streams(*words(3000), chunk(None, "stop"), usage_chunk(9, 6000), DONE)
    async with provider(script) as upstream, proxy(tmp_path, upstream, budget(600)) as gateway:
        answer = await gateway.post(STREAM)
        account = gateway.account()
    assert finish(answer.events) == ["length"]
    assert answer.body.count(WORD.encode()) < 2000
    assert account.held == {}


@pytest.mark.parametrize("burst", [True, False], ids=["burst", "events"])
async def test_a_message_ends_by_max_tokens(tmp_path: Path, burst: bool) -> None:
    start = {
        "type": "message_start",
        "message": {"id": "m", "usage": {"input_tokens": 9, "output_tokens": 1}},
    }
    block = {
        "type": "content_block_start",
        "index": 0,
        "content_block": {"type": "text", "text": ""},
    }
    delta = {
        "type": "content_block_delta",
        "index": 0,
        "delta": {"type": "text_delta", "text": WORD},
    }
    events = [
        named_event(e["type"], json.dumps(e).encode()) for e in (start, block, *[delta] * 3000)
    ]
    policy = {"default_provider": "anthropic", "max_tokens": 600}
    body = {
        "model": "claude-sonnet-4-5",
        "max_tokens": 128_000,
        "stream": True,
        "messages": HELLO["messages"],
    }
    script = streams(b"".join(events)) if burst else streams(*events)
    async with provider(script) as upstream:
        providers = {"anthropic": {"upstream_url": upstream.url}}
        env = {"ANTHROPIC_API_KEY": "key"}
        async with proxy(tmp_path, upstream, policy, providers=providers, env=env) as gateway:
            answer = await gateway.post(body, "/v1/messages")
            account = gateway.account()
    ends = [json.loads(event) for event in answer.events[-3:]]
    assert [end["type"] for end in ends] == ["content_block_stop", "message_delta", "message_stop"]
    assert ends[1]["delta"]["stop_reason"] == "max_tokens"
    assert len(answer.events) > 100
    assert upstream.last.json()["max_tokens"] < 600
    assert answer.whole
    assert account.held == {}


# What is charged


@pytest.mark.parametrize(
    ("usage", "charged"),
    [
        ({"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}, 0),
        ({"prompt_tokens": 5, "completion_tokens": 6, "total_tokens": 99}, 99),  # unnamed reasoning
        ({"prompt_tokens": -5, "completion_tokens": 6}, None),
        ({"prompt_tokens": 10**12, "completion_tokens": 6}, None),
        ({"prompt_tokens": "5", "completion_tokens": 6}, None),
        (None, None),
        ([], None),
        ({}, None),
    ],
    ids=str,
)
@pytest.mark.parametrize("stream", [False, True])
async def test_usage_that_is_none_is_estimated_and_zero_is_zero(
    tmp_path: Path, usage: Any, charged: int | None, stream: bool
) -> None:
    whole = {**completion("x" * 30, None), "usage": usage}
    last = event({"id": "c", "choices": [], "usage": usage})
    streamed = streams(chunk("x" * 30), chunk(None, "stop"), last, DONE)
    async with (
        provider(streamed if stream else answers(whole)) as upstream,
        proxy(tmp_path, upstream, budget(100_000)) as gateway,
    ):
        await gateway.post({**HELLO, "stream": stream})
        row = await gateway.row()
        spent = gateway.account().settled["total"]
    if charged is None:
        assert row["estimated"] is True
        assert spent == row["input_tokens"] + 10
    else:
        assert (spent, row.get("estimated")) == (charged, None)


async def test_usage_in_a_chunk_that_is_broken_is_estimated(tmp_path: Path) -> None:
    broken = b'data: {"choices":[],"usage":{"prompt_tokens":5,"completion_tokens":6\n\n'
    script = streams(chunk("x" * 30), chunk(None, "stop"), broken, DONE)
    async with provider(script) as upstream, proxy(tmp_path, upstream, budget(9999)) as gateway:
        await gateway.post(STREAM)
        row = await gateway.row()
        spent = gateway.account().settled["total"]
    assert row["estimated"] is True
    assert spent == row["input_tokens"] + 10


async def test_who_leaves_a_message_is_charged_what_came(tmp_path: Path) -> None:
    """Its first event says that one token was written."""
    start = {"type": "message_start", "message": {"usage": {"input_tokens": 9, "output_tokens": 1}}}
    delta = {
        "type": "content_block_delta",
        "index": 0,
        "delta": {"type": "text_delta", "text": "x" * 300},
    }
    events = [named_event(e["type"], json.dumps(e).encode()) for e in (start, delta, delta)]
    script = streams(*events, wait=trio.Event(), after=2)
    policy = {"default_provider": "anthropic", "max_tokens": 10_000}
    body = {
        "model": "claude-sonnet-4-5",
        "max_tokens": 500,
        "stream": True,
        "messages": HELLO["messages"],
    }
    async with provider(script) as upstream:
        providers = {"anthropic": {"upstream_url": upstream.url}}
        env = {"ANTHROPIC_API_KEY": "key"}
        async with proxy(tmp_path, upstream, policy, providers=providers, env=env) as gateway:
            async with gateway.posting(body, "/v1/messages") as call:
                await call.head()
                await call.until(b"xxx")
            row = await gateway.row()
            account = gateway.account()
    assert (row["input_tokens"], row["output_tokens"], row["estimated"]) == (9, 100, True)
    assert (account.settled, account.held) == ({"total": 109}, {})


async def test_a_fallback_is_charged_to_its_own_budget_at_its_own_price(tmp_path: Path) -> None:
    entries = [
        {"model": "dear", "budget": {"cost_usd": 1}},
        {"model": "cheap", "budget": {"cost_usd": 1}, "max_tokens": 5000},
    ]
    policy = {"providers": {"openai": entries}, "retry": {"fallbacks": ["cheap"]}}
    prices = {"dear": {"input": 100, "output": 200}, "cheap": {"input": 1, "output": 2}}
    script = [fails(503), answers(completion(usage=(1000, 500)))]
    async with provider(*script) as upstream:
        providers = {"openai": {"upstream_url": upstream.url, "prices": prices}}
        async with proxy(tmp_path, upstream, policy, providers=providers) as gateway:
            assert (await gateway.post({**HELLO, "model": "dear", "max_tokens": 99})).status == 200
            account = gateway.account()
    spent = {key: value for key, value in account.settled.items() if value}
    assert spent == {"openai:cheap": 1500, "openai:cheap/cost": 2_000_000}
    assert account.held == {}


# Money and periods


async def test_a_budget_of_money_counts_what_kinds_of_tokens_cost(tmp_path: Path) -> None:
    usage = {"prompt_tokens": 1000, "completion_tokens": 10, "total_tokens": 1010}
    usage["prompt_tokens_details"] = {"cached_tokens": 800}  # type: ignore[assignment]
    prices = {"gpt-4o": {"input": 10, "cached": 1, "output": 100}}
    policy = {**KEY, "budget": {"cost_usd": 0.0100}}
    async with provider(answers({**completion("x", None), "usage": usage})) as upstream:
        providers = {"openai": {"upstream_url": upstream.url, "prices": prices}}
        async with proxy(tmp_path, upstream, policy, providers=providers) as gateway:
            got = [await gateway.post({**HELLO, "max_tokens": 16}) for _ in range(4)]
            spent = gateway.account().settled["total/cost"]
    assert [answer.status for answer in got] == [200, 200, 200, 429]
    assert spent == 3 * (200 * 10_000 + 800 * 1_000 + 10 * 100_000)
    assert got[-1].code == "insufficient_quota"
    assert "$0.01" in got[-1].message


async def test_a_model_without_a_price_is_refused_under_a_budget_of_money(tmp_path: Path) -> None:
    policy = {**KEY, "budget": {"cost_usd": 1}}
    async with provider() as upstream, proxy(tmp_path, upstream, policy) as gateway:
        answer = await gateway.post({**HELLO, "model": "gpt-of-tomorrow"})
    assert (answer.status, answer.code) == (403, "model_not_priced")
    assert "providers.openai.prices" in answer.message
    assert upstream.seen == []


async def test_a_budget_per_period_says_when_it_begins_anew(tmp_path: Path) -> None:
    policy = {**KEY, "budget": {"tokens": 50, "period": "month"}}
    script = answers(completion(usage=(20, 30)))
    async with provider(script) as upstream, proxy(tmp_path, upstream, policy) as gateway:
        assert (await gateway.post({**HELLO, "max_tokens": 20})).status == 200
        refused = await gateway.post({**HELLO, "max_tokens": 20})
    assert (refused.status, refused.code) == (429, "insufficient_quota")
    assert refused.headers["x-should-retry"] == "false"
    assert "retry-after" not in refused.headers
    assert refused.headers["x-tokenomics-reset"] in refused.message
    assert refused.headers["x-tokenomics-reset"].endswith("-01T00:00:00Z")


async def test_a_stream_is_charged_to_the_period_it_began_in(tmp_path: Path) -> None:
    policy = {**KEY, "budget": {"tokens": 1000, "period": "hour"}}
    wait = trio.Event()
    script = [
        streams(chunk("Hel"), usage_chunk(9, 500), DONE, wait=wait, after=1),
        answers(completion(usage=(9, 11))),
    ]
    async with provider(*script) as upstream, proxy(tmp_path, upstream, policy) as gateway:
        app: Any = gateway.server.app
        clock, now = app.gateway.usage.clock, time.time()
        clock.wall = lambda: now
        async with gateway.posting(STREAM) as call:
            await call.head()
            clock.wall = lambda: now + 3600
            assert (await gateway.post({**HELLO, "max_tokens": 600})).status == 200
            wait.set()
            await call.rest()
        await gateway.row(of=2)
        account = gateway.account()
    assert [spent for _, spent in sorted(account.settled.items())] == [509, 20]
    assert (account.held, account.parallel) == ({}, 0)


async def test_a_part_to_warn_at_is_told_once(tmp_path: Path) -> None:
    policy = {**KEY, "budget": {"tokens": 100, "warn_at": [0.8, 0.5]}}
    script = answers(completion(usage=(10, 10)))
    async with provider(script) as upstream, proxy(tmp_path, upstream, policy) as gateway:
        for number in range(4):
            await gateway.post({**HELLO, "max_tokens": 16})
            await gateway.row(of=number + 1)
    warnings = [json.loads(line) for line in gateway.said.text.splitlines() if "has spent" in line]
    assert [w["message"].partition(" has ")[2] for w in warnings] == [
        "spent 50% of its budget 'total': 60 of 100",
        "spent 80% of its budget 'total': 80 of 100",
    ]


async def test_a_budget_that_is_lowered_below_what_is_held(tmp_path: Path) -> None:
    wait = trio.Event()
    script = streams(chunk("a"), *words(50), usage_chunk(9, 100), DONE, wait=wait, after=1)
    async with (
        provider(script, answers()) as upstream,
        proxy(tmp_path, upstream, budget(10_000)) as gateway,
        gateway.posting(STREAM) as call,
    ):
        await call.head()
        await call.until(b'"a"')
        gateway.tokens.put(gateway.token, json.dumps(budget(5)))
        with trio.fail_after(5):
            while (await gateway.post({**HELLO, "max_tokens": 16})).status != 429:
                await trio.lowlevel.checkpoint()
        wait.set()
        assert (await call.rest()).whole
        await until(lambda: not gateway.account().held, "the settlement")
        assert gateway.account().settled["total"] >= 100
