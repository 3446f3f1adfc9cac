"""The detectors together: what holds for every kind, and how texts are folded."""

from __future__ import annotations

import sys
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.policy import test_detectors_pii as pii
from tests.policy import test_detectors_secrets as secrets
from tests.policy.detector_cases import marked, plain
from tokenomics.policy.detectors import DETECTORS, KINDS, fold

FOUND = {**pii.FOUND, **secrets.FOUND}
CLEAN = {**pii.CLEAN, **secrets.CLEAN}
EXAMPLES = [fold(plain(text))[0] for texts in (*FOUND.values(), *CLEAN.values()) for text in texts]

PROSE = """The meeting of 2024-10-31 at 12:30:45 covered versions 3.11 and 3.12. Build 1234567 took
99.5 % of 1,000,000 ms. See std::vec::Vec, a[1:2], {'key': 'value'}, https://example.com/a?b=c#d,
commit 5d41402abc4b2a76b9719d911017c592, uuid 123e4567-e89b-12d3-a456-426614174000, RFC 9110 §10.
`pip install foo==1.2.3`, 0.1234567890123456, [0.25, -1.5e-7], 1730372445123, +0100, #4155552671.
import { Component } from '@angular/core'; for (auto& x : std::views::iota(0, 10)) sum += x;
sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08 +3.5 % (2019-2023)"""


def test_every_kind_has_examples_of_both() -> None:
    assert set(FOUND) == set(CLEAN) == set(KINDS)


@pytest.mark.parametrize("kind", KINDS)
def test_prose_and_code_hold_nothing(kind: str) -> None:
    assert marked(kind, PROSE) == PROSE


@pytest.mark.parametrize("kind", KINDS)
def test_a_candidate_has_its_hint_and_its_bound(kind: str) -> None:
    detector = DETECTORS[kind]
    for text in (
        *EXAMPLES,
        " ".join(EXAMPLES),
        "7" * 5000,
        "+7" + " - 7" * 500,
        "7 - " * 2000,
        "a1" * 3000,
    ):
        for start, end in detector.compiled().spans(text):
            if detector.hint is not None:
                assert any(hint in text[start:end] for hint in detector.hint)
            if detector.longest is not None:
                assert end - start <= detector.longest


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from(EXAMPLES) | st.text("07 .-+@:a\\n", max_size=8), max_size=6))
def test_spans_are_in_order_and_never_empty(parts: list[str]) -> None:
    text = "".join(parts)
    for detector in DETECTORS.values():
        done = 0
        for start, end in detector.spans(text):
            assert done <= start < end <= len(text)
            done = end


# --- Folding


@pytest.mark.parametrize(
    ("text", "folded"),
    [
        ("plain", "plain"),
        ("né ö 日本", "né ö 日本"),
        ("١٢٣ ४५ ７８ 𝟗", "123 45 78 9"),
        ("a‐b‑c–d—e−f－g", "a-b-c-d-e-f-g"),
        ("a\u00a0b\u2003c\u3000d", "a b c d"),
        ("ａ＠ｂ．ｃ：／", "a@b.c:/"),
        ("a\u200bb\u200cc\u200dd\u2060e\ufefff\u00adg", "abcdefg"),
        ("𝐚𝒃ｃ ﹫ ①", "abc @ 1"),
    ],
)
def test_other_ways_to_write_it(text: str, folded: str) -> None:
    assert fold(text)[0] == folded


def test_ascii_is_returned_as_it_is() -> None:
    text = "a" * 10
    assert fold(text)[0] is text
    assert fold(text)[1] is None


def test_where_no_character_went_places_are_the_same() -> None:
    assert fold("１-２") == ("1-2", None)
    assert fold("1\u200b2\u200b") == ("12", [0, 2, 4])


def test_every_digit_dash_and_space_of_unicode_is_folded() -> None:
    wanted = {"Nd": "0123456789", "Pd": "-", "Zs": " "}
    for code in range(sys.maxunicode):
        category = unicodedata.category(chr(code))
        # Newer Unicode has a dash in a script that no text of ours uses.
        if category in wanted and chr(code) not in "\u1680\U00010d6e\U00010ead":
            assert fold(chr(code))[0] in tuple(wanted[category]), hex(code)


_ODD = st.text("a1 \u200b\u00ad１－\u00a0é日😀\ufe0f\u200d", max_size=12)


@settings(max_examples=200, deadline=None)
@given(_ODD, _ODD)
def test_folding_parts_is_folding_the_whole(a: str, b: str) -> None:
    assert fold(a + b)[0] == fold(a)[0] + fold(b)[0]
    folded, places = fold(a + b)
    if places is None:
        assert len(folded) == len(a + b)
    else:
        assert len(places) == len(folded) + 1
        assert places[-1] == len(a + b)
        assert [*places] == sorted(set(places))
        for char, place in zip(folded, places, strict=False):
            assert fold((a + b)[place])[0] == char
