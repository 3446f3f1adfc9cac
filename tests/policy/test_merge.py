"""Merging a patch into a policy (RFC 7396), and saying what changed."""

from __future__ import annotations

from typing import Any

import pytest

from tokenomics.policy.merge import differences, merge_patch


@pytest.mark.parametrize(
    ("target", "patch", "result"),
    # RFC 7396, appendix A
    [
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b"}, {"a": None}, {}),
        ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
        (["a", "b"], ["c", "d"], ["c", "d"]),
        ({"a": "b"}, ["c"], ["c"]),
        ({"a": "foo"}, None, None),
        ({"a": "foo"}, "bar", "bar"),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
        ([1, 2], {"a": "b", "c": None}, {"a": "b"}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
    ],
    ids=str,
)
def test_a_patch_is_merged_as_the_rfc_says(target: Any, patch: Any, result: Any) -> None:
    before = repr(target)
    assert merge_patch(target, patch) == result
    assert repr(target) == before


def test_every_difference_is_one_line_with_its_place() -> None:
    old = {"max_tokens": 5, "model": "a", "retry": {"max_retries": 1}}
    new = {"max_tokens": 7, "retry": {"max_retries": 1, "fallbacks": ["b"]}}
    assert list(differences(old, new)) == [
        "~ max_tokens: 5 -> 7",
        '- model: "a"',
        '+ retry.fallbacks: ["b"]',
    ]


def test_equal_policies_differ_in_nothing() -> None:
    assert list(differences({"a": [1, {"b": 2}]}, {"a": [1, {"b": 2}]})) == []
