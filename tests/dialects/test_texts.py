"""Finding texts in a document, and changing them without touching it."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tokenomics import strictjson
from tokenomics.dialects.texts import INSIDE, Key, Path, Text, Words, replaced, walk

NOTHING = Words(frozenset(), frozenset())


def values(node: Any, *skip: str) -> list[Text]:
    """The texts that are no keys."""
    found = walk(node, (), Words(frozenset(), frozenset(skip)))
    return [text for text in found if not isinstance((text.path or (None,))[-1], Key)]


def texts(node: Any, *skip: str) -> list[str]:
    return [text.value for text in values(node, *skip)]


@pytest.mark.parametrize(
    ("node", "path", "value"),
    [
        ("x", (), "x"),
        ({"a": ["", {"b": "x"}]}, ("a", 1, "b"), "x"),
        ({"arguments": '{"q": ["x"]}'}, ("arguments", INSIDE, "q", 0), "x"),
        ({"arguments": '{"q": 5.5}'}, ("arguments", INSIDE, "q"), "5.5"),
        ({"arguments": '"x"'}, ("arguments", INSIDE), "x"),
        ({"arguments": "4111111111111111"}, ("arguments", INSIDE), "4111111111111111"),
        ({"arguments": '{"q": "\\u0078"}'}, ("arguments", INSIDE, "q"), "x"),
        ({"arguments": "x {"}, ("arguments",), "x {"),
        ({"arguments": '{"a": "x", "a": "y"}'}, ("arguments",), '{"a": "x", "a": "y"}'),
        ({"arguments": {"q": "x"}}, ("arguments", "q"), "x"),
    ],
    ids=[
        "root",
        "nested",
        "inside",
        "number",
        "scalar",
        "digits",
        "escaped",
        "broken",
        "twice",
        "object",
    ],
)
def test_where_a_text_stands(node: Any, path: Path, value: str) -> None:
    assert Text(path, value) in list(walk(node, (), NOTHING))


def test_skipped_keys_hide_their_strings_and_nothing_below() -> None:
    node = {"id": "hidden", "url": {"text": "seen"}, "data": ["seen too"], "name": "also"}
    assert texts(node, "id", "url", "data") == ["seen", "seen too", "also"]


def test_inside_arguments_no_key_is_skipped() -> None:
    assert texts({"arguments": '{"id": "seen"}'}, "id") == ["seen"]


def test_booleans_nulls_and_numbers_outside_arguments_are_no_texts() -> None:
    assert texts({"a": True, "b": None, "c": 5, "arguments": '{"d": false, "e": null}'}) == []


def test_arguments_within_arguments_stay_within_the_stack() -> None:
    deep = "[" * (strictjson.MAX_DEPTH - 2) + '"x"' + "]" * (strictjson.MAX_DEPTH - 2)
    for _ in range(4):
        deep = json.dumps({"arguments": deep})
    assert any("x" in text for text in texts({"arguments": deep}))


documents = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=3), inner, max_size=3)
        | inner.map(lambda v: {"arguments": json.dumps(v)})
    ),
    max_leaves=10,
)


@settings(max_examples=100, deadline=None)
@given(st.dictionaries(st.text(max_size=2), documents), st.data())
def test_replacing_some_texts_changes_those_and_nothing_else(
    document: dict[str, Any], data: st.DataObject
) -> None:
    before = copy.deepcopy(document)
    found = values(document)
    chosen = data.draw(st.sets(st.sampled_from(range(len(found))))) if found else set()
    new = '"\\\n}{'  # what would break JSON if it were pasted in
    after = replaced(document, {found[i].path: new for i in chosen}) if chosen else document
    assert document == before
    expected = [new if i in chosen else text.value for i, text in enumerate(found)]
    assert texts(after) == expected


@pytest.mark.parametrize(
    ("node", "expected"),
    [
        ({"4111": 1}, ["4111"]),
        ({"arguments": '{"4111": {"b": 1}}'}, ["arguments", "4111", "b", "1"]),
        ({"known": [{"other": "x"}]}, ["other", "x"]),
    ],
    ids=["plain", "in-arguments", "below-a-known-one"],
)
def test_keys_that_the_dialect_does_not_know_are_texts(node: Any, expected: list[str]) -> None:
    words = Words(frozenset({"known"}), frozenset())
    assert [text.value for text in walk(node, (), words)] == expected


def test_a_key_is_renamed_in_its_place_and_no_value_is_lost() -> None:
    node = {"a": 1, "b": 2, "c": 3}
    assert list(replaced(node, {(Key("b"),): "X"}).items()) == [("a", 1), ("X", 2), ("c", 3)]
    both = replaced(node, {(Key("a"),): "X", (Key("c"),): "X"})
    assert list(both.values()) == [1, 2, 3]
    assert "a" not in both
    assert "c" not in both


def test_a_key_and_its_value_change_together() -> None:
    assert replaced({"a": "x"}, {(Key("a"),): "K", ("a",): "V"}) == {"K": "V"}


def test_what_is_not_on_the_way_is_shared() -> None:
    document = {"a": [{"t": "x"}], "b": [1, 2]}
    after = replaced(document, {("a", 0, "t"): "y"})
    assert after == {"a": [{"t": "y"}], "b": [1, 2]}
    assert after["b"] is document["b"]
