"""Chat completions from a provider that speaks Anthropic's dialect, over the whole road."""

from __future__ import annotations

import gzip
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.node import HELLO, Proxy, proxy
from tests.support.upstream import (
    SSE,
    Step,
    Upstream,
    answers,
    breaks_off,
    completion,
    provider,
    streams,
)
from tokenomics import strictjson
from tokenomics.dialects.sse import named_event
from tokenomics.net.connection import Reply, Request

Document = dict[str, Any]
KEY = "-".join(["sk", "ant", "of", "the", "tests"])
ENV = {"ANTHROPIC_API_KEY": KEY, "OPENAI_API_KEY": "of-the-tests"}
POLICY: Document = {"default_provider": "anthropic"}
CHAT = {**HELLO, "model": "claude-sonnet-4-5"}
STREAM = {**CHAT, "stream": True}
USAGE = {"input_tokens": 10, "cache_read_input_tokens": 90, "output_tokens": 5}
TEXT: Document = {"type": "text", "text": "Hello!"}


def message(*content: Document, stop_reason: str | None = "end_turn") -> Document:
    return {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "claude-sonnet-4-5-20250929",
        "content": list(content),
        "stop_reason": stop_reason,
        "stop_sequence": None,
        "usage": USAGE,
    }


def events(*documents: Document) -> bytes:
    return b"".join([named_event(d["type"], strictjson.dumps(d)) for d in documents])


def begin() -> Document:
    return {"type": "message_start", "message": message(stop_reason=None)}


def says(*pieces: str) -> bytes:
    """A stream up to its end."""
    start = {"type": "content_block_start", "index": 0, "content_block": {**TEXT, "text": ""}}
    deltas = [
        {
            "type": "content_block_delta",
            "index": 0,
            "delta": {"type": "text_delta", "text": piece},
        }
        for piece in pieces
    ]
    return events(begin(), start, *deltas, {"type": "content_block_stop", "index": 0})


def ends(stop_reason: str = "end_turn", output: int = 5) -> bytes:
    delta = {"stop_reason": stop_reason, "stop_sequence": None}
    last = {"type": "message_delta", "delta": delta, "usage": {"output_tokens": output}}
    return events(last, {"type": "message_stop"})


@asynccontextmanager
async def between(
    folder: Path, *script: Step, policy: Mapping[str, Any] = POLICY, **more: Any
) -> AsyncIterator[tuple[Upstream, Proxy]]:
    """A provider that speaks Anthropic's dialect and a proxy before it."""
    async with provider(*script or (answers(message(TEXT)),)) as upstream:
        rows = {"anthropic": {"upstream_url": upstream.url, **more}}
        async with proxy(folder, "http://127.0.0.1:1", policy, env=ENV, providers=rows) as gateway:
            yield upstream, gateway


def said(answer: Any) -> str:
    """The text of a stream."""
    chunks = [json.loads(data) for data in answer.events if data != "[DONE]"]
    choices = [choice for chunk in chunks for choice in chunk["choices"]]
    return "".join([choice["delta"].get("content", "") for choice in choices])


async def test_a_whole_answer(tmp_path: Path) -> None:
    async with between(tmp_path) as (upstream, gateway):
        answer = await gateway.post({**CHAT, "max_tokens": 50, "temperature": 1.5})
        row = await gateway.row()
    seen = upstream.last
    assert (seen.path, seen.get("x-api-key")) == ("/v1/messages", [KEY])
    assert seen.get("authorization") == []
    assert seen.get("anthropic-version") == ["2023-06-01"]
    assert seen.get("content-type") == ["application/json"]
    assert seen.json() == {
        "model": "claude-sonnet-4-5",
        "max_tokens": 50,
        "messages": [{"role": "user", "content": [{"type": "text", "text": "Hello"}]}],
        "temperature": 1,
    }
    made = answer.json()
    assert made.pop("created") > 1_700_000_000
    assert made == {
        "id": "msg_1",
        "object": "chat.completion",
        "model": "claude-sonnet-4-5-20250929",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "Hello!", "refusal": None},
                "logprobs": None,
                "finish_reason": "stop",
            }
        ],
        "usage": {
            "prompt_tokens": 100,
            "completion_tokens": 5,
            "total_tokens": 105,
            "prompt_tokens_details": {"cached_tokens": 90},
        },
    }
    assert answer.headers["x-tokenomics-provider"] == "anthropic"
    assert (row["input_tokens"], row["output_tokens"], row["status"]) == (100, 5, 200)


