"""Anthropic's messages from a provider that speaks chat completions, over the whole road."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.node import Proxy, proxy
from tests.support.upstream import (
    DONE,
    Step,
    Upstream,
    answers,
    breaks_off,
    chunk,
    completion,
    event,
    provider,
    streams,
    usage_chunk,
)

Document = dict[str, Any]
ENV = {"ANTHROPIC_API_KEY": "of-the-tests", "OPENAI_API_KEY": "of-the-tests-too"}
POLICY: Document = {"default_provider": "openai"}
ASK: Document = {
    "model": "gpt-4o",
    "max_tokens": 50,
    "messages": [{"role": "user", "content": "Hello"}],
}
STREAM = {**ASK, "stream": True}
PATH = "/v1/messages"
CLAUDE = [("anthropic-version", "2023-06-01"), ("anthropic-beta", "a,b")]
FUNCTION = {"name": "f", "arguments": '{"to":"ann@example.org"}'}
CALL = {"index": 0, "id": "call_1", "type": "function", "function": FUNCTION}


def says(*pieces: str) -> bytes:
    """A stream up to its end."""
    return b"".join([chunk(piece) for piece in pieces])


def ends(finish: str = "stop", output: int = 3) -> bytes:
    return chunk(finish=finish) + usage_chunk(7, output) + DONE


@asynccontextmanager
async def between(
    folder: Path, *script: Step, policy: Mapping[str, Any] = POLICY, **more: Any
) -> AsyncIterator[tuple[Upstream, Proxy]]:
    """A provider that speaks OpenAI's dialect and a proxy before it."""
    async with provider(*script or (answers(completion()),)) as upstream:
        rows = {"openai": {"upstream_url": upstream.url, **more}}
        async with proxy(folder, "http://127.0.0.1:1", policy, env=ENV, providers=rows) as gateway:
            yield upstream, gateway


def found(answer: Any) -> list[Document]:
    """The documents of a stream."""
    return [json.loads(data) for data in answer.events]


def said(answer: Any) -> str:
    """The text of a stream."""
    return "".join([document.get("delta", {}).get("text", "") for document in found(answer)])


async def test_a_whole_answer(tmp_path: Path) -> None:
    async with between(tmp_path) as (upstream, gateway):
        answer = await gateway.post({**ASK, "system": "Be kind."}, f"{PATH}?beta=true", CLAUDE)
        row = await gateway.row()
    seen = upstream.last
    assert (seen.path, seen.query) == ("/v1/chat/completions", "")
    assert seen.get("authorization") == [f"Bearer {ENV['OPENAI_API_KEY']}"]
    assert [name for name, _ in seen.headers if "anthropic" in name or name == "x-api-key"] == []
    assert seen.json() == {
        "model": "gpt-4o",
        "messages": [
            {"role": "system", "content": "Be kind."},
            {"role": "user", "content": "Hello"},
        ],
        "max_completion_tokens": 50,
    }
    assert answer.json() == {
        "id": "msg_chatcmpl-1",
        "type": "message",
        "role": "assistant",
        "model": "gpt-4o-2024-08-06",
        "content": [{"type": "text", "text": "Hello!"}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": {
            "input_tokens": 7,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": 0,
            "output_tokens": 3,
        },
    }
    assert answer.headers["x-tokenomics-provider"] == "openai"
    assert (row["input_tokens"], row["output_tokens"], row["status"]) == (7, 3, 200)


async def test_a_path_and_a_key_for_the_cap_of_its_own(tmp_path: Path) -> None:
    own = {"chat_path": "/api/v2/chat/completions", "output_cap": "max_tokens"}
    async with between(tmp_path, **own) as (upstream, gateway):
        await gateway.post({**ASK, "max_tokens": 20_000}, PATH)
    assert upstream.last.path == "/api/v2/chat/completions"
    assert upstream.last.json()["max_tokens"] == 16_384, "no more than gpt-4o may write"


async def test_a_stream(tmp_path: Path) -> None:
    script = streams(says("Hel", "lo!"), ends())
    async with between(tmp_path, script) as (upstream, gateway):
        answer = await gateway.post(STREAM, PATH)
        row = await gateway.row()
    assert upstream.last.json()["stream_options"] == {"include_usage": True}
    assert (answer.status, answer.whole, said(answer)) == (200, True, "Hello!")
    assert [document["type"] for document in found(answer)] == [
        "message_start",
        "content_block_start",
        "content_block_delta",
        "content_block_delta",
        "content_block_stop",
        "message_delta",
        "message_stop",
    ]
    assert found(answer)[-2]["usage"]["output_tokens"] == 3
    assert (row["input_tokens"], row["output_tokens"], row.get("estimated")) == (7, 3, None)


