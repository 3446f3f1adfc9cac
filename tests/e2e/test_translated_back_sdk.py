"""Anthropic's SDK against a provider that speaks chat completions only: the echo provider's, behind
a socket of its own, with a proxy that translates in between.

It validates strictly, as in `test_sdks`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anthropic
import pytest

from tests.support.node import proxy
from tests.support.upstream import DONE, Step, answers, chunk, event, provider, streams
from tokenomics.echo.app import echo_app

# It leaves a stream at its end mark, and its generators to the collector.
pytestmark = pytest.mark.filterwarnings(
    "ignore:Async generator .* was garbage collected:ResourceWarning"
)
POLICY = {"default_provider": "other"}
SAY = "[echo text=one two three]"
CALL = "[echo tool=get_weather text=Oslo]"
ASK: Any = {"model": "echo-1", "max_tokens": 99, "messages": [{"role": "user", "content": SAY}]}
SCHEMA = {"type": "object", "properties": {"text": {"type": "string"}}}
TOOLS = [{"name": "get_weather", "input_schema": SCHEMA}]
# What Claude Code sends beside its messages.
AROUND: Any = {
    "system": [{"type": "text", "text": "Be kind.", "cache_control": {"type": "ephemeral"}}],
    "thinking": {"type": "enabled", "budget_tokens": 1024},
    "metadata": {"user_id": '{"device_id":"0","session_id":"1"}'},
    "extra_body": {"temperature": 1},
    "tools": TOOLS,
    "extra_query": {"beta": "true"},
    "extra_headers": {"anthropic-beta": "interleaved-thinking-2025-05-14"},
}


@asynccontextmanager
async def client_of(
    folder: Path, step: Step = echo_app, seen: list[Any] | None = None
) -> AsyncIterator[Any]:
    """The client; what the provider was sent comes to `seen`."""
    async with provider(step) as upstream:
        row = {"upstream_url": upstream.url, "auth_scheme": "none"}
        async with (
            proxy(folder, "http://127.0.0.1:1", POLICY, providers={"other": row}) as gateway,
            anthropic.AsyncAnthropic(
                api_key=gateway.token,
                base_url=f"http://127.0.0.1:{gateway.port}",
                max_retries=0,
                timeout=10,
                http_client=anthropic.DefaultAsyncHttpxClient(trust_env=False),
                _strict_response_validation=True,
            ) as client,
        ):
            yield client
        assert {got.path for got in upstream.seen} == {"/v1/chat/completions"}
        if seen is not None:
            seen += [got.json() for got in upstream.seen]


async def test_messages(tmp_path: Path) -> None:
    async with client_of(tmp_path) as client:
        whole = await client.messages.create(**ASK, **AROUND)
        async with client.messages.stream(**ASK, **AROUND) as stream:
            texts = [text async for text in stream.text_stream]
            streamed = await stream.get_final_message()
    assert "".join(texts) == "one two three"
    for message in (whole, streamed):
        assert [block.to_dict() for block in message.content] == [
            {"type": "text", "text": "one two three"}
        ]
        assert (message.role, message.stop_reason) == ("assistant", "end_turn")
        assert message.usage.output_tokens == 3
        assert message.id.startswith("msg_")
    assert whole.usage.input_tokens > 0
    assert streamed.usage.input_tokens == whole.usage.input_tokens


async def test_tools(tmp_path: Path) -> None:
    ask = {**ASK, "messages": [{"role": "user", "content": CALL}], "tools": TOOLS}
    async with client_of(tmp_path) as client:
        whole = await client.messages.create(**ask)
        async with client.messages.stream(**ask) as stream:
            streamed = await stream.get_final_message()
        use = whole.content[-1]
        result = {"type": "tool_result", "tool_use_id": use.id, "content": "21 C"}
        answered = [
            *ask["messages"],
            {"role": "assistant", "content": [block.to_dict() for block in whole.content]},
            {"role": "user", "content": [result]},
        ]
        after = await client.messages.create(**{**ask, "messages": answered})
    for message in (whole, streamed):
        assert message.stop_reason == "tool_use"
        use = message.content[-1]
        assert (use.type, use.name, use.input) == ("tool_use", "get_weather", {"text": "Oslo"})
    assert after.content[0].text == "You said: 21 C"


async def test_errors(tmp_path: Path) -> None:
    limited = answers({"error": {"message": "Slower", "type": "requests"}}, 429)
    async with client_of(tmp_path, limited) as client:
        with pytest.raises(anthropic.RateLimitError, match="Slower") as caught:
            await client.messages.create(**ASK)
        tools = [{"type": "web_search_20250305", "name": "web_search"}]
        with pytest.raises(anthropic.BadRequestError, match=r"tools\[0\]\.type"):
            await client.messages.create(**ASK, tools=tools)
    assert caught.value.body["error"]["type"] == "rate_limit_error"


async def test_thinking_is_shown_and_not_sent_back(tmp_path: Path) -> None:
    seen: list[Any] = []
    thought = event({"choices": [{"index": 0, "delta": {"reasoning_content": "Hm."}}]})
    script = streams(thought, chunk("Yes."), chunk(finish="stop"), DONE)
    async with client_of(tmp_path, script, seen) as client:
        async with client.messages.stream(**ASK) as stream:
            message = await stream.get_final_message()
        said = {"role": "assistant", "content": [block.to_dict() for block in message.content]}
        talk = [*ASK["messages"], said, {"role": "user", "content": "Sure?"}]
        async with client.messages.stream(**{**ASK, "messages": talk}) as stream:
            await stream.get_final_message()
    assert [(block.type, getattr(block, block.type)) for block in message.content] == [
        ("thinking", "Hm."),
        ("text", "Yes."),
    ]
    assert seen[1]["messages"][1] == {"role": "assistant", "content": "Yes."}