async def test_a_stream(tmp_path: Path) -> None:
    script = streams(says("Hel", "lo!"), ends())
    async with between(tmp_path, script) as (upstream, gateway):
        plain = await gateway.post(STREAM)
        asked = await gateway.post({**STREAM, "stream_options": {"include_usage": True}})
        row = await gateway.row(of=2)
    assert upstream.last.json()["stream"] is True
    for answer in (plain, asked):
        assert (answer.status, answer.whole, said(answer)) == (200, True, "Hello!")
        assert answer.events[-1] == "[DONE]"
    assert b'"usage"' not in plain.body
    assert json.loads(asked.events[-2])["usage"]["total_tokens"] == 105
    assert (row["input_tokens"], row["output_tokens"], row.get("estimated")) == (100, 5, None)


async def test_an_encoded_stream(tmp_path: Path) -> None:
    async def step(_request: Request, reply: Reply) -> None:
        await reply.start(200, [*SSE, (b"content-encoding", b"gzip")])
        await reply.write(gzip.compress(says("Hel", "lo!") + ends()))
        await reply.end()

    async with between(tmp_path, step) as (_, gateway):
        answer = await gateway.post(STREAM)
    assert (said(answer), answer.events[-1], answer.whole) == ("Hello!", "[DONE]", True)


async def test_prompts_masks_and_caps_come_before_the_translation(tmp_path: Path) -> None:
    policy = {
        **POLICY,
        "max_tokens": 10_000,
        "prompts": [{"role": "system", "content": "Be kind."}],
        "rules": [{"type": "pii", "detect": ["email"], "action": "mask"}],
    }
    talk = [
        {"role": "user", "content": "I am ann@example.org"},
        {
            "role": "assistant",
            "tool_calls": [
                {
                    "id": "call_1",
                    "type": "function",
                    "function": {"name": "f", "arguments": '{"to":"ann@example.org"}'},
                }
            ],
        },
        {"role": "tool", "tool_call_id": "call_1", "content": "ann@example.org"},
    ]
    async with between(tmp_path, policy=policy) as (upstream, gateway):
        assert (await gateway.post({**CHAT, "messages": talk})).status == 200
    seen = upstream.last.json()
    assert b"ann@" not in upstream.last.body
    assert seen["system"] == [{"type": "text", "text": "Be kind."}]
    assert seen["messages"][1]["content"][0]["input"] == {"to": "[REDACTED]"}
    assert 0 < seen["max_tokens"] < 10_000


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
async def test_rules_see_the_answer_after_the_translation(tmp_path: Path, stream: bool) -> None:
    rule = {"type": "keyword", "keywords": ["the secret"], "action": "mask", "scope": "output"}
    policy = {**POLICY, "rules": [rule]}
    text = {**TEXT, "text": "Not the secret, no"}
    whole = answers(message(text))
    script = streams(says("Not the se", "cret, no"), ends()) if stream else whole
    async with between(tmp_path, script, policy=policy) as (_, gateway):
        answer = await gateway.post({**CHAT, "stream": stream})
    shown = said(answer) if stream else answer.json()["choices"][0]["message"]["content"]
    assert shown == "Not [REDACTED], no"


async def test_an_error_keeps_its_status_and_message(tmp_path: Path) -> None:
    error = {"type": "overloaded_error", "message": "Overloaded"}
    script = answers({"type": "error", "error": error, "request_id": "req_1"}, 529)
    async with between(tmp_path, script) as (_, gateway):
        answer = await gateway.post(CHAT)
    assert (answer.status, answer.message) == (529, "Overloaded")
    assert answer.json()["error"]["type"] == "overloaded_error"


@pytest.mark.parametrize("body", [{"ok": True}, b"[]", b'{"content":[},"a":{}}'])
async def test_what_is_no_message_is_a_bad_gateway(tmp_path: Path, body: Any) -> None:
    async with between(tmp_path, answers(body)) as (_, gateway):
        answer = await gateway.post(CHAT)
    assert (answer.status, answer.code) == (502, "upstream_invalid")


async def test_an_error_within_a_stream(tmp_path: Path) -> None:
    error = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}
    async with between(tmp_path, streams(says("Hel"), events(error))) as (_, gateway):
        answer = await gateway.post(STREAM)
        row = await gateway.row()
    assert json.loads(answer.events[-1])["error"]["message"] == "Overloaded"
    assert not answer.whole
    assert (row["code"], row["input_tokens"], row["estimated"]) == ("upstream_invalid", 100, True)