async def test_a_stream_that_tells_no_usage_is_estimated(tmp_path: Path) -> None:
    script = streams(says("word " * 30), chunk(finish="stop"), DONE)
    async with between(tmp_path, script) as (_, gateway):
        answer = await gateway.post(STREAM, PATH)
        row = await gateway.row()
    assert answer.whole
    assert row["estimated"] is True
    assert row["input_tokens"] > 0
    assert row["output_tokens"] >= 30


async def test_prompts_masks_and_caps_come_before_the_translation(tmp_path: Path) -> None:
    policy = {
        **POLICY,
        "max_tokens": 10_000,
        "prompts": [{"role": "system", "content": "Be kind."}],
        "rules": [{"type": "pii", "detect": ["email"], "action": "mask"}],
    }
    use = {"type": "tool_use", "id": "t1", "name": "f", "input": {"to": "ann@example.org"}}
    result = {"type": "tool_result", "tool_use_id": "t1", "content": "ann@example.org"}
    talk = [
        {"role": "user", "content": "I am ann@example.org"},
        {"role": "assistant", "content": [use]},
        {"role": "user", "content": [result]},
    ]
    async with between(tmp_path, policy=policy) as (upstream, gateway):
        sent = {**ASK, "max_tokens": 20_000, "messages": talk}
        assert (await gateway.post(sent, PATH)).status == 200
    seen = upstream.last.json()
    assert b"ann@" not in upstream.last.body
    assert seen["messages"][0] == {"role": "system", "content": "Be kind."}
    call = seen["messages"][2]["tool_calls"][0]
    assert json.loads(call["function"]["arguments"]) == {"to": "[REDACTED]"}
    assert seen["messages"][3]["content"] == "[REDACTED]"
    assert 0 < seen["max_completion_tokens"] < 10_000


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
async def test_rules_see_the_answer_after_the_translation(tmp_path: Path, stream: bool) -> None:
    rule = {"type": "keyword", "keywords": ["the secret"], "action": "mask", "scope": "output"}
    whole = answers(completion("Not the secret, no"))
    script = streams(says("Not the se", "cret, no"), ends()) if stream else whole
    async with between(tmp_path, script, policy={**POLICY, "rules": [rule]}) as (_, gateway):
        answer = await gateway.post({**ASK, "stream": stream}, PATH)
    assert (said(answer) if stream else answer.json()["content"][0]["text"]) == (
        "Not [REDACTED], no"
    )


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
async def test_rules_see_the_inputs_of_calls(tmp_path: Path, stream: bool) -> None:
    rule = {"type": "pii", "detect": ["email"], "action": "mask", "scope": "output"}
    message = {"role": "assistant", "content": None, "tool_calls": [CALL]}
    choice = {"index": 0, "message": message, "finish_reason": "tool_calls"}
    whole = answers({**completion(), "choices": [choice]})
    delta = {"choices": [{"index": 0, "delta": {"tool_calls": [CALL]}}]}
    script = streams(event(delta), ends("tool_calls")) if stream else whole
    async with between(tmp_path, script, policy={**POLICY, "rules": [rule]}) as (_, gateway):
        answer = await gateway.post({**ASK, "stream": stream}, PATH)
    assert b"ann@" not in answer.body
    if stream:
        parts = [document.get("delta", {}).get("partial_json", "") for document in found(answer)]
        assert json.loads("".join(parts)) == {"to": "[REDACTED]"}
        assert found(answer)[-2]["delta"]["stop_reason"] == "tool_use"
    else:
        assert answer.json()["content"][0]["input"] == {"to": "[REDACTED]"}
        assert answer.json()["stop_reason"] == "tool_use"


async def test_an_error_keeps_its_status_and_message(tmp_path: Path) -> None:
    error = {"message": "Slow down", "type": "requests", "code": "rate_limit_exceeded"}
    async with between(tmp_path, answers({"error": error}, 429)) as (_, gateway):
        answer = await gateway.post(ASK, PATH)
    assert answer.status == 429
    assert answer.json() == {
        "type": "error",
        "error": {"type": "rate_limit_error", "message": "Slow down"},
    }


BAD_CALL = {**CALL, "function": {"name": "f", "arguments": '{"to":'}}
BAD_MESSAGE = {"role": "assistant", "content": None, "tool_calls": [BAD_CALL]}


