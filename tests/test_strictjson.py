"""JSON that two parsers could read differently does not pass."""

from __future__ import annotations

import json
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenomics.strictjson import (
    FEW_ESCAPES,
    MAX_CONTAINERS,
    MAX_DEPTH,
    BadJSON,
    dumps,
    loads,
)

TEXTS = st.text(st.characters(codec="utf-8"))
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXTS,
    lambda inner: st.lists(inner) | st.dictionaries(TEXTS, inner),
)


@given(VALUES)
def test_what_is_written_is_read_back(value: Any) -> None:
    assert loads(dumps(value)) == value
    assert loads(json.dumps(value)) == value


def test_json_is_written_compact_and_in_utf_8() -> None:
    assert dumps({"a": [1, "é"], "b": None}) == b'{"a":[1,"\xc3\xa9"],"b":null}'


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (b'{"model":"a","model":"b"}', "'model' stands twice"),
        (b'{"a":{"b":1,"b":1}}', "'b' stands twice"),
        (b'[{"a":1,"\\u0061":2}]', "'a' stands twice"),
        (b"NaN", "NaN is not a JSON number"),
        (b'{"a":[Infinity]}', "Infinity is not a JSON number"),
        (b"-Infinity", "-Infinity is not a JSON number"),
        (b'{"temperature":1e999}', "too large"),
        (b"-1e999", "too large"),
        (b'"\xff"', "not UTF-8 at byte 1"),
        (b'"\xed\xa0\x80"', "not UTF-8 at byte 1"),
        (b'"\\ud800"', "half of a surrogate pair"),
        (b'{"\\udc00":1}', "half of a surrogate pair"),
        (b'["\\ude00\\ud83d"]', "half of a surrogate pair"),
        (b"\xef\xbb\xbf{}", "line 1 column 1"),
        (b"", "line 1 column 1"),
        (b"{}\n{}", "Extra data at line 2 column 1"),
        (b'{"a":1,}', "line 1"),
        (b"{'a':1}", "line 1"),
        (b'"\n"', "Invalid control character"),
        (b"01", "Extra data"),
        (b"9" * 5000, "digits"),
        (b'{"a":', "line 1 column 6"),
    ],
    ids=lambda v: repr(v)[:30],
)
def test_what_may_not_pass_is_refused_with_the_place(text: bytes, says: str) -> None:
    with pytest.raises(BadJSON, match=says):
        loads(text)


@pytest.mark.parametrize(
    "text", ['"a\udcff"', '{"\ud800": 1}', "\udc80", '"\ud83d\ude00"'], ids=ascii
)
def test_an_argument_of_bytes_that_are_no_text_is_refused(text: str) -> None:
    with pytest.raises(BadJSON, match="not UTF-8 at byte"):
        loads(text)


def test_a_whole_surrogate_pair_is_one_character() -> None:
    assert loads(rb'"\ud83d\ude00"') == "\U0001f600"


@pytest.mark.parametrize(
    ("opening", "inner", "closing"),
    [
        ("[", "1", "]"),
        ('{"a":', r'"\u0041"', "}"),
        (r'["\\\"]",', "1", "]"),
        (r'["\\",', "1", "]"),
        ('{"[":', "1", "}"),
    ],
    ids=["lists", "objects", "brackets in strings", "backslashes", "brackets in keys"],
)
def test_nesting_ends_at_the_limit(opening: str, inner: str, closing: str) -> None:
    def nested(depth: int) -> str:
        return opening * depth + inner + closing * depth

    assert json.loads(nested(MAX_DEPTH)) == loads(nested(MAX_DEPTH))
    for depth in (MAX_DEPTH + 1, sys.getrecursionlimit() - 5, 100_000):
        with pytest.raises(BadJSON, match=f"deeper than {MAX_DEPTH} levels"):
            loads(nested(depth))


@pytest.mark.parametrize(
    "text",
    [
        "[" + ",".join(["[{}]"] * 1000) + "]",
        json.dumps(["[{" * 1000]),
        json.dumps(['\\"[\\\\"' * 1000, {}]),
    ],
    ids=["many beside each other", "in a string", "in a string after escapes"],
)
def test_many_brackets_are_not_deep(text: str) -> None:
    assert loads(text) == json.loads(text)


@given(st.binary(max_size=40) | TEXTS.map(str.encode))
def test_no_bytes_break_the_reader(data: bytes) -> None:
    try:
        value = loads(data)
    except BadJSON:
        return
    assert json.loads(data) == value


def test_more_objects_and_arrays_than_anybody_needs_are_refused() -> None:
    many = b"[" + b",".join([b"[]"] * MAX_CONTAINERS) + b"]"
    with pytest.raises(BadJSON, match="more than 150000 objects"):
        loads(many)
    assert len(loads(many[:-4] + b"]")) == MAX_CONTAINERS - 1
    code = json.dumps("{[" * MAX_CONTAINERS).encode()  # in text they are only characters
    assert len(loads(code)) == 2 * MAX_CONTAINERS


@pytest.mark.parametrize("escapes", [0, 3, FEW_ESCAPES + 5])
def test_half_a_surrogate_pair_is_found_behind_any_number_of_escapes(escapes: int) -> None:
    text = b"\\n" * escapes
    assert loads(b'"' + text + b"\\ud83d\\ude00" + b'"') == "\n" * escapes + "\U0001f600"
    assert loads(b'"' + text + b"\\\\ud83d" + b'"') == "\n" * escapes + "\\ud83d"
    with pytest.raises(BadJSON, match="surrogate"):
        loads(b'"' + text + b"\\uD83D" + b'"')
