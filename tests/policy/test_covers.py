"""Whether an entry can never match: "yes" is certain, for both kinds of answers are tried out."""

from __future__ import annotations

import pytest

from tokenomics.policy.covers import covered
from tokenomics.policy.model import ModelSet
from tokenomics.policy.route import allows

ALL = ModelSet()


def regex(source: str) -> ModelSet:
    return ModelSet(regex=source)


def names(*each: str) -> ModelSet:
    return ModelSet(names=each)


@pytest.mark.parametrize(
    ("models", "earlier", "expected"),
    [
        (ModelSet("a"), [], False),
        (ModelSet("a"), [ALL], True),
        (ALL, [ModelSet("a")], False),
        (ALL, [ALL], True),
        (ALL, [regex(".*")], True),
        (ModelSet("gpt-4o"), [ModelSet("gpt-4o")], True),
        (ModelSet("gpt-4o"), [regex("^gpt")], True),
        (ModelSet("gpt-4o"), [regex("^gpt-4o$"), ModelSet("b")], True),
        (ModelSet("gpt-4o"), [names("gpt*")], True),
        (ModelSet("gpt-4o-mini"), [ModelSet("gpt-4o")], False),
        (regex("^gpt-4o-mini"), [regex("^gpt-4o")], True),
        (regex("^gpt-4o"), [regex("^gpt-4o-mini")], False),
        (regex("^gpt-4o$"), [ModelSet("gpt-4o")], True),
        (regex("^gpt-4o"), [ModelSet("gpt-4o")], False),
        (regex("^(gpt-4o-mini|o3-mini)"), [regex("^(gpt|o3|o4)")], True),
        (regex("^(gpt-4o-mini|o3-mini)"), [regex("^gpt")], False),
        (regex("^gpt-4.1"), [regex("^gpt-4")], False),  # nobody knows: `.` is any character
        (regex("^gpt-4\\.1"), [regex("^gpt-4")], True),
        (regex("mini"), [regex("mini")], True),
        (regex("mini$"), [regex("mini")], False),  # it is, but that takes more than this knows
        (names("gpt-4*", "o3"), [regex("^gpt"), ModelSet("o3")], True),
        (names("gpt-4*", "o3"), [regex("^gpt")], False),
        (names("*"), [regex("^gpt")], False),
        (names("*"), [names("*")], True),
        (names("gpt-4*"), [regex("^gpt-4$")], False),
        (ModelSet("a", "^b", ("c",)), [names("a", "b*"), ModelSet("c")], True),
        (ModelSet("a", "^b", ("c",)), [names("a", "b*")], False),
    ],
)
def test_sets_of_models(models: ModelSet, earlier: list[ModelSet], expected: bool) -> None:
    assert covered(models, earlier) == expected
    if not expected:
        return
    for name in ("gpt-4o", "gpt-4o-mini", "gpt-4", "gpt-4.1", "o3", "o3-mini", "a", "b", "bc", "c"):
        if allows(models, name, every=False):
            assert any(allows(other, name, every=False) for other in earlier), name
