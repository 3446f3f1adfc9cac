"""Messages, their streams and their errors as chat completions: golden cases, in any pieces."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tokenomics import strictjson
from tokenomics.dialects.answers import answer_texts, text_of, usage_of
from tokenomics.dialects.sse import MAX_EVENT, EventTooLong, events
from tokenomics.dialects.streams import OPENAI, StreamReader
from tokenomics.dialects.translate import chat_to_messages
from tokenomics.dialects.translate.chat_stream import Stream
from tokenomics.dialects.translate.messages_to_chat import translate, translate_error
from tokenomics.errors import Refusal

NOW = 1_700_000_000
HERE = Path(__file__).parent
ANSWERS = json.loads((HERE / "answers.json").read_text())
STREAMS = json.loads((HERE / "streams.json").read_text())
WHOLE = [case for case in STREAMS if case.get("chat", [""])[-1:] == ["data: [DONE]"]]
BROKEN = [case for case in STREAMS if "chat" in case and case not in WHOLE]


def name_of(case: dict[str, Any]) -> str:
    return str(case["case"])


def having(key: str, cases: list[dict[str, Any]]) -> Any:
    return pytest.mark.parametrize("case", [case for case in cases if key in case], ids=name_of)


def streamed(case: dict[str, Any], size: int | None = None) -> bytes:
    """A stream's translation, fed in pieces of a size."""
    data = "".join(case["messages"]).encode()
    stream = Stream(NOW)
    cuts = [*range(0, len(data), size or max(len(data), 1)), len(data)]
    return b"".join([stream.feed(data[a:b]) for a, b in pairwise(cuts)]) + stream.end()


def chunks(stream: bytes) -> list[dict[str, Any]]:
    return [json.loads(data) for _, data in events(stream) if data.startswith(b"{")]


# Whole answers


@having("chat", ANSWERS)
def test_an_answer_is_translated(case: dict[str, Any]) -> None:
    made = translate(strictjson.dumps(case["message"]), NOW)
    assert json.loads(made) == case["chat"]


@having("chat", ANSWERS)
def test_an_answer_costs_and_says_what_it_did(case: dict[str, Any]) -> None:
    message = strictjson.dumps(case["message"])
    made = translate(message, NOW)
    assert text_of(made) == text_of(message)
    before, after = usage_of(message), usage_of(made)
    assert (before is None) == (after is None)
    if before is not None and after is not None:
        assert (after.input, after.output, after.cached) == before[:3]


@having("error", ANSWERS)
def test_an_error_is_translated(case: dict[str, Any]) -> None:
    assert json.loads(translate_error(strictjson.dumps(case["message"]))) == case["error"]


@pytest.mark.parametrize("body", [b"<html>Bad Gateway</html>", b"", b"[]", b'{"error":"no"}'])
def test_what_is_no_error_of_anthropic_s_stays_as_it_is(body: bytes) -> None:
    assert translate_error(body) == body


@having("refused", ANSWERS)
def test_what_is_no_message_is_not_passed_on(case: dict[str, Any]) -> None:
    with pytest.raises(Refusal) as caught:
        translate(case["body"].encode(), NOW)
    assert (caught.value.code, caught.value.message) == ("upstream_invalid", case["refused"])


# Streams


@pytest.mark.parametrize("size", [None, 1, 7, 100])
@having("chat", STREAMS)
def test_a_stream_is_translated_in_any_pieces(case: dict[str, Any], size: int | None) -> None:
    expected = "".join([line + "\n\n" for line in case["chat"]])
    assert streamed(case, size).decode() == expected


@pytest.mark.parametrize("size", [None, 1])
@having("refused", STREAMS)
def test_what_is_no_event_ends_a_stream(case: dict[str, Any], size: int | None) -> None:
    with pytest.raises(Refusal) as caught:
        streamed(case, size)
    assert (caught.value.code, caught.value.message) == ("upstream_invalid", case["refused"])


@pytest.mark.parametrize("case", WHOLE, ids=name_of)
def test_a_whole_stream_ends_as_openai_s_do(case: dict[str, Any]) -> None:
    reader = StreamReader(OPENAI, usage_asked=True)
    made = streamed(case)
    assert reader.feed(made) == made
    assert (reader.done, reader.failed) == (True, False)
    assert reader.usage is not None
    *told, usage = chunks(made)
    assert usage["choices"] == []
    reasons = [chunk["choices"][0]["finish_reason"] for chunk in told]
    assert [reason for reason in reasons if reason] == reasons[-1:]
    assert told[0]["choices"][0]["delta"] == {"role": "assistant", "content": ""}


@pytest.mark.parametrize("case", BROKEN, ids=name_of)
def test_a_stream_that_is_not_whole_does_not_end(case: dict[str, Any]) -> None:
    reader = StreamReader(OPENAI, usage_asked=True)
    reader.feed(streamed(case))
    assert not reader.done
    assert reader.failed == ("error" in case["case"])


@pytest.mark.parametrize("case", WHOLE, ids=name_of)
def test_a_stream_s_thinking_comes_back_as_it_was(case: dict[str, Any]) -> None:
    """The message that a client makes of a stream, sent with the next turn."""
    message: dict[str, Any] = {"role": "assistant", "content": "", "reasoning_content": ""}
    blocks = message["thinking_blocks"] = []
    for chunk in chunks(streamed(case)):
        delta = chunk["choices"][0]["delta"] if chunk["choices"] else {}
        for key in ("content", "reasoning_content"):
            message[key] += delta.get(key, "")
        blocks += delta.get("thinking_blocks", [])
    talk = [{"role": "user", "content": "a"}, message, {"role": "user", "content": "b"}]
    made = chat_to_messages.translate({"model": "m", "messages": talk})
    said = [block for turn in made["messages"] for block in turn["content"]]
    shown = "".join([block.get("thinking", "") for block in said])
    assert shown == message["reasoning_content"]
    assert len([block for block in said if "thinking" in block["type"]]) == len(blocks)


@pytest.mark.parametrize("case", WHOLE, ids=name_of)
def test_a_stream_s_texts_are_where_rules_look(case: dict[str, Any]) -> None:
    for chunk in chunks(streamed(case)):
        texts = {text.value for text in answer_texts(chunk)}
        for choice in chunk["choices"]:
            said = [choice["delta"].get(key) for key in ("content", "reasoning_content", "refusal")]
            assert {text for text in said if text} <= texts


def test_an_event_may_not_be_endless() -> None:
    stream = Stream(NOW)
    stream.feed(b"data: " + b"x" * (MAX_EVENT - 6))
    with pytest.raises(EventTooLong):
        stream.feed(b"x")


def test_what_a_stream_has_cost_is_known_from_its_start() -> None:
    case = next(case for case in STREAMS if case["case"] == "a cache")
    stream = Stream(NOW)
    stream.feed(case["messages"][0].encode() + case["messages"][1].encode() + b"\n")
    assert stream.usage is not None
    assert (stream.usage.input, stream.usage.cached, stream.usage.cache_write) == (1103, 1000, 100)