@pytest.mark.parametrize(
    "step",
    [
        streams(says("Hel")),
        breaks_off(says("Hel")),
        streams(says("Hel"), b"data: {oops\n\n", ends()),
        streams(says("Hel"), ends()[:-9]),
    ],
    ids=["without its end", "cut", "no JSON", "cut in its end"],
)
async def test_a_broken_stream_has_no_clean_end(tmp_path: Path, step: Step) -> None:
    async with between(tmp_path, step) as (_, gateway):
        answer = await gateway.post(STREAM)
    assert json.loads(answer.events[-1])["error"]["code"] == "upstream_invalid"
    assert "[DONE]" not in answer.events
    assert not answer.whole


async def test_a_stream_ends_by_length_when_nothing_is_left(tmp_path: Path) -> None:
    policy = {**POLICY, "max_tokens": 300}
    script = streams(*[says("word " * 200) for _ in range(20)], ends())
    async with between(tmp_path, script, policy=policy) as (_, gateway):
        answer = await gateway.post(STREAM)
        row = await gateway.row()
    last = json.loads(answer.events[-2])
    assert (last["choices"][0]["finish_reason"], answer.events[-1]) == ("length", "[DONE]")
    assert row["code"] == "budget_spent"


async def test_what_cannot_be_translated_is_refused_and_costs_nothing(tmp_path: Path) -> None:
    policy = {**POLICY, "max_tokens": 10_000}
    async with between(tmp_path, policy=policy) as (upstream, gateway):
        answer = await gateway.post({**CHAT, "n": 2})
        await gateway.row()
        account = gateway.account()
    assert (answer.status, answer.code) == (400, "invalid_request")
    assert answer.json()["error"]["param"] == "n"
    assert upstream.seen == []
    assert (account.settled.get("total", 0), account.held) == (0, {})


async def test_a_fallback_speaks_another_dialect(tmp_path: Path) -> None:
    policy = {
        "providers": {
            "openai": [{"model_regex": "^gpt-"}],
            "anthropic": [{"model_regex": "^claude-"}],
        },
        "retry": {"fallbacks": ["claude-sonnet-4-5", "gpt-4.1"]},
    }
    async with (
        provider(answers({"error": {"message": "no"}}, 500), answers(completion("Hi"))) as first,
        provider(answers({"type": "error", "error": {"message": "no"}}, 500)) as second,
    ):
        rows = {
            "openai": {"upstream_url": first.url},
            "anthropic": {"upstream_url": second.url},
        }
        async with proxy(tmp_path, first, policy, env=ENV, providers=rows) as gateway:
            answer = await gateway.post(HELLO)
    assert answer.json()["choices"][0]["message"]["content"] == "Hi"
    assert [seen.path for seen in (*first.seen, *second.seen)] == [
        "/v1/chat/completions",
        "/v1/chat/completions",
        "/v1/messages",
    ]


async def test_other_endpoints_are_not_translated(tmp_path: Path) -> None:
    async with between(tmp_path) as (upstream, gateway):
        answer = await gateway.post({"model": "claude-sonnet-4-5", "input": "a"}, "/v1/embeddings")
    assert (answer.status, answer.code) == (400, "invalid_request")
    assert "/embeddings is not translated" in answer.message
    assert upstream.seen == []


async def test_a_long_request_is_translated_beside_the_loop(tmp_path: Path) -> None:
    text = "word " * 20_000
    async with between(tmp_path) as (upstream, gateway):
        await gateway.post({**CHAT, "messages": [{"role": "user", "content": text}]})
    assert upstream.last.json()["messages"][0]["content"][0]["text"] == text


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
async def test_it_costs_what_it_does_in_the_provider_s_own_dialect(
    tmp_path: Path, stream: bool
) -> None:
    """Chat has no word for what a cache keeps for an hour, which has a price of its own."""
    kept = {"ephemeral_5m_input_tokens": 1000, "ephemeral_1h_input_tokens": 50_000}
    written = {"cache_creation_input_tokens": 51_000, "cache_creation": kept}
    begun = begin()
    begun["message"] = {**begun["message"], "usage": {**USAGE, **written}}
    whole = answers({**message(TEXT), "usage": {**USAGE, **written}})
    step = streams(events(begun), ends()) if stream else whole
    policy = {**POLICY, "budget": {"cost_usd": 100}}
    spent = []
    for path in ("/v1/chat/completions", "/v1/messages"):
        folder = tmp_path / path.replace("/", "_")
        folder.mkdir()
        async with between(folder, step, policy=policy) as (_, gateway):
            assert (await gateway.post({**CHAT, "stream": stream, "max_tokens": 9}, path)).whole
            await gateway.row()
            spent.append(dict(gateway.account().settled))
    assert spent[0] == spent[1]
    assert any(amount > 0 for amount in spent[0].values())
