"""The policies' regexes: RE2's dialect, search semantics, positions in str, linear time."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tokenomics.policy.regexes import BadPattern, compile_pattern, keyword_pattern


def found(source: str, text: str) -> list[str]:
    return [text[start:end] for start, end in compile_pattern(source).spans(text)]


@pytest.mark.parametrize(
    ("source", "text", "expected"),
    [
        ("b", "abc", ["b"]),
        ("^b", "abc", []),
        ("(?i)B+", "abbBa", ["bbB"]),
        ("a|ab", "ab", ["a"]),
        ("[0-9]+", "né 12 ö 34 😀 56", ["12", "34", "56"]),
        ("ö.", "ö😀", ["ö😀"]),
        ("x*", "axxa", ["xx"]),
        (".", "a\nb", ["a", "b"]),
    ],
    ids=["search", "anchor", "case", "leftmost", "after-wide", "wide", "not-empty", "no-newline"],
)
def test_what_a_pattern_finds(source: str, text: str, expected: list[str]) -> None:
    assert found(source, text) == expected
    assert compile_pattern(source).found_in(text) == bool(expected)


@pytest.mark.parametrize("source", ["(", "(?=x)", r"(a)\1", "a{1001}", "[z-a]"])
def test_what_re2_does_not_know_is_refused_with_a_reason(source: str) -> None:
    with pytest.raises(BadPattern) as caught:
        compile_pattern(source)
    assert len(str(caught.value)) > 5


def test_a_pattern_that_hangs_others_is_linear() -> None:
    # Backtracking over this would not end.
    assert not compile_pattern("^(a+)+$").found_in("a" * 50_000 + "b")


@pytest.mark.parametrize(
    ("word", "hits", "misses"),
    [
        ("hack", ["hack", "HACK!", "a hack.", "(hack)"], ["hacker", "shack", "hack_1"]),
        ("c++", ["c++", "C++ and", "(c++)", "c++11"], ["abc++", "c+"]),
        (".env", ["cat .env", "x.env"], [".environment", "xenv"]),
        ("two words", ["Two Words"], ["two  words", "twowords"]),
        ("straße", ["STRAßE", "die straße!"], ["strasse"]),
        ("a.b", ["a.b"], ["axb"]),
        ("Zürich", ["Zürich", "Zu\u0308rich", "zU\u0308RICH!"], ["Zurich", "Zúrich"]),
        ("Zu\u0308rich", ["Zürich", "in Zu\u0308rich."], ["Zurich"]),
        ("tiếng", ["tiếng", "tie\u0302\u0301ng", "ti\xea\u0301ng"], ["tiêng", "tieng"]),
        ("\uf900", ["\uf900", "\u8c48"], ["\u8c49"]),
    ],
)
def test_keywords_are_whole_words_of_any_case(
    word: str, hits: list[str], misses: list[str]
) -> None:
    pattern = keyword_pattern(("never-there", word))
    assert [text for text in hits if not pattern.found_in(text)] == []
    assert [text for text in misses if pattern.found_in(text)] == []


@settings(max_examples=100, deadline=None)
@given(st.text(min_size=1, max_size=8).filter(lambda w: w.isascii() and w.isprintable()))
def test_every_keyword_finds_itself(word: str) -> None:
    assert keyword_pattern((word,)).found_in(f" {word} ")


@settings(max_examples=100, deadline=None)
@given(before=st.text(max_size=6), after=st.text(max_size=6))
def test_spans_are_positions_in_the_text_whatever_stands_around(before: str, after: str) -> None:
    text = f"{before}needle{after}"
    assert "needle" in found("needle", text)
