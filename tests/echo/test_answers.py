"""What each dialect's answers hold. That the SDKs can read them is tested in tests/e2e."""

from __future__ import annotations

import base64
import io
import json
import math
import struct
import wave
import zlib
from typing import Any

import pytest

from tests.echo.plans import NOW, form, plan, plan_of, streamed, whole
from tokenomics.dialects.answers import read_usage, usage_of
from tokenomics.echo.app import ANSWERS
from tokenomics.echo.pictures import png
from tokenomics.echo.plan import Body, Plan
from tokenomics.echo.vectors import MAX_NUMBERS
from tokenomics.errors import Refusal

SAY = "[echo text=one two three]"
CALL = "[echo tool=f text=one two]"
ARGUMENTS = ['{"text":"one', ' two"}']


def chat(text: str, **fields: Any) -> Plan:
    return plan("/chat/completions", messages=[{"role": "user", "content": text}], **fields)


def message(text: str, **fields: Any) -> Plan:
    return plan("/messages", messages=[{"role": "user", "content": text}], **fields)


def response(text: str, **fields: Any) -> Plan:
    return plan("/responses", input=text, **fields)


# Usage, which the proxy charges by


EVERY = {
    "chat": chat(SAY),
    "responses": response(SAY),
    "messages": message(SAY),
    "completions": plan("/completions", prompt=SAY),
    "embeddings": plan("/embeddings", input=SAY),
    "images": plan("/images/generations", prompt=SAY),
    "rerank": plan("/rerank", query=SAY, documents=["a"]),
    "transcription": plan_of("/audio/transcriptions", *form("file", prompt=SAY, model="m")),
}


@pytest.mark.parametrize("name", EVERY)
def test_the_proxy_finds_the_usage(name: str) -> None:
    made = EVERY[name]
    answer = ANSWERS[made.ask.endpoint.name](made)
    assert isinstance(answer, Body)
    usage = usage_of(answer.data)
    output = {"embeddings": 0, "rerank": 0, "images": 1}.get(name, 3)
    assert usage is not None
    assert (usage.input, usage.output) == (made.input, output)


# Chat and completions


def test_chat_says_a_message() -> None:
    assert whole(chat(SAY)) == {
        "id": f"chatcmpl-{chat(SAY).id}",
        "object": "chat.completion",
        "created": NOW,
        "model": "m",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "one two three", "refusal": None},
                "logprobs": None,
                "finish_reason": "stop",
            }
        ],
        "usage": {"prompt_tokens": 4, "completion_tokens": 3, "total_tokens": 7},
    }


def test_chat_streams_the_same() -> None:
    options = {"include_usage": True}
    *chunks, usage, done = streamed(chat(SAY, stream=True, stream_options=options))
    deltas = [chunk["choices"][0]["delta"] for chunk in chunks]
    assert deltas[0] == {"role": "assistant", "content": "", "refusal": None}
    assert [delta["content"] for delta in deltas[1:-1]] == ["one", " two", " three"]
    assert deltas[-1] == {}
    assert [chunk["choices"][0]["finish_reason"] for chunk in chunks] == [None] * 4 + ["stop"]
    assert (usage["choices"], usage["usage"]["completion_tokens"], done) == ([], 3, "[DONE]")
    assert "usage" not in str(streamed(chat(SAY, stream=True)))


@pytest.mark.parametrize("kind", ["chat", "completions"])
def test_as_many_choices_as_asked_for(kind: str) -> None:
    prompts = ["a", SAY]
    made = {
        "chat": lambda **more: chat(SAY, n=4, **more),
        "completions": lambda **more: plan("/completions", prompt=prompts, n=2, **more),
    }[kind]
    answer = whole(made())
    assert [choice["index"] for choice in answer["choices"]] == [0, 1, 2, 3]
    assert answer["usage"]["completion_tokens"] == 12
    chunks = [e for e in streamed(made(stream=True)) if e != "[DONE]"]
    ends = [c["choices"][0]["index"] for c in chunks if c["choices"][0]["finish_reason"]]
    assert ends == [0, 1, 2, 3]


