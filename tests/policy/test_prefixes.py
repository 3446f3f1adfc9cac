"""What could still become a match: never less than that, and hardly more."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tokenomics.policy.detectors import DETECTORS
from tokenomics.policy.prefixes import MAX_DEPTH, MAX_ITEMS, Unreadable, begun, read, written
from tokenomics.policy.regexes import BadPattern, Pattern, compile_pattern

LETTERS = "ab-\n"


def ending(source: str) -> Pattern:
    return compile_pattern(rf"(?:{begun(read(source)) or ''}|)\z")


def held(source: str, text: str) -> str:
    """The end of `text` that could become a match."""
    span = ending(source).search(text.encode())
    assert span is not None
    return text.encode()[span[0] :].decode()


@pytest.mark.parametrize(
    ("source", "text", "expected"),
    [
        ("abc", "xxab", "ab"),
        ("abc", "xabc", ""),
        ("abc", "abab", "ab"),
        ("a+", "xaa", "aa"),
        ("a{2,3}", "aaaa", "aa"),
        ("a|abc", "xab", "ab"),
        ("(?i)secret", "my SECR", "SECR"),
        (r"\bab\b", "xab", ""),
        (r"\bab\b", "x ab", "ab"),
        (r"\bab\b", "ab ", ""),
        ("ab$", "ab", "ab"),
        ("^ab", "a", "a"),
        ("^ab", "xa", ""),
        ("(?m)^ab", "x\na", "a"),
        ("a.*b", "xa12", "a12"),
        ("a.*b", "xa1\n2", ""),
        ("(?s)a.*b", "xa1\n2", "a1\n2"),
        (r"\Qa.b\E+c", "a.bb", "a.bb"),
        ("[]a]b", "x]", "]"),
        ("[[:digit:]]+-", "x12", "12"),
        (r"\pL\d", "éé", "é"),
        ("(?P<word>ab)c", "a", "a"),
        ("x{,2}", "x{", "x{"),
        ("a{0}b", "a", ""),
        ("", "a", ""),
    ],
)
def test_what_is_held(source: str, text: str, expected: str) -> None:
    assert held(source, text) == expected


# Any pattern

atoms = st.sampled_from(
    ["a", "b", "-", ".", "[ab]", "[^a]", r"\w", r"\n", "(?s:.)", "(?i:A)", r"\Qa-\E"]
)
assertions = st.sampled_from([r"\b", r"\B", "^", "$", r"\A", r"\z", "(?m:^)", "(?m:$)"])
counts = st.sampled_from(["*", "+", "?", "*?", "{2}", "{1,2}", "{0,2}", "{2,}", "{0}"])


def longer(
    inner: st.SearchStrategy[str], counts: st.SearchStrategy[str] = counts
) -> st.SearchStrategy[str]:
    return (
        st.lists(inner, max_size=4).map("".join)
        | st.lists(inner, min_size=2, max_size=3).map(lambda parts: f"(?:{'|'.join(parts)})")
        | st.tuples(inner, counts).map(lambda pair: f"({pair[0]}){pair[1]}")
    )


patterns = st.recursive(atoms | assertions, longer, max_leaves=8)
# A match of these needs no more than four characters.
short_patterns = st.recursive(
    st.sampled_from(["a", "b", "-", ".", "[ab]", "[^a]", r"\w", "(?i:A)"]),
    lambda inner: longer(inner, st.sampled_from(["*", "+?", "?", "{0,2}", "{1,3}", "{0}"])),
    max_leaves=4,
)


@settings(max_examples=1000, deadline=None)
@given(patterns, st.text(LETTERS, max_size=8))
def test_every_beginning_of_a_match_is_held(source: str, text: str) -> None:
    pattern, data = compile_pattern(source), text.encode()
    for begin in range(len(data) + 1):
        for start, end in pattern.matches(data, begin):
            for cut in range(start, end):
                found = ending(source).search(data[:cut], start)
                assert found == (start, cut), (start, end, cut)


@settings(max_examples=300, deadline=None)
@given(short_patterns, st.text(LETTERS, min_size=1, max_size=3))
def test_what_is_held_can_become_a_match(source: str, text: str) -> None:
    kept = held(source, text)
    if kept:
        whole = compile_pattern(rf"\A(?:{source})\z")
        more = ("".join(m) for n in range(1, 5) for m in product(LETTERS, repeat=n))
        assert any(whole.found_in(kept + end) for end in more)


@settings(max_examples=400, deadline=None)
@given(patterns, st.text(LETTERS, max_size=8))
def test_a_pattern_written_again_begins_to_match_at_the_same_place(source: str, text: str) -> None:
    data = text.encode()
    first = compile_pattern(source).search(data)
    again = compile_pattern(written(read(source))).search(data)
    assert (first and first[0]) == (again and again[0])


@settings(max_examples=400, deadline=None)
@given(patterns, st.lists(st.text("ab-", max_size=4), min_size=1, max_size=4))
def test_a_loose_pattern_finds_in_joined_texts_what_matches_one(
    source: str, texts: list[str]
) -> None:
    if any(compile_pattern(source).found_in(text) for text in texts):
        assert compile_pattern(written(read(source), loose=True)).found_in("\n".join(texts))


# What there is


@pytest.mark.parametrize("kind", DETECTORS)
def test_every_kind_can_be_read(kind: str) -> None:
    source = DETECTORS[kind].pattern
    assert ending(source).search(b"x ") == (2, 2)
    compile_pattern(written(read(source), loose=True))


@pytest.mark.parametrize("length", [31, 33, 999, MAX_ITEMS])
def test_a_long_pattern_is_no_deep_one(length: int) -> None:
    text = "ab" * (length // 2) + "c" * (length % 2)
    assert held(text, "x" + text[:-1]) == text[:-1]


@pytest.mark.parametrize(
    "source",
    [r"\C", "a" * (MAX_ITEMS + 1), "(" * (MAX_DEPTH + 1) + ")" * (MAX_DEPTH + 1)],
    ids=["any-byte", "long", "deep"],
)
def test_what_is_not_read_is_said(source: str) -> None:
    with pytest.raises(Unreadable):
        read(source)


@settings(max_examples=1000, deadline=None)
@given(st.text(r"ab\QEdpLx{}[]()^$|*+?.,:-01imsP<>", max_size=12))
def test_whatever_re2_accepts_is_read_rightly_or_not_at_all(source: str) -> None:
    try:
        pattern = compile_pattern(source)
        node = read(source)
    except (BadPattern, Unreadable):
        return
    again = compile_pattern(written(node))
    for text in ("", "ab", "a-b\nQE", "\\01", "[]{}", "xE(", source):
        first, second = pattern.search(text.encode()), again.search(text.encode())
        assert (first and first[0]) == (second and second[0]), text
