"""The SDKs that teams use, over the whole road: client, proxy, the built-in echo provider.

They validate strictly here, so that an answer with a field missing or of a wrong type fails, but
for two cases in which OpenAI's types do not hold what OpenAI itself sends.
"""

from __future__ import annotations

import base64
import io
import wave
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anthropic
import openai
import pytest

from tests.support.node import Proxy, proxy

# Of OpenAI's SDK: it leaves a stream at its end mark, and its generators to the collector; and it
# says of some calls that newer ones are better.
pytestmark = [
    pytest.mark.filterwarnings("ignore:Async generator .* was garbage collected:ResourceWarning"),
    pytest.mark.filterwarnings("ignore:deprecated:DeprecationWarning"),
]
ECHO = {"echo": {"upstream_url": "builtin:echo", "auth_scheme": "none"}}
SECRET_PROMPT = "Speak like a pirate."
PROMPTED = {"default_provider": "echo", "prompts": [{"role": "system", "content": SECRET_PROMPT}]}
# Rules on what comes back, none of which finds anything: every stream is read and written anew.
SCREENED = {
    "default_provider": "echo",
    "rules": [{"type": "keyword", "keywords": ["xyzzy"], "action": "mask", "scope": "output"}],
}
POLICIES: dict[str, dict[str, Any]] = {
    "plain": {"default_provider": "echo"},
    "prompted": PROMPTED,
    "screened": SCREENED,
}
# One that finds something, which comes in two pieces of a stream.
MASKING = {
    "default_provider": "echo",
    "rules": [{"type": "regex", "pattern": "two three", "action": "mask", "scope": "output"}],
}
SAY = "[echo text=one two three]"
CALL = "[echo tool=get_weather text=Oslo]"
CHAT: Any = {"model": "echo-1", "messages": [{"role": "user", "content": SAY}]}
MESSAGE: Any = {**CHAT, "max_tokens": 100}
RESPONSE: Any = {"model": "echo-1", "input": SAY}
SCHEMA = {"type": "object", "properties": {"text": {"type": "string"}}}
FUNCTION = {"name": "get_weather", "parameters": SCHEMA}
FILE = ("speech.wav", b"RIFF")


@asynccontextmanager
async def echo_behind(folder: Path, policy: Mapping[str, Any]) -> AsyncIterator[Proxy]:
    async with proxy(folder, "http://127.0.0.1:1", policy, providers=ECHO) as gateway:
        yield gateway


@asynccontextmanager
async def openai_client(
    folder: Path, policy: Mapping[str, Any], *, strict: bool = True
) -> AsyncIterator[Any]:
    async with (
        echo_behind(folder, policy) as gateway,
        openai.AsyncOpenAI(
            api_key=gateway.token,
            base_url=f"http://127.0.0.1:{gateway.port}/v1",
            max_retries=0,
            timeout=10,
            http_client=openai.DefaultAsyncHttpxClient(trust_env=False),
            _strict_response_validation=strict,
        ) as client,
    ):
        yield client