def test_chat_calls_a_tool() -> None:
    (choice,) = whole(chat(CALL))["choices"]
    (call,) = choice["message"]["tool_calls"]
    assert (choice["message"]["content"], choice["finish_reason"]) == (None, "tool_calls")
    assert call["function"] == {"name": "f", "arguments": "".join(ARGUMENTS)}

    first, *pieces, end, _done = streamed(chat(CALL, stream=True))
    (begun,) = first["choices"][0]["delta"]["tool_calls"]
    assert begun == {**call, "index": 0, "function": {"name": "f", "arguments": ""}}
    assert [
        piece["choices"][0]["delta"]["tool_calls"][0]["function"]["arguments"] for piece in pieces
    ] == ARGUMENTS
    assert end["choices"][0]["finish_reason"] == "tool_calls"


@pytest.mark.parametrize(
    ("made", "reason"),
    [
        (chat(SAY, max_tokens=2), "length"),
        (plan("/completions", prompt=SAY, max_tokens=2), "length"),
        (plan("/completions", prompt=CALL), "stop"),
    ],
)
def test_why_a_choice_ended(made: Plan, reason: str) -> None:
    assert whole(made)["choices"][0]["finish_reason"] == reason


# Responses


def test_a_response_shows_its_settings_back() -> None:
    tool = {"type": "function", "name": "f", "parameters": {"type": "object"}}
    made = response(SAY, instructions="Be brief", temperature=0.5, tools=[tool])
    answer = whole(made)
    assert (answer["object"], answer["status"], answer["created_at"]) == (
        "response",
        "completed",
        NOW,
    )
    assert (answer["instructions"], answer["temperature"]) == ("Be brief", 0.5)
    assert answer["tools"] == [{**tool, "description": None, "strict": True}]
    (item,) = answer["output"]
    assert (item["type"], item["status"]) == ("message", "completed")
    assert item["content"][0]["text"] == "one two three"
    assert (answer["usage"]["input_tokens"], answer["usage"]["output_tokens"]) == (made.input, 3)
    assert whole(response(SAY))["instructions"] is None


def test_a_response_streams_its_events_in_order() -> None:
    events = streamed(response(SAY, stream=True))
    assert [event["type"].removeprefix("response.") for event in events] == [
        "created",
        "in_progress",
        "output_item.added",
        "content_part.added",
        *["output_text.delta"] * 3,
        "output_text.done",
        "content_part.done",
        "output_item.done",
        "completed",
    ]
    assert [event["sequence_number"] for event in events] == list(range(11))
    begun = events[0]["response"]
    assert (begun["status"], begun["output"], begun["usage"]) == ("in_progress", [], None)
    assert [event["delta"] for event in events[4:7]] == ["one", " two", " three"]
    assert events[-1]["response"] == whole(response(SAY))
    assert events[-2]["item"] == events[-1]["response"]["output"][0]
    ids = {event["item_id"] for event in events if "item_id" in event}
    assert ids == {events[-2]["item"]["id"]}


def test_a_response_that_was_cut_is_incomplete() -> None:
    answer = whole(response(SAY, max_output_tokens=2))
    assert (answer["status"], answer["output"][0]["status"]) == ("incomplete", "incomplete")
    assert answer["incomplete_details"] == {"reason": "max_output_tokens"}
    last = streamed(response(SAY, max_output_tokens=2, stream=True))[-1]
    assert (last["type"], last["response"]) == ("response.incomplete", answer)


def test_a_response_calls_a_function() -> None:
    (item,) = whole(response(CALL))["output"]
    assert (item["type"], item["name"], item["arguments"]) == (
        "function_call",
        "f",
        "".join(ARGUMENTS),
    )
    events = streamed(response(CALL, stream=True))
    assert [event["type"].removeprefix("response.") for event in events[2:]] == [
        "output_item.added",
        *["function_call_arguments.delta"] * 2,
        "function_call_arguments.done",
        "output_item.done",
        "completed",
    ]
    assert events[2]["item"] == {**item, "arguments": "", "status": "in_progress"}
    assert [event["delta"] for event in events[3:5]] == ARGUMENTS
    assert (events[5]["arguments"], events[6]["item"]) == (item["arguments"], item)


