"""Answers: usage, texts, ends, and streams in any chunks."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tokenomics.dialects.answers import generated_in, looks_whole, text_of, usage_of
from tokenomics.dialects.usage import Usage

USAGE = {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}
LIE = '{"usage": {"prompt_tokens": 0, "completion_tokens": 0}}'


def answer(content: Any = "Hello", **fields: Any) -> bytes:
    message = {"role": "assistant", "content": content}
    return json.dumps({"choices": [{"index": 0, "message": message}], **fields}).encode()


def chunk(content: str = "", **fields: Any) -> bytes:
    choices = [{"index": 0, "delta": {"content": content}}]
    return b"data: " + json.dumps({"choices": choices, **fields}).encode() + b"\n\n"


# Usage


BODIES: dict[str, tuple[bytes, Usage | None]] = {
    "plain": (answer(usage=USAGE), Usage(7, 3)),
    "first": (json.dumps({"usage": USAGE, "choices": []}).encode(), Usage(7, 3)),
    "spaced": (b'{"usage" :\n  {"prompt_tokens": 7, "completion_tokens": 3}}', Usage(7, 3)),
    "in-content": (answer(LIE, usage=USAGE), Usage(7, 3)),
    "in-content-behind": (json.dumps({"usage": USAGE, "x": LIE}).encode(), Usage(7, 3)),
    "only-in-content": (answer(LIE), None),
    "twice-escaped": (answer(json.dumps(LIE), usage=USAGE), Usage(7, 3)),
    "backslash-before": (answer("\\", usage=USAGE), Usage(7, 3)),
    "null": (answer(usage=None), None),
    "other-below": (answer(usage=USAGE, meta={"usage": {"cost": 1}}), Usage(7, 3)),
    "none": (answer(), None),
    "no-json": (b"oops", None),
    "cut": (answer(usage=USAGE)[:-5], None),
    "not-utf8": (b'{"a": "\xff", "usage": {"prompt_tokens": 1}, "b": "\xff"}', None),
}


@pytest.mark.parametrize(("body", "usage"), BODIES.values(), ids=BODIES)
def test_usage_of_a_whole_answer(body: bytes, usage: Usage | None) -> None:
    assert usage_of(body) == usage


@settings(max_examples=100, deadline=None)
@given(st.lists(st.sampled_from(['"usage"', ": ", "{", "}", "\\", '"prompt_tokens"', "0", "é"])))
def test_no_content_can_lie_about_usage(parts: list[str]) -> None:
    assert usage_of(answer("".join(parts), usage=USAGE)) == Usage(7, 3)
    assert usage_of(answer("".join(parts))) is None


# Whole answers


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (answer("Hello"), "Hello"),
        (answer(None), ""),
        (b'{"choices": [{"text": "legacy"}]}', "legacy"),
        (b'{"choices": [{"index": 1, "text": "b"}, {"index": 0, "text": "a"}]}', "a"),
        (b'{"data": []}', ""),
        (b'{"choices": [5, {"message": 5}], "x": 1}', ""),
        (b"[]", ""),
        (b"oops", ""),
    ],
    ids=["chat", "null", "legacy", "first-choice", "embeddings", "odd", "list", "no-json"],
)
def test_text_of_a_whole_answer(body: bytes, text: str) -> None:
    assert text_of(body) == text


@pytest.mark.parametrize(
    ("body", "whole"),
    [
        (b'{"a": 1}', True),
        (b" \n{}\r\n", True),
        (b'{"a": ', False),
        (b"<html>", False),
        (b"", False),
    ],
    ids=["object", "space", "cut", "html", "empty"],
)
def test_what_looks_whole(body: bytes, whole: bool) -> None:
    assert looks_whole(body) == whole


@pytest.mark.parametrize(
    ("body", "least"),
    [
        (answer("x" * 30), 10),
        (answer(None), 0),
        (json.dumps({"choices": [{"message": {"content": "x" * 30}}] * 3}).encode(), 30),
        (
            answer(
                "x" * 30,
                more=[{"function": {"name": "f", "arguments": "x" * 30}}, {"arguments": "y" * 30}],
            ),
            30,
        ),
        (json.dumps({"choices": [{"text": "x" * 30}, {"text": "y" * 30}]}).encode(), 20),
        (chunk("x" * 30) + chunk(choices=[{"index": 1, "delta": {"content": "y" * 30}}]), 20),
        (answer("x" * 300)[:-150], 0),
        (b"<html>", 0),
        (b"", 0),
    ],
    ids=["one", "null", "choices", "calls", "legacy", "stream", "cut", "html", "empty"],
)
def test_what_was_generated_is_estimated_over_all_choices_and_calls(
    body: bytes, least: int
) -> None:
    assert least <= generated_in(body) <= 2 * least
