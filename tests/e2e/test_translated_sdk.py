"""OpenAI's SDK against a provider that speaks Anthropic's dialect only: the echo provider's, behind
a socket of its own, with a proxy that translates in between.

It validates strictly, as in `test_sdks`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import openai
import pytest

from tests.support.node import proxy
from tests.support.upstream import Step, answers, provider, streams
from tokenomics import strictjson
from tokenomics.dialects.sse import named_event
from tokenomics.echo.app import echo_app

# It leaves a stream at its end mark, and its generators to the collector.
pytestmark = pytest.mark.filterwarnings(
    "ignore:Async generator .* was garbage collected:ResourceWarning"
)
POLICY = {"default_provider": "other"}
SAY = "[echo text=one two three]"
CALL = "[echo tool=get_weather text=Oslo]"
CHAT: Any = {"model": "echo-1", "messages": [{"role": "user", "content": SAY}]}
FUNCTION = {
    "name": "get_weather",
    "parameters": {"type": "object", "properties": {"text": {"type": "string"}}},
}
TOOLS = [{"type": "function", "function": FUNCTION}]


@asynccontextmanager
async def client_of(
    folder: Path, step: Step = echo_app, seen: list[Any] | None = None
) -> AsyncIterator[Any]:
    """The client; what the provider was sent comes to `seen`."""
    async with provider(step) as upstream:
        row = {"upstream_url": upstream.url, "chat_path": "/v1/messages", "auth_scheme": "none"}
        async with (
            proxy(folder, "http://127.0.0.1:1", POLICY, providers={"other": row}) as gateway,
            openai.AsyncOpenAI(
                api_key=gateway.token,
                base_url=f"http://127.0.0.1:{gateway.port}/v1",
                max_retries=0,
                timeout=10,
                http_client=openai.DefaultAsyncHttpxClient(trust_env=False),
                _strict_response_validation=True,
            ) as client,
        ):
            yield client
        assert {got.path for got in upstream.seen} == {"/v1/messages"}
        if seen is not None:
            seen += [got.json() for got in upstream.seen]


async def test_chat(tmp_path: Path) -> None:
    async with client_of(tmp_path) as client:
        whole = await client.chat.completions.create(**CHAT)
        options = {"include_usage": True}
        stream = await client.chat.completions.create(**CHAT, stream=True, stream_options=options)
        chunks = [chunk async for chunk in stream]
        stream = await client.chat.completions.create(**CHAT, stream=True)
        quiet = [chunk async for chunk in stream]
    assert whole.choices[0].message.content == "one two three"
    assert (whole.usage.prompt_tokens, whole.usage.completion_tokens) == (4, 3)
    for parts in (chunks[:-1], quiet):
        assert "".join([part.choices[0].delta.content or "" for part in parts]) == "one two three"
        assert parts[-1].choices[0].finish_reason == "stop"
    assert (chunks[-1].choices, chunks[-1].usage) == ([], whole.usage)
    assert all(part.usage is None for part in quiet)


async def test_tools(tmp_path: Path) -> None:
    ask = {**CHAT, "messages": [{"role": "user", "content": CALL}], "tools": TOOLS}
    async with client_of(tmp_path) as client:
        whole = await client.chat.completions.create(**ask)
        async with client.chat.completions.stream(**ask) as stream:
            streamed = await stream.get_final_completion()
        call = whole.choices[0].message.tool_calls[0]
        answered = [
            *ask["messages"],
            whole.choices[0].message.to_dict(),
            {"role": "tool", "tool_call_id": call.id, "content": "21 C"},
        ]
        after = await client.chat.completions.create(**{**ask, "messages": answered})
    for answer in (whole, streamed):
        assert answer.choices[0].finish_reason == "tool_calls"
        (call,) = answer.choices[0].message.tool_calls
        assert (call.function.name, call.function.arguments) == ("get_weather", '{"text":"Oslo"}')
    assert after.choices[0].message.content == "You said: 21 C"


async def test_errors(tmp_path: Path) -> None:
    error = {"type": "rate_limit_error", "message": "Slower"}
    limited = answers({"type": "error", "error": error}, 429)
    async with client_of(tmp_path, limited) as client:
        with pytest.raises(openai.RateLimitError, match="Slower") as caught:
            await client.chat.completions.create(**CHAT)
        with pytest.raises(openai.BadRequestError, match="one answer") as refused:
            await client.chat.completions.create(**CHAT, n=2)
    assert caught.value.code == "rate_limit_error"
    assert refused.value.param == "n"


def thinks(*signatures: str) -> Step:
    """A stream with a thought for each signature, and a text."""
    usage = {"input_tokens": 1, "output_tokens": 1}
    message = {"id": "m", "type": "message", "model": "m", "content": [], "usage": usage}
    out: list[Any] = [{"type": "message_start", "message": message}]
    for i, signature in enumerate(signatures):
        start = {"type": "thinking", "thinking": "", "signature": ""}
        thought = {"type": "thinking_delta", "thinking": f"Thought {i}."}
        signed = {"type": "signature_delta", "signature": signature}
        out.append({"type": "content_block_start", "index": i, "content_block": start})
        out += [{"type": "content_block_delta", "index": i, "delta": d} for d in (thought, signed)]
        out.append({"type": "content_block_stop", "index": i})
    text = {"index": len(signatures), "content_block": {"type": "text", "text": "Yes."}}
    out.append({"type": "content_block_start", **text})
    out.append({"type": "message_delta", "delta": {"stop_reason": "end_turn"}})
    out.append({"type": "message_stop"})
    return streams(*[named_event(e["type"], strictjson.dumps(e)) for e in out])


async def test_thinking_goes_on_in_the_next_turn(tmp_path: Path) -> None:
    """The client's helper joins the pieces of fields that it does not know, by their index."""
    seen: list[Any] = []
    async with client_of(tmp_path, thinks("c2ln", "bmVk"), seen) as client:
        async with client.chat.completions.stream(**CHAT) as stream:
            message = (await stream.get_final_completion()).choices[0].message
        talk = [*CHAT["messages"], message.to_dict(), {"role": "user", "content": "Sure?"}]
        async with client.chat.completions.stream(**{**CHAT, "messages": talk}) as stream:
            await stream.until_done()
    assert (message.content, message.reasoning_content) == ("Yes.", "Thought 0.Thought 1.")
    assert seen[1]["messages"][1]["content"] == [
        {"type": "thinking", "thinking": "Thought 0.", "signature": "c2ln"},
        {"type": "thinking", "thinking": "Thought 1.", "signature": "bmVk"},
        {"type": "text", "text": "Yes."},
    ]
