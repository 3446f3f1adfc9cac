"""Streams in any chunks: what goes on, the usage, and how they end."""

from __future__ import annotations

import itertools
import json
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tokenomics.dialects.streams import OPENAI, StreamReader
from tokenomics.dialects.usage import Usage
from tokenomics.errors import Refusal

USAGE = {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}
LIE = '{"usage": {"prompt_tokens": 0, "completion_tokens": 0}}'


def chunk(content: str = "", **fields: Any) -> bytes:
    choices = [{"index": 0, "delta": {"content": content}}]
    return b"data: " + json.dumps({"choices": choices, **fields}).encode() + b"\n\n"


USAGE_CHUNK = chunk(choices=[], usage=USAGE)
DONE = b"data: [DONE]\n\n"


@dataclass(frozen=True)
class Followed:
    """Everything that a reader says of a stream."""

    out: bytes
    usage: Usage | None
    done: bool
    failed: bool
    text: str
    generated: int


def follow(*chunks: bytes, usage_asked: bool = False) -> Followed:
    reader = StreamReader(OPENAI, usage_asked=usage_asked)
    out = b"".join(map(reader.feed, chunks)) + reader.end()
    text = "".join(OPENAI.texts_in(out))
    return Followed(out, reader.usage, reader.done, reader.failed, text, reader.generated())


def test_a_stream_goes_on_as_it_came_without_the_usage_chunk() -> None:
    got = follow(chunk("Hel"), chunk("lo"), USAGE_CHUNK, DONE)
    assert got.out == chunk("Hel") + chunk("lo") + DONE
    assert (got.usage, got.done, got.failed, got.text) == (Usage(7, 3), True, False, "Hello")


def test_who_asked_for_usage_gets_its_chunk() -> None:
    stream = chunk("Hello") + USAGE_CHUNK + DONE
    got = follow(stream, usage_asked=True)
    assert (got.out, got.usage) == (stream, Usage(7, 3))


@pytest.mark.parametrize(
    "kept",
    [
        chunk("x", usage=USAGE),
        chunk("x", usage=None),
        chunk(choices=[], usage=None),
        chunk(choices=[], prompt_filter_results=[]),
        chunk(LIE),
        b": ping\n\n",
        b"event: odd\ndata: no JSON\n\n",
        b'data: {"usage": {"oops\n\n',
    ],
    ids=["with-text", "null", "null-alone", "azure", "in-content", "comment", "unknown", "broken"],
)
def test_no_other_event_is_taken_out(kept: bytes) -> None:
    assert follow(kept, USAGE_CHUNK, DONE).out == kept + DONE


@pytest.mark.parametrize("blank", [b"\n", b"\n\n\n", b"\r\n\r\n"], ids=repr)
def test_blank_lines_before_the_usage_chunk_are_not_its_own(blank: bytes) -> None:
    for pieces in (
        [chunk("a") + blank + USAGE_CHUNK + DONE],
        [chunk("a") + blank, USAGE_CHUNK, DONE],
    ):
        assert follow(*pieces).out == chunk("a") + blank + DONE


def test_a_stream_with_crlf_is_followed_and_not_rewritten() -> None:
    stream, usage, done = (
        part.replace(b"\n", b"\r\n") for part in (chunk("Hello"), USAGE_CHUNK, DONE)
    )
    got = follow(stream + usage + done)
    assert (got.out, got.usage, got.done, got.text) == (stream + done, Usage(7, 3), True, "Hello")


@pytest.mark.parametrize(
    ("end", "done"),
    [
        (DONE, True),
        (b"data:[DONE]\n\n", True),
        (b"data: [DONE]", True),
        (b"data: [DONE]\r\n", True),
        (b"", False),
        (b"data: [DO", False),
        (chunk("write data: [DONE]\n\n at the end"), False),
        (b'data: {"choices":[]}', False),
    ],
    ids=["whole", "no-space", "no-blank-line", "one-line", "none", "cut", "in-text", "unended"],
)
def test_only_its_own_line_ends_a_stream(end: bytes, done: bool) -> None:
    assert follow(chunk("Hello") + end).done == done


def test_the_end_without_a_blank_line_is_completed() -> None:
    assert follow(chunk("a"), b"data: [DONE]").out == chunk("a") + DONE


def test_half_an_event_at_the_end_does_not_go_on() -> None:
    assert follow(chunk("a"), chunk("b")[:-1]).out == chunk("a")


@pytest.mark.parametrize(
    ("event", "failed"),
    [
        (OPENAI.error(Refusal("upstream_invalid", "no"), "", b""), True),
        (b'data:{"error": "no"}\n\n', True),
        (b"event: error\ndata: {}\n\n", True),
        (chunk('data: {"error": 1}'), False),
        (chunk("an error"), False),
        (b'data: {"error": null, "choices": []}\n\n', False),
        (b'data: {"error":null}\n\n', False),
    ],
    ids=["openai", "text", "named", "in-content", "word", "null", "null-at-once"],
)
def test_error_events_are_seen_and_go_on(event: bytes, failed: bool) -> None:
    got = follow(chunk("a"), event)
    assert (got.failed, got.done, got.out) == (failed, False, chunk("a") + event)