# Messages


def test_a_message_is_whole() -> None:
    assert whole(message(SAY, max_tokens=9)) == {
        "id": f"msg_{message(SAY).id}",
        "type": "message",
        "role": "assistant",
        "model": "m",
        "content": [{"type": "text", "text": "one two three"}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": {
            "input_tokens": 4,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": 0,
            "output_tokens": 3,
            "service_tier": "standard",
        },
    }


def test_a_message_streams_its_events_in_order() -> None:
    events = streamed(message(SAY, stream=True))
    assert [event["type"] for event in events] == [
        "message_start",
        "content_block_start",
        "ping",
        *["content_block_delta"] * 3,
        "content_block_stop",
        "message_delta",
        "message_stop",
    ]
    begun = events[0]["message"]
    assert (begun["content"], begun["stop_reason"]) == ([], None)
    assert (begun["usage"]["input_tokens"], begun["usage"]["output_tokens"]) == (4, 1)
    assert [event["delta"]["text"] for event in events[3:6]] == ["one", " two", " three"]
    assert events[-2]["delta"] == {"stop_reason": "end_turn", "stop_sequence": None}
    assert events[-2]["usage"] == {"output_tokens": 3}


def test_a_message_uses_a_tool() -> None:
    answer = whole(message(CALL))
    (block,) = answer["content"]
    assert (block["type"], block["name"], block["input"]) == ("tool_use", "f", {"text": "one two"})
    assert answer["stop_reason"] == "tool_use"
    events = streamed(message(CALL, stream=True))
    assert events[1]["content_block"] == {**block, "input": {}}
    assert [event["delta"]["partial_json"] for event in events[3:5]] == ARGUMENTS
    assert events[-2]["delta"]["stop_reason"] == "tool_use"


def test_a_message_ends_at_its_cap() -> None:
    answer = whole(message(SAY, max_tokens=2))
    assert (answer["content"][0]["text"], answer["stop_reason"]) == ("one two", "max_tokens")


def test_tokens_are_counted() -> None:
    messages = [{"role": "user", "content": "one two"}]
    counted = whole(plan("/messages/count_tokens", messages=messages, system="three"))
    assert counted == {"input_tokens": 3}


# Embeddings, moderations, rerank


def test_a_vector_an_input() -> None:
    data = whole(plan("/embeddings", input=["a", "b", "a"], dimensions=300))["data"]
    vectors = [row["embedding"] for row in data]
    assert [row["index"] for row in data] == [0, 1, 2]
    assert vectors[0] == vectors[2] != vectors[1]
    assert [len(vector) for vector in vectors] == [300] * 3
    assert math.isclose(math.hypot(*vectors[0]), 1)


@pytest.mark.parametrize(("value", "count"), [("a", 1), ([1, 2], 1), ([[1], [2]], 2), (["a"], 1)])
def test_a_token_array_is_one_input(value: Any, count: int) -> None:
    assert len(whole(plan("/embeddings", input=value))["data"]) == count


def test_a_vector_in_base64() -> None:
    (plain,) = whole(plan("/embeddings", input="a"))["data"]
    (packed,) = whole(plan("/embeddings", input="a", encoding_format="base64"))["data"]
    numbers = struct.unpack("<8f", base64.b64decode(packed["embedding"]))
    assert numbers == pytest.approx(plain["embedding"], rel=1e-6)


