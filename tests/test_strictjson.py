"""JSON that two parsers could read differently does not pass."""

from __future__ import annotations

import json
import sys
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tokenomics.strictjson import (
    FEW_ESCAPES,
    MAX_CONTAINERS,
    MAX_DEPTH,
    PIECE,
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
        (b"{}\n{}", "more behind the value at line 2 column 1"),
        (b'{"a":1,}', "line 1"),
        (b"{'a':1}", "line 1"),
        (b'"\n"', "control character must be written as an escape at line 1 column 2"),
        (b"01", "more behind the value at line 1 column 2"),
        (b"9" * 5000, "digits"),
        (b'{"a":', "line 1 column 6"),
    ],
    ids=lambda v: repr(v)[:30],
)
def test_what_may_not_pass_is_refused_with_the_place(text: bytes, says: str) -> None:
    with pytest.raises(BadJSON, match=says):
        loads(text)


CASES: dict[str, tuple[bytes, str]] = {
    "twice": (
        b'{"a":[{"b":1},{"b":1,"b":1}]}',
        "the key 'b' stands twice in one object at a[1].b, line 1 column 22",
    ),
    "NaN": (
        b'{"messages":[{},\n{"content":NaN}]}',
        "NaN is not a JSON number at messages[1].content, line 2 column 12",
    ),
    "Infinity": (
        b'{"a b":-Infinity}',
        "-Infinity is not a JSON number at ['a b'], line 1 column 8",
    ),
    "too large": (b"[0,1e999]", "a number is too large for a double at [1], line 1 column 4"),
    "digits": (
        b'{"seed":-' + b"9" * 5000 + b"}",
        "a number has 5000 digits, more than 4300, at seed, line 1 column 9",
    ),
    "surrogate": (
        b'{"x":"\\ud83d\\ude00","m":[{"c":"\\ud83d"}]}',
        "a \\u escape is half of a surrogate pair at m[0].c, line 1 column 31",
    ),
    "deep": (
        b'{"x":"[","metadata":' + b"[" * 300,
        "nested deeper than 200 levels at metadata" + "[0]" * 30 + "[...",
    ),
    "no end": (b'{"m":["a","b\\"]}', "a string does not end that begins at m[1], line 1 column 11"),
    "no value": (b'{"m":{"a":}}', "a value is missing at m.a, line 1 column 11"),
    "no key": (b'{"m":{"a":1,}}', "a key in double quotes is missing at m, line 1 column 13"),
    "no comma": (
        b'{"m":[1 2]}',
        "a comma, or the end of an object or list, is missing at m[0], line 1 column 9",
    ),
    "no colon": (b'{"m" 1}', "a colon behind a key is missing at m, line 1 column 6"),
    "escape": (b'["\\q"]', "there is no such escape as that at [0], line 1 column 3"),
    "hex": (b'["\\u12"]', "a \\u needs four hex digits at [0], line 1 column 4"),
    "long key": (
        b'{"' + b"k" * 9999 + b'":NaN}',
        "NaN is not a JSON number at ['" + "k" * 40 + "...'], line 1 column 10004",
    ),
    "many": (b"[" + b"1," * 150_000 + b"NaN]", "NaN is not a JSON number"),
}


@pytest.mark.parametrize(("text", "says"), CASES.values(), ids=CASES)
def test_a_fault_is_told_in_our_words_with_keys_and_indexes(text: bytes, says: str) -> None:
    assert fault(text.decode()).startswith(says)


def fault(text: str) -> str:
    """What is wrong with a text, which is no JSON."""
    with pytest.raises(BadJSON) as caught:
        loads(text)
    return str(caught.value)


def is_whole(text: str) -> bool:
    """Whether Python reads it, which takes NaN too."""
    if "NaN" in text or "1e999" in text:
        return False
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


@given(VALUES, st.data())
def test_every_broken_text_is_refused_with_a_place(value: Any, data: st.DataObject) -> None:
    """Python's parser may say what is wrong in words that nobody has thought of here."""
    text = dumps([value, {"key": value}]).decode()
    cut = data.draw(st.integers(1, len(text) - 1))
    odd = data.draw(st.sampled_from(["", "NaN", "}", "]]", ":", ",", '"', "\\", "\n", "[1e999"]))
    broken = text[:cut] + odd
    assume(not is_whole(broken))
    message = fault(broken)
    assert " line " in message
    assert "oddly" not in message
    assert message.isprintable()


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


@pytest.mark.parametrize("before", range(-3, 4))
@pytest.mark.parametrize("escape", [r"\\", r"\"", r"\\\""])
def test_long_texts_are_counted_in_pieces(escape: str, before: int) -> None:
    text = "x" * (PIECE - 2 + before) + escape * 4
    assert loads('["' + text + '",' + "[" * 199 + '"[{"' + "]" * 200)
    with pytest.raises(BadJSON, match="deeper"):
        loads('["' + text + '",' + "[" * 200 + '"[{"' + "]" * 201)


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