@asynccontextmanager
async def anthropic_client(folder: Path, policy: Mapping[str, Any]) -> AsyncIterator[Any]:
    async with (
        echo_behind(folder, policy) as gateway,
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


@pytest.fixture(params=POLICIES)
def policy(request: pytest.FixtureRequest) -> dict[str, Any]:
    """The same calls under each policy."""
    return POLICIES[request.param]


@pytest.fixture
def front(policy: dict[str, Any]) -> int:
    """How many tokens a policy's prompts are."""
    prompts = policy.get("prompts", ())
    return sum([len(prompt["content"].split()) for prompt in prompts])


async def collect(stream: Any, out: list[Any] | None = None) -> list[Any]:
    """Everything that a stream gives; in `out`, too, should it fail."""
    out = [] if out is None else out
    async for event in stream:
        out.append(event)
    return out


# OpenAI


async def test_openai_chat(tmp_path: Path, policy: dict[str, Any], front: int) -> None:
    async with openai_client(tmp_path, policy) as client:
        whole = await client.chat.completions.create(**CHAT)
        options = {"include_usage": True}
        chunks = await collect(
            await client.chat.completions.create(**CHAT, stream=True, stream_options=options)
        )
        quiet = await collect(await client.chat.completions.create(**CHAT, stream=True))
    assert whole.choices[0].message.content == "one two three"
    assert (whole.usage.prompt_tokens, whole.usage.completion_tokens) == (4 + front, 3)
    for parts in (chunks[:-1], quiet):
        assert "".join([part.choices[0].delta.content or "" for part in parts]) == "one two three"
        assert parts[-1].choices[0].finish_reason == "stop"
    assert (chunks[-1].choices, chunks[-1].usage) == ([], whole.usage)
    assert all(part.usage is None for part in quiet)


async def test_openai_chat_tools(tmp_path: Path, policy: dict[str, Any]) -> None:
    ask = {**CHAT, "messages": [{"role": "user", "content": CALL}]}
    ask["tools"] = [{"type": "function", "function": FUNCTION}]
    async with openai_client(tmp_path, policy) as client:
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


async def test_openai_completions(tmp_path: Path, policy: dict[str, Any], front: int) -> None:
    ask = {"model": "echo-1", "prompt": SAY, "max_tokens": 2}
    async with openai_client(tmp_path, policy) as client:
        whole = await client.completions.create(**ask)
    # The types want a finish_reason in every chunk, which the API gives in the last one.
    async with openai_client(tmp_path, policy, strict=False) as client:
        chunks = await collect(await client.completions.create(**ask, stream=True))
    assert (whole.choices[0].text, whole.choices[0].finish_reason) == ("one two", "length")
    assert (whole.usage.prompt_tokens, whole.usage.completion_tokens) == (4 + front, 2)
    assert "".join([chunk.choices[0].text for chunk in chunks]) == "one two"


@pytest.mark.parametrize("instructions", [None, "Be brief"])
async def test_openai_responses(
    tmp_path: Path, policy: dict[str, Any], front: int, instructions: str | None
) -> None:
    ask = {**RESPONSE, **({"instructions": instructions} if instructions else {})}
    async with openai_client(tmp_path, policy) as client:
        whole = await client.responses.create(**ask)
        events = await collect(await client.responses.create(**ask, stream=True))
        async with client.responses.stream(**ask) as stream:
            final = await stream.get_final_response()
    own = len((instructions or "").split())
    assert (whole.output_text, whole.usage.input_tokens) == ("one two three", 4 + front + own)
    shown = [event.response for event in events if hasattr(event, "response")]
    assert [response.status for response in shown] == ["in_progress", "in_progress", "completed"]
    for response in (whole, final, *shown):
        assert response.instructions == instructions, "the client's own, or none"
        assert SECRET_PROMPT not in response.to_json()
    deltas = [event.delta for event in events if event.type == "response.output_text.delta"]
    assert "".join(deltas) == shown[-1].output_text == final.output_text == "one two three"
    numbers = [event.sequence_number for event in events]
    assert numbers == sorted(set(numbers))


async def test_openai_responses_tools(tmp_path: Path, policy: dict[str, Any]) -> None:
    tools = [{"type": "function", **FUNCTION}]
    async with openai_client(tmp_path, policy) as client:
        whole = await client.responses.create(model="echo-1", input=CALL, tools=tools)
        async with client.responses.stream(model="echo-1", input=CALL, tools=tools) as stream:
            events = await collect(stream)
            final = await stream.get_final_response()
    for answer in (whole, final):
        (call,) = answer.output
        assert (call.name, call.arguments) == ("get_weather", '{"text":"Oslo"}')
        assert [tool.name for tool in answer.tools] == ["get_weather"]
    kinds = [event.type for event in events]
    assert "response.function_call_arguments.delta" in kinds
    assert "response.function_call_arguments.done" in kinds


async def test_openai_embeddings(tmp_path: Path, policy: dict[str, Any]) -> None:
    ask = {"model": "echo-1", "dimensions": 16}
    # The SDK asks for base64, and unpacks it after it has checked the types.
    async with openai_client(tmp_path, policy, strict=False) as client:
        one = await client.embeddings.create(**ask, input="Hello there")
    async with openai_client(tmp_path, policy) as client:
        two = await client.embeddings.create(
            **ask, input=["Hello there", "you"], encoding_format="float"
        )
    assert one.data[0].embedding == pytest.approx(two.data[0].embedding, rel=1e-5)
    assert [len(row.embedding) for row in two.data] == [16, 16]
    assert (one.usage.prompt_tokens, two.usage.prompt_tokens) == (2, 3)


async def test_openai_moderations(tmp_path: Path, policy: dict[str, Any]) -> None:
    async with openai_client(tmp_path, policy) as client:
        answer = await client.moderations.create(input=["Hello", "you"])
    assert [result.flagged for result in answer.results] == [False, False]
    assert answer.model == "omni-moderation-latest"


async def test_openai_images(tmp_path: Path, policy: dict[str, Any]) -> None:
    ask = {"model": "echo-1", "prompt": SAY}
    picture = ("a.png", b"\x89PNG")
    async with openai_client(tmp_path, policy) as client:
        made = await client.images.generate(**ask, n=2)
        edited = await client.images.edit(**ask, image=[picture, picture])
        varied = await client.images.create_variation(image=picture, model="echo-1")
        events = await collect(await client.images.generate(**ask, stream=True, partial_images=1))
    for answer, count in ((made, 2), (edited, 1), (varied, 1)):
        assert len(answer.data) == count
        assert base64.b64decode(answer.data[0].b64_json).startswith(b"\x89PNG\r\n")
    assert made.data[0].revised_prompt == "one two three"
    assert edited.usage.input_tokens_details.image_tokens == 2
    assert [event.type for event in events] == [
        "image_generation.partial_image",
        "image_generation.completed",
    ]


async def test_openai_speech(tmp_path: Path, policy: dict[str, Any]) -> None:
    ask = {"model": "echo-1", "voice": "alloy", "input": "Hello"}
    async with openai_client(tmp_path, policy) as client:
        spoken = await client.audio.speech.create(**ask)
        async with client.audio.speech.with_streaming_response.create(**ask) as response:
            read = await response.read()
    assert spoken.content == read
    with wave.open(io.BytesIO(read)) as sound:
        assert sound.getnframes() == 240


async def test_openai_transcriptions(tmp_path: Path, policy: dict[str, Any]) -> None:
    ask = {"model": "echo-1", "file": FILE, "prompt": SAY}
    async with openai_client(tmp_path, policy) as client:
        short = await client.audio.transcriptions.create(**ask)
        long = await client.audio.transcriptions.create(**ask, response_format="verbose_json")
        text = await client.audio.transcriptions.create(**ask, response_format="text")
        subtitles = await client.audio.transcriptions.create(**ask, response_format="srt")
        events = await collect(await client.audio.transcriptions.create(**ask, stream=True))
        translated = await client.audio.translations.create(**ask)
    assert short.text == long.text == translated.text == "one two three"
    assert (short.usage.type, short.usage.input_tokens) == ("tokens", 5)
    assert (long.segments[0].text, long.usage.type) == ("one two three", "duration")
    assert text.strip() == "one two three"
    assert subtitles.startswith("1\n00:00:00,000 -->")
    assert "".join([event.delta for event in events[:-1]]) == events[-1].text == "one two three"


async def test_openai_errors(tmp_path: Path) -> None:
    async with openai_client(tmp_path, POLICIES["plain"]) as client:
        with pytest.raises(openai.RateLimitError) as failed:
            await client.responses.create(model="echo-1", input="[echo status=429 retry_after=7]")
        broken = [{"role": "user", "content": "[echo words=9 break=5]"}]
        chunks = await client.chat.completions.create(model="echo-1", messages=broken, stream=True)
        with pytest.raises(openai.APIError, match="broke off"):
            await collect(chunks)
        events: list[Any] = []
        stream = await client.responses.create(model="echo-1", input=broken, stream=True)
        with pytest.raises(openai.APIConnectionError):  # there is no clean end
            await collect(stream, events)
        with pytest.raises(openai.InternalServerError) as half:
            await client.responses.create(model="echo-1", input="[echo break=5]")
    assert (failed.value.code, failed.value.response.headers["retry-after"]) == ("echo_error", "7")
    assert events[-1].type == "error"
    assert "broke off" in events[-1].message
    assert (half.value.status_code, half.value.code) == (502, "upstream_invalid")


async def test_openai_masked(tmp_path: Path) -> None:
    call = "[echo tool=f text=one two three]"
    async with openai_client(tmp_path, MASKING) as client:
        chunks = await collect(await client.chat.completions.create(**CHAT, stream=True))
        events = await collect(await client.responses.create(**RESPONSE, stream=True))
        called = await collect(
            await client.responses.create(model="echo-1", input=call, stream=True)
        )
        ask = {"model": "echo-1", "file": FILE, "prompt": SAY}
        heard = await collect(await client.audio.transcriptions.create(**ask, stream=True))
        made = await client.images.generate(model="echo-1", prompt=SAY)
    text, arguments = "one [REDACTED]", '{"text":"one [REDACTED]"}'
    assert "".join([chunk.choices[0].delta.content or "" for chunk in chunks]) == text
    for parts, whole in ((events, text), (called, arguments), (heard, text)):
        assert "".join([part.delta for part in parts if part.type.endswith(".delta")]) == whole
    assert events[-1].response.output_text == heard[-1].text == made.data[0].revised_prompt == text
    assert called[-1].response.output[0].arguments == arguments


# Anthropic


async def test_anthropic_messages(tmp_path: Path, policy: dict[str, Any], front: int) -> None:
    ask = {**MESSAGE, "system": "Be brief"}
    async with anthropic_client(tmp_path, policy) as client:
        whole = await client.messages.create(**ask)
        events = await collect(await client.messages.create(**ask, stream=True))
        async with client.messages.stream(**ask) as stream:
            text = "".join([piece async for piece in stream.text_stream])
            final = await stream.get_final_message()
        cut = await client.messages.create(**{**ask, "max_tokens": 2})
    for answer in (whole, final):
        assert answer.content[0].text == text == "one two three"
        assert answer.stop_reason == "end_turn"
        assert (answer.usage.input_tokens, answer.usage.output_tokens) == (6 + front, 3)
        assert SECRET_PROMPT not in answer.to_json()
    assert (events[0].type, events[-1].type) == ("message_start", "message_stop")
    assert (cut.content[0].text, cut.stop_reason) == ("one two", "max_tokens")


async def test_anthropic_tools(tmp_path: Path, policy: dict[str, Any]) -> None:
    messages: list[Any] = [{"role": "user", "content": CALL}]
    tools = [{"name": "get_weather", "input_schema": SCHEMA}]
    ask = {**MESSAGE, "messages": messages, "tools": tools}
    async with anthropic_client(tmp_path, policy) as client:
        whole = await client.messages.create(**ask)
        async with client.messages.stream(**ask) as stream:
            final = await stream.get_final_message()
        use = whole.content[0]
        result = {"type": "tool_result", "tool_use_id": use.id, "content": "21 C"}
        messages += [
            {"role": "assistant", "content": [use.to_dict()]},
            {"role": "user", "content": [result]},
        ]
        after = await client.messages.create(**ask)
    for answer in (whole, final):
        (block,) = answer.content
        assert (block.type, block.name, block.input) == (
            "tool_use",
            "get_weather",
            {"text": "Oslo"},
        )
        assert answer.stop_reason == "tool_use"
    assert after.content[0].text == "You said: 21 C"


async def test_anthropic_count_tokens(tmp_path: Path, policy: dict[str, Any]) -> None:
    async with anthropic_client(tmp_path, policy) as client:
        counted = await client.messages.count_tokens(**CHAT, system="Be brief")
    assert counted.input_tokens == 6


async def test_anthropic_errors(tmp_path: Path) -> None:
    async with anthropic_client(tmp_path, POLICIES["plain"]) as client:

        def ask(text: str, **more: Any) -> Any:
            messages = [{"role": "user", "content": text}]
            return client.messages.create(**{**MESSAGE, "messages": messages, **more})

        with pytest.raises(anthropic.APIStatusError) as failed:
            await ask("[echo status=529]")
        with pytest.raises(anthropic.APIStatusError) as broken:
            await collect(await ask("[echo words=9 break=5]", stream=True))
    assert failed.value.body["error"]["type"] == "overloaded_error"
    assert "broke off" in str(broken.value)


async def test_anthropic_masked(tmp_path: Path) -> None:
    call = {**MESSAGE, "messages": [{"role": "user", "content": "[echo tool=f text=two three]"}]}
    async with anthropic_client(tmp_path, MASKING) as client:
        async with client.messages.stream(**MESSAGE) as stream:
            said = await stream.get_final_message()
        async with client.messages.stream(**call) as stream:
            called = await stream.get_final_message()
    assert said.content[0].text == "one [REDACTED]"
    assert called.content[0].input == {"text": "[REDACTED]"}
