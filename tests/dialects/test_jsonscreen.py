"""JSON in pieces: each string and number in it is masked by itself, and it stays JSON."""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.dialects.screens import MASK, WORDS, Masking, mask
from tokenomics import strictjson
from tokenomics.dialects.jsonscreen import MAX_SCALAR, JsonScreen
from tokenomics.dialects.texts import OWN_JSON, masked, walk


def screened(chunks: Iterable[str]) -> str:
    screen = JsonScreen(Masking)
    return "".join([*map(screen.feed, chunks), screen.end()])


def cut(text: str, cuts: Iterable[int]) -> list[str]:
    bounds = [0, *sorted(c for c in cuts if c < len(text)), len(text)]
    return [text[a:b] for a, b in itertools.pairwise(bounds)]


def all_ways(text: str) -> str:
    """What comes out whole, and that it is the same character by character."""
    out = screened([text])
    assert screened(text) == out
    return out


def as_a_whole(value: Any) -> Any:
    """The value as the walk over a whole document masks it."""
    texts = walk(value, (), OWN_JSON)
    return masked(value, texts, [mask(text.value) for text in texts])


tokens = st.sampled_from([*WORDS, "al", "secre", "s", "\\", '"', "\n", "é", "😀", "\u2028", "/"])
strings = st.lists(tokens, max_size=4).map("".join) | st.text(max_size=5)
numbers = st.integers() | st.floats(allow_nan=False, allow_infinity=False)
scalars = st.none() | st.booleans() | numbers | strings | st.just(4111111111111111)
# A mask may make two keys one; that is another matter.
keys = strings.filter(lambda key: mask(key) == key)
documents = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=3),
    max_leaves=12,
)


@settings(max_examples=400, deadline=None)
@given(
    documents,
    st.booleans(),
    st.sampled_from([None, 2]),
    st.lists(st.integers(0, 200), max_size=20),
)
def test_each_string_and_number_is_masked_by_itself_whatever_the_chunks(
    value: Any, ascii_only: bool, indent: int | None, cuts: list[int]
) -> None:
    text = json.dumps(value, ensure_ascii=ascii_only, indent=indent)
    try:
        value = strictjson.loads(text)
    except strictjson.BadJSON:  # half a surrogate pair
        return
    out = all_ways(text)
    assert json.loads(out) == as_a_whole(value)
    assert screened(cut(text, cuts)) == out


@settings(max_examples=400, deadline=None)
@given(
    st.lists(
        tokens
        | st.sampled_from(["{", "}", "[", "]", ":", ",", "1", " ", "true", "\\u00", "\\ud83d"])
    ).map("".join),
    st.lists(st.integers(0, 100), max_size=20),
)
def test_chunks_make_no_difference_to_anything(text: str, cuts: list[int]) -> None:
    assert screened(cut(text, cuts)) == all_ways(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "plain text",
        "result: true false",
        "tests",
        "truefalse",
        "1-800-555-0199",
        "12 34",
        "1,2",
        "-",
        "NaN",
        "[1 2]",
        "{1: 2}",
        '{"a" "b"}',
        '{"a": 1} and more',
        "]",
        "0x1f",
        "01",
        "1.5.3",
        "9" * (MAX_SCALAR + 10),
        '{"a": ' + "9" * (MAX_SCALAR + 10) + "}",
        '"a" b',
        '{"a":1}{"b":"x"} \n [true]',
        '{"a":',
        "[[[[[",
        '{"a": tru',
    ],
)
def test_what_is_no_json_goes_through_as_it_is(text: str) -> None:
    assert all_ways(text) == text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("the secret is", f"the {MASK} is"),
        ("secret", MASK),
        ("to alice@example.com", f"to {MASK}"),
        ("[alice@example.com]", f"[{MASK}]"),
        ('{"a": 1} secret', f'{{"a": 1}} {MASK}'),
        ('{"a": secret}', f'{{"a": {MASK}}}'),
        ("x 4111111111111111 y", f"x {MASK} y"),
        ("4111111111111111", json.dumps(MASK)),
        (" 4111111111111111 \n", f" {json.dumps(MASK)} \n"),
        ('{"a":4111111111111111}{"b":"secret"}', '{"a":"[X\\"]"}{"b":"[X\\"]"}'),
        ('{"secret": 1}', '{"[X\\"]": 1}'),
        ('["\\u0073ecret", "s\\u0065cret"]', '["[X\\"]", "[X\\"]"]'),
        ('{"a": "secret', '{"a": "[X\\"]'),
        ('{"a": "secre', '{"a": "secre'),
        ('{"a": "x\\', '{"a": "x\\\\'),
    ],
)
def test_words_are_masked_in_json_and_in_what_is_none(text: str, expected: str) -> None:
    assert all_ways(text) == expected


@pytest.mark.parametrize("word", ["street", "result", "tests", "4111 1111 1111 1111", "12-34"])
def test_no_word_slips_through_in_pieces_that_look_like_json(word: str) -> None:
    class Word(Masking):
        def __init__(self) -> None:
            self.text = ""

        def feed(self, text: str) -> str:
            self.text += text
            return ""

        def end(self) -> str:
            return self.text.replace(word, "X")

    for text in (word, f"a {word}", f"{word} b", f'{{"a": {word}}}'):
        screen = JsonScreen(Word)
        out = "".join([*map(screen.feed, text), screen.end()])
        assert out == text.replace(word, "X")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (r'"\q\u12"', "\\q\\u12"),
        (r'"\ud83d"', "\ufffd"),
        (r'"\ude00"', "\ufffd"),
        (r'"\ud83d\n"', "\ufffd\n"),
        (r'"\ud83d\u0041"', "\ufffdA"),
        (r'"\ud83d\ud83d\ude00"', "\ufffd😀"),
        (r'"\uD83D\uDE00"', "😀"),
        (r'"\ud83dx"', "\ufffdx"),
        ('"a\nb\x01"', "a\nb\x01"),
        (r'"\/\b\f\n\r\t\\\""', '/\b\f\n\r\t\\"'),
    ],
)
def test_broken_escapes_stand_for_themselves(text: str, expected: str) -> None:
    assert json.loads(all_ways(text)) == expected


class Nothing:
    """A screen that costs nothing."""

    def feed(self, text: str) -> str:
        return text

    def end(self) -> str:
        return ""


@pytest.mark.parametrize(
    "piece",
    ['"', "\\", "\\u0041", "\\ud83d", "[", "1", "1,", " ", "1 ", "ab", '""', "a\\"],
    ids=repr,
)
def test_time_is_linear_in_what_comes(piece: str) -> None:
    def seconds(count: int) -> float:
        best = 9.0
        for _ in range(3):
            screen = JsonScreen(Nothing)
            screen.feed('["')
            if piece[0] in '[1 "':
                screen.feed('",')
            start = time.perf_counter()
            for _ in range(count):
                screen.feed(piece)
            screen.end()
            best = min(best, time.perf_counter() - start)
        return best

    seconds(100)
    assert seconds(20_000) < 40 * seconds(2_000)  # ten times as much; squared, it were a hundred