def test_vectors_have_a_bound() -> None:
    many = ["a"] * (MAX_NUMBERS // 4096 + 1)
    with pytest.raises(Refusal, match="numbers at most"):
        whole(plan("/embeddings", input=many, dimensions=4096))
    with pytest.raises(Refusal, match="from 1 to 4096"):
        whole(plan("/embeddings", input="a", dimensions=5000))


@pytest.mark.parametrize(
    ("value", "count"), [("a", 1), (["a", "b"], 2), ([{"type": "text", "text": "a"}], 1)]
)
def test_nothing_is_flagged(value: Any, count: int) -> None:
    answer = whole(plan("/moderations", input=value))
    assert [result["flagged"] for result in answer["results"]] == [False] * count
    for result in answer["results"]:
        assert set(result["categories"]) == set(result["category_scores"])
        assert not any(result["categories"].values())
        assert all(0 <= score < 0.01 for score in result["category_scores"].values())
    assert answer["model"] == "m"


def test_documents_are_ranked_by_the_querys_words() -> None:
    documents = ["nothing", {"text": "red Apples"}, "apples"]
    made = plan("/rerank", query="red apples", documents=documents, return_documents=True)
    results = whole(made)["results"]
    assert [(row["index"], row["relevance_score"]) for row in results] == [
        (1, 1.0),
        (2, 0.5),
        (0, 0.0),
    ]
    assert results[0]["document"] == {"text": "red Apples"}
    one = whole(plan("/rerank", query="red apples", documents=documents, top_n=1))["results"]
    assert one == [{"index": 1, "relevance_score": 1.0}]


# Pictures


def test_a_picture_is_a_png_of_one_pixel() -> None:
    answer = whole(plan("/images/generations", prompt=SAY, n=2))
    pictures = [base64.b64decode(item["b64_json"]) for item in answer["data"]]
    assert pictures[0] == pictures[1] == png(bytes.fromhex(plan("/completions", prompt=SAY).id[:6]))
    assert [item["revised_prompt"] for item in answer["data"]] == ["one two three"] * 2
    assert answer["usage"]["output_tokens"] == 2


def test_a_png_is_well_formed() -> None:
    picture = png(b"\x01\x02\x03")
    assert picture[:8] == b"\x89PNG\r\n\x1a\n"
    chunks, at = {}, 8
    while at < len(picture):
        size, kind = struct.unpack_from(">I4s", picture, at)
        data = picture[at + 8 : at + 8 + size]
        (crc,) = struct.unpack_from(">I", picture, at + 8 + size)
        assert crc == zlib.crc32(kind + data)
        chunks[kind] = data
        at += 12 + size
    assert list(chunks) == [b"IHDR", b"IDAT", b"IEND"]
    assert zlib.decompress(chunks[b"IDAT"]) == b"\0\x01\x02\x03"


def test_a_picture_by_url_needs_no_network() -> None:
    answer = whole(plan("/images/generations", prompt=SAY, response_format="url"))
    assert answer["data"][0]["url"].startswith("data:image/png;base64,")
    assert "b64_json" not in answer["data"][0]


@pytest.mark.parametrize("path", ["/images/edits", "/images/variations"])
def test_a_form_gives_pictures_too(path: str) -> None:
    answer = whole(plan_of(path, *form("image", prompt="one two", model="m", n="2")))
    assert len(answer["data"]) == 2
    assert answer["usage"]["input_tokens_details"] == {"text_tokens": 2, "image_tokens": 1}


@pytest.mark.parametrize("n", ["0", "11", "many", "9" * 5000])
def test_a_count_of_pictures_that_is_none(n: str) -> None:
    with pytest.raises(Refusal, match="n: must be a whole number from 1 to 10"):
        whole(plan_of("/images/edits", *form("image", model="m", n=n)))


@pytest.mark.parametrize(
    ("path", "kind"),
    [("/images/generations", "image_generation"), ("/images/edits", "image_edit")],
)
def test_pictures_stream(path: str, kind: str) -> None:
    events = streamed(plan(path, prompt=SAY, stream=True, partial_images=2))
    assert [event["type"] for event in events] == [
        f"{kind}.partial_image",
        f"{kind}.partial_image",
        f"{kind}.completed",
    ]
    assert [event.get("partial_image_index") for event in events] == [0, 1, None]
    assert len({event["b64_json"] for event in events}) == 3
    assert read_usage(events[-1]["usage"]) == (4, 1)


# Sound


def test_speech_is_a_wav() -> None:
    answer = ANSWERS["speech"](plan("/audio/speech", input="Hi", voice="alloy"))
    assert isinstance(answer, Body)
    assert answer.type == "audio/wav"
    with wave.open(io.BytesIO(answer.data)) as sound:
        assert sound.getparams()[:4] == (1, 2, 24_000, 240)
        samples = sound.readframes(240)
    raw = ANSWERS["speech"](plan("/audio/speech", input="Hi", response_format="pcm"))
    assert raw == Body("audio/pcm", samples)


def test_speech_streams() -> None:
    *deltas, done = streamed(plan("/audio/speech", input="Hi", stream_format="sse"))
    sound = b"".join([base64.b64decode(event["audio"]) for event in deltas])
    assert ANSWERS["speech"](plan("/audio/speech", input="Hi")) == Body("audio/wav", sound)
    assert {event["type"] for event in deltas} == {"speech.audio.delta"}
    assert (done["type"], done["usage"]["input_tokens"]) == ("speech.audio.done", 1)


@pytest.mark.parametrize(
    ("wanted", "text"),
    [
        ("text", "You said: Hi\n"),
        ("srt", "1\n00:00:00,000 --> 00:00:01,000\nYou said: Hi\n\n"),
        ("vtt", "WEBVTT\n\n00:00:00.000 --> 00:00:01.000\nYou said: Hi\n\n"),
    ],
)
def test_a_transcript_as_text(wanted: str, text: str) -> None:
    made = plan_of(
        "/audio/transcriptions", *form("file", prompt="Hi", model="m", response_format=wanted)
    )
    assert ANSWERS["audio"](made) == Body("text/plain; charset=utf-8", text.encode())


@pytest.mark.parametrize("path", ["/audio/transcriptions", "/audio/translations"])
def test_a_transcript_as_json(path: str) -> None:
    short = whole(plan_of(path, *form("file", prompt="Hi", model="m")))
    assert short["text"] == "You said: Hi"
    assert short["usage"]["input_token_details"] == {"text_tokens": 1, "audio_tokens": 1}
    long = whole(
        plan_of(path, *form("file", prompt="Hi", model="m", response_format="verbose_json"))
    )
    assert (long["text"], long["segments"][0]["text"]) == (short["text"], short["text"])
    assert long["task"] == ("translate" if path.endswith("translations") else "transcribe")


def test_a_transcript_in_a_format_that_nobody_writes_here() -> None:
    with pytest.raises(Refusal, match="response_format: echo writes json, verbose_json, text"):
        whole(plan_of("/audio/transcriptions", *form("file", model="m", response_format="doc")))


def test_a_transcript_streams() -> None:
    *deltas, done = streamed(
        plan_of("/audio/transcriptions", *form("file", prompt=SAY, model="m", stream="true"))
    )
    assert [event["delta"] for event in deltas] == ["one", " two", " three"]
    assert (done["type"], done["text"]) == ("transcript.text.done", "one two three")
    assert read_usage(done["usage"]) == (5, 3)


# Elsewhere


def test_any_other_path_is_said_back() -> None:
    made = plan("/files/f1", purpose="Hi")
    assert whole(made) == {
        "id": f"echo-{made.id}",
        "object": "echo",
        "method": "POST",
        "path": "/v1/files/f1",
        "text": "You said: Hi",
    }
    *chunks, done = streamed(plan("/files/f1", purpose=SAY, stream=True))
    assert [chunk["text"] for chunk in chunks] == ["one", " two", " three"]
    assert done == "[DONE]"


@pytest.mark.parametrize("body", [b"", b"\xff\x00", json.dumps([1]).encode()])
def test_any_other_path_takes_any_body(body: bytes) -> None:
    if body.startswith(b"["):
        with pytest.raises(Refusal, match="must be a JSON object"):
            plan_of("/files", body)
    else:
        assert whole(plan_of("/files", body, "application/x"))["text"] == "You said nothing."
