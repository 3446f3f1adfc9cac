"""What each dialect's answers hold. That the SDKs can read them is tested in tests/e2e."""

from __future__ import annotations

from typing import Any

import pytest

from tests.echo.plans import NOW, form, plan, plan_of, streamed, whole
from tokenomics.dialects.answers import usage_of
from tokenomics.echo.app import ANSWERS
from tokenomics.echo.plan import Body, Plan

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