@pytest.mark.parametrize(
    "body",
    [
        {"ok": True},
        b"[]",
        b'{"choices":[},"a":{}}',
        {**completion(), "choices": [{"message": BAD_MESSAGE, "finish_reason": "tool_calls"}]},
    ],
    ids=["other", "list", "no JSON", "a call without use"],
)
async def test_what_is_no_answer_is_a_bad_gateway(tmp_path: Path, body: Any) -> None:
    async with between(tmp_path, answers(body)) as (_, gateway):
        answer = await gateway.post(ASK, PATH)
        row = await gateway.row()
    assert (answer.status, answer.json()["error"]["type"]) == (502, "api_error")
    assert row["code"] == "upstream_invalid"


async def test_an_error_within_a_stream(tmp_path: Path) -> None:
    error = event({"error": {"message": "Overloaded", "type": "server_error"}})
    async with between(tmp_path, streams(says("Hel"), error, DONE)) as (_, gateway):
        answer = await gateway.post(STREAM, PATH)
        row = await gateway.row()
    assert found(answer)[-1]["error"] == {"type": "api_error", "message": "Overloaded"}
    assert not answer.whole
    assert (row["code"], row["estimated"]) == ("upstream_invalid", True)


@pytest.mark.parametrize(
    "step",
    [
        streams(says("Hel")),
        breaks_off(says("Hel")),
        streams(says("Hel"), b"data: {oops\n\n", ends()),
        streams(says("Hel"), chunk(finish="stop"), usage_chunk()),
        streams(says("Hel"), DONE),
        streams(event({"choices": [{"delta": {"tool_calls": [BAD_CALL]}}]}), ends("tool_calls")),
    ],
    ids=["no end", "cut", "no JSON", "no [DONE]", "no reason", "a call without use"],
)
async def test_a_broken_stream_has_no_clean_end(tmp_path: Path, step: Step) -> None:
    async with between(tmp_path, step) as (_, gateway):
        answer = await gateway.post(STREAM, PATH)
        row = await gateway.row()
    assert found(answer)[-1]["type"] == "error"
    assert "message_stop" not in [document["type"] for document in found(answer)]
    assert not answer.whole
    assert row["code"] == "upstream_invalid"


async def test_a_stream_ends_by_length_when_nothing_is_left(tmp_path: Path) -> None:
    script = streams(*[says("word " * 200) for _ in range(20)], ends())
    async with between(tmp_path, script, policy={**POLICY, "max_tokens": 300}) as (_, gateway):
        answer = await gateway.post({**STREAM, "max_tokens": 10_000}, PATH)
        row = await gateway.row()
    *_, stop, last, end = found(answer)
    assert (stop["type"], stop["index"]) == ("content_block_stop", 0)
    assert (last["delta"]["stop_reason"], end["type"]) == ("max_tokens", "message_stop")
    assert row["code"] == "budget_spent"


async def test_what_cannot_be_translated_is_refused_and_costs_nothing(tmp_path: Path) -> None:
    tools = [{"type": "web_search_20250305", "name": "web_search"}]
    async with between(tmp_path, policy={**POLICY, "max_tokens": 10_000}) as (upstream, gateway):
        answer = await gateway.post({**ASK, "tools": tools}, PATH)
        await gateway.row()
        account = gateway.account()
    assert (answer.status, answer.json()["error"]["type"]) == (400, "invalid_request_error")
    assert answer.json()["error"]["message"].startswith("tools[0].type: ")
    assert upstream.seen == []
    assert (account.settled.get("total", 0), account.held) == (0, {})


async def test_a_fallback_speaks_another_dialect(tmp_path: Path) -> None:
    policy = {
        "providers": {
            "openai": [{"model_regex": "^gpt-"}],
            "anthropic": [{"model_regex": "^claude-"}],
        },
        "retry": {"fallbacks": ["gpt-4o"]},
    }
    async with (
        provider(answers(completion("Hi"))) as first,
        provider(answers({"type": "error", "error": {"message": "no"}}, 500)) as second,
    ):
        rows = {
            "openai": {"upstream_url": first.url},
            "anthropic": {"upstream_url": second.url},
        }
        async with proxy(tmp_path, first, policy, env=ENV, providers=rows) as gateway:
            answer = await gateway.post({**ASK, "model": "claude-sonnet-4-5"}, PATH, CLAUDE)
    assert answer.json()["content"] == [{"type": "text", "text": "Hi"}]
    assert [seen.path for seen in (*second.seen, *first.seen)] == [PATH, "/v1/chat/completions"]
    assert (second.last.get("anthropic-beta"), first.last.get("anthropic-beta")) == (["a,b"], [])


async def test_tokens_are_not_counted_there(tmp_path: Path) -> None:
    async with between(tmp_path) as (upstream, gateway):
        answer = await gateway.post(ASK, f"{PATH}/count_tokens")
    assert answer.status == 400
    assert "/messages/count_tokens is not translated" in answer.json()["error"]["message"]
    assert upstream.seen == []
