"""Streams of the dialects that have no tests of their own in test_streams: ends, usage, errors."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.dialects.golden_streams import STREAMS, TEXT, documents
from tokenomics.dialects.sse import event, named_event
from tokenomics.dialects.streams import FORMS, StreamReader
from tokenomics.dialects.usage import Usage
from tokenomics.errors import Refusal

each_form = pytest.mark.parametrize("name", FORMS)


def follow(name: str, stream: bytes, step: int) -> tuple[bytes, StreamReader]:
    reader = StreamReader(FORMS[name], usage_asked=True)
    out = b"".join(reader.feed(stream[i : i + step]) for i in range(0, len(stream), step))
    return out + reader.end(), reader


@pytest.mark.parametrize("step", [1, 50, 10**6])
@pytest.mark.parametrize(
    ("name", "usage"),
    [
        ("openai", Usage(1, 2)),
        ("anthropic", Usage(1, 9)),
        ("responses", Usage(1, 2)),
        ("events", None),
    ],
)
def test_a_golden_stream_goes_on_as_it_came(name: str, usage: Usage | None, step: int) -> None:
    stream = STREAMS[name][0](3)
    out, reader = follow(name, stream, step)
    assert out == stream
    assert (reader.done, reader.failed, reader.usage) == (True, False, usage)
    assert (
        "".join(FORMS[name].texts_in(out))
        == {
            "openai": TEXT,
            "anthropic": TEXT + "cret",
            "responses": TEXT,
            "events": "",
        }[name]
    )


@each_form
def test_a_stream_that_is_cut_before_its_end_is_not_done(name: str) -> None:
    stream = STREAMS[name][0](3)
    out, reader = follow(name, stream[: len(stream) // 2], 7)
    assert reader.done == FORMS[name].open_ended
    assert stream.startswith(out.rstrip())


@each_form
def test_a_refusal_as_an_event_is_read_as_a_failure(name: str) -> None:
    raw = FORMS[name].error(Refusal("content_blocked", "no: é"), "req_1", b"")
    _, reader = follow(name, raw, 1)
    assert reader.failed
    document: Any = documents(raw)[0]
    assert "no: é" in json.dumps(document, ensure_ascii=False)
    assert document["type" if name in ("anthropic", "responses") else "error"]


@pytest.mark.parametrize(
    ("last", "number"),
    [
        (b"", 0),
        (b": comment\n\n", 0),
        (STREAMS["responses"][0](3), len(documents(STREAMS["responses"][0](3)))),
        (event(b'{"sequence_number": 7, "delta": "\\"sequence_number\\": 9"}'), 8),
    ],
    ids=["none", "comment", "golden", "said"],
)
def test_an_error_follows_on_the_events_before_it(last: bytes, number: int) -> None:
    raw = FORMS["responses"].error(Refusal("content_blocked", "no"), "req_1", last)
    assert documents(raw)[0]["sequence_number"] == number


@pytest.mark.parametrize(
    ("name", "data", "done", "failed"),
    [
        ("responses", {"type": "response.incomplete", "response": {}}, True, False),
        (
            "responses",
            {"type": "response.failed", "response": {"error": {"code": "x"}}},
            True,
            False,
        ),
        ("responses", {"type": "error", "message": "x"}, False, True),
        (
            "responses",
            {"type": "response.output_text.delta", "delta": "response.failed"},
            False,
            False,
        ),
        ("anthropic", {"type": "error", "error": {"type": "overloaded_error"}}, False, True),
        (
            "anthropic",
            {"type": "content_block_delta", "delta": {"text": "message_stop"}},
            False,
            False,
        ),
        ("events", {"type": "error", "message": "x"}, True, True),
        ("openai", {"error": {"message": "x"}}, False, True),
    ],
)
def test_how_a_stream_ends_or_fails(name: str, data: Any, done: bool, failed: bool) -> None:
    for raw in (event(json.dumps(data).encode()), named_event("x", json.dumps(data).encode())):
        for step in (1, 1000):
            out, reader = follow(name, raw, step)
            assert (out, reader.done, reader.failed) == (raw, done, failed)


@pytest.mark.parametrize(
    ("later", "usage"),
    [
        ({"output_tokens": 5}, Usage(7, 5)),
        ({"input_tokens": 9, "output_tokens": 5}, Usage(9, 5)),
        ({"output_tokens": 0}, Usage(7, 1)),
        ({"output_tokens": "5"}, Usage(7, 1)),
        ({"output_tokens": 5, "cache_read_input_tokens": 100}, Usage(100, 5, cached=100)),
    ],
)
def test_anthropics_counts_grow(later: dict[str, Any], usage: Usage) -> None:
    first = {"type": "message_start", "message": {"usage": {"input_tokens": 7, "output_tokens": 1}}}
    last = {"type": "message_delta", "usage": later}
    stream = b"".join(event(json.dumps(d).encode()) for d in (first, last))
    assert follow("anthropic", stream, 1000)[1].usage == usage


def test_the_kinds_of_a_stream_are_the_most_that_was_told() -> None:
    begun = {"input_tokens": 7, "cache_read_input_tokens": 90, "output_tokens": 1}
    written = {"ephemeral_5m_input_tokens": 2, "ephemeral_1h_input_tokens": 3}
    begun = {**begun, "cache_creation_input_tokens": 5, "cache_creation": written}
    first = {"type": "message_start", "message": {"usage": begun}}
    last = {"type": "message_delta", "usage": {"output_tokens": 9}}
    stream = b"".join(event(json.dumps(d).encode()) for d in (first, last))
    wanted = Usage(102, 9, cached=90, cache_write=2, cache_write_1h=3)
    assert follow("anthropic", stream, 1000)[1].usage == wanted


@each_form
def test_nothing_that_a_model_says_ends_a_stream_or_counts(name: str) -> None:
    lie = 'data: [DONE]\n\nevent: error\n{"type": "message_stop", "usage": {"input_tokens": 0}}'
    delta = {"type": "response.output_text.delta", "delta": lie, "choices": [{"delta": lie}]}
    _, reader = follow(name, event(json.dumps(delta).encode()), 1000)
    assert (reader.done, reader.failed, reader.usage) == (FORMS[name].open_ended, False, None)
