"""Cutting a byte stream into events, whatever the chunks."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tokenomics.dialects.sse import MAX_EVENT, Cutter, EventTooLong, event, events


@pytest.mark.parametrize(
    ("block", "expected"),
    [
        (b"data: a\n\n", [(b"data: a\n\n", b"a")]),
        (b"data:a\n\n", [(b"data:a\n\n", b"a")]),
        (b"data:  a\n\n", [(b"data:  a\n\n", b" a")]),
        (b"data: a\r\n\r\n", [(b"data: a\r\n\r\n", b"a")]),
        (b"data: a\ndata: b\n\n", [(b"data: a\ndata: b\n\n", b"a\nb")]),
        (b": comment\n\n", [(b": comment\n\n", b"")]),
        (
            b"event: x\nid: 1\ndata: a\n\ndata: b\r\n\r\n",
            [(b"event: x\nid: 1\ndata: a\n\n", b"a"), (b"data: b\r\n\r\n", b"b")],
        ),
        (b"data: a\n\ndata: b", [(b"data: a\n\n", b"a"), (b"data: b", b"b")]),
        (b"database: x\n\n", [(b"database: x\n\n", b"")]),
        (b"", []),
    ],
    ids=[
        "lf",
        "no-space",
        "two-spaces",
        "crlf",
        "two-lines",
        "comment",
        "fields",
        "unended",
        "other-field",
        "nothing",
    ],
)
def test_the_events_of_a_block(block: bytes, expected: list[tuple[bytes, bytes]]) -> None:
    assert list(events(block)) == expected
    assert b"".join(raw for raw, _ in events(block)) == block


@pytest.mark.parametrize(
    ("chunks", "out"),
    [
        ([b"data: a\n", b"\n"], [b"", b"data: a\n\n"]),
        ([b"data: a\n\ndata: b", b"\n\n"], [b"data: a\n\n", b"data: b\n\n"]),
        ([b"data: a\r\n\r", b"\n"], [b"", b"data: a\r\n\r\n"]),
        ([b"data: a\n\ndata: b\r\n\r\nx"], [b"data: a\n\ndata: b\r\n\r\n"]),
        ([b"", b"data: a"], [b"", b""]),
    ],
    ids=["split-end", "two", "split-crlf", "mixed", "unended"],
)
def test_only_whole_events_come_out(chunks: list[bytes], out: list[bytes]) -> None:
    cutter = Cutter()
    assert [cutter.feed(chunk) for chunk in chunks] == out


@settings(max_examples=100, deadline=None)
@given(st.lists(st.sampled_from([b"data: a", b"\n", b"\r\n", b"\n\n", b"\r\n\r\n", b"\r"])))
def test_nothing_is_lost_or_added(chunks: list[bytes]) -> None:
    cutter = Cutter()
    out = b"".join(cutter.feed(chunk) for chunk in chunks)
    assert out + cutter.rest() == b"".join(chunks)
    assert out.endswith((b"\n\n", b"\n\r\n")) or not out


def test_an_event_without_end_is_given_up() -> None:
    cutter = Cutter()
    cutter.feed(b"data: a\n\n" + b"x" * MAX_EVENT)
    with pytest.raises(EventTooLong):
        cutter.feed(b"x")


def test_events_that_end_may_pass_however_many() -> None:
    block = b"data: a\n\n" * (MAX_EVENT // 9 + 1)
    assert Cutter().feed(block) == block


def test_an_event_is_read_back() -> None:
    assert list(events(event(b'{"a":1}'))) == [(b'data: {"a":1}\n\n', b'{"a":1}')]