@pytest.mark.parametrize(
    ("delta", "least"),
    [
        ({"content": "x" * 30}, 10),
        ({"reasoning_content": "x" * 30}, 10),
        ({"tool_calls": [{"function": {"arguments": "x" * 30}}]}, 10),
        ({"refusal": "x" * 30}, 10),
        ({"content": '"\\' * 15}, 10),
        ({"content": ""}, 0),
        ({"role": "assistant"}, 0),
    ],
    ids=["content", "reasoning", "tool", "refusal", "escapes", "empty", "role"],
)
def test_what_was_generated_before_a_break_is_counted(delta: dict[str, Any], least: int) -> None:
    got = follow(chunk(choices=[{"index": 0, "delta": delta}]) * 2)
    assert 2 * least <= got.generated <= 4 * least


def test_what_is_said_is_the_first_choice() -> None:
    other = chunk(choices=[{"index": 1, "delta": {"content": "other"}}])
    assert follow(chunk("a"), other, chunk("b")).text == "ab"


EVENTS = [chunk("Hello"), chunk("é😀"), chunk(LIE), USAGE_CHUNK, chunk("x", usage=USAGE), DONE]
EVENTS += [
    b": ping\n\n",
    b"\n",
    OPENAI.error(Refusal("upstream_invalid", "no"), "", b""),
    b"data: no JSON\ndata: 2\n\n",
]


@settings(max_examples=300, deadline=None)
@given(
    parts=st.lists(st.tuples(st.sampled_from(EVENTS), st.booleans()), max_size=8),
    tail=st.sampled_from([b"", b"data: [DONE]", b"data: [DO", b"\n"]),
    cuts=st.lists(st.integers(0, 900), max_size=12),
    usage_asked=st.booleans(),
)
def test_chunks_make_no_difference(
    parts: list[tuple[bytes, bool]], tail: bytes, cuts: list[int], usage_asked: bool
) -> None:
    stream = b"".join(p.replace(b"\n", b"\r\n") if crlf else p for p, crlf in parts) + tail
    whole = follow(stream, usage_asked=usage_asked)
    bounds = [0, *sorted(cut for cut in cuts if cut < len(stream)), len(stream)]
    chunks = [stream[a:b] for a, b in itertools.pairwise(bounds)]
    bytewise = [stream[i : i + 1] for i in range(len(stream))]
    assert follow(*chunks, usage_asked=usage_asked) == whole
    assert follow(*bytewise, usage_asked=usage_asked) == whole


# Events that need no look.

CLEAR = chunk("Hel") + chunk("lo")


@pytest.mark.parametrize(
    ("block", "size"),
    [
        (CLEAR, len(CLEAR)),
        (CLEAR + DONE, len(CLEAR) + len("data: ")),
        (CLEAR + USAGE_CHUNK, CLEAR.__len__() + USAGE_CHUNK.index(b'"usage"')),
        (chunk("x", usage=None), len(chunk("x", usage=None))),
        (b'data: {"error": {}}\n\n', len(b'data: {"')),
        (b"event: error\ndata: {}\n\n", len(b"event: ")),
        (b"", 0),
    ],
    ids=["texts", "done", "usage", "null-usage", "error", "error-event", "nothing"],
)
def test_events_are_clear_up_to_the_first_that_needs_a_look(block: bytes, size: int) -> None:
    assert StreamReader(OPENAI, usage_asked=False).clear(block) == size


def test_nothing_is_clear_while_an_event_is_under_way() -> None:
    reader = StreamReader(OPENAI, usage_asked=False)
    reader.feed(CLEAR[:-1])
    assert reader.clear(CLEAR) == 0


@pytest.mark.parametrize("events", [3, 40, 400], ids=["few", "sample", "many"])
@pytest.mark.parametrize("fed", [True, False], ids=["fed", "passed"])
def test_what_a_stream_generated_is_counted_fed_or_passed(events: int, fed: bool) -> None:
    reader = StreamReader(OPENAI, usage_asked=False)
    for _ in range(events):
        if fed:
            reader.feed(chunk("x" * 30))
        else:
            reader.passed(chunk("x" * 30))
    assert 10 * events <= reader.generated() <= 11 * events


def test_longer_texts_behind_the_sample_are_counted_in_full() -> None:
    reader = StreamReader(OPENAI, usage_asked=False)
    for _ in range(60):
        reader.passed(chunk("x"))
    for _ in range(10):
        reader.passed(chunk("y" * 3000))
    assert 10_000 <= reader.generated() <= 11_000
