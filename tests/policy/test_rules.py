"""What rules make of texts: findings, what blocks, what is masked."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tokenomics.policy.regexes import compile_pattern, keyword_pattern
from tokenomics.policy.rules import ACTIONS, MASK, Inspection, Rule
from tokenomics.policy.scan import inspect


def regex(source: str, action: str = "mask", name: str = "r", **more: str) -> Rule:
    return Rule(
        name, "regex", action, more.pop("scope", "input"), compile_pattern(source), (), **more
    )


def pii(*kinds: str, action: str = "mask") -> Rule:
    return Rule("p", "pii", action, "input", None, kinds)


def keywords(*words: str, action: str = "fail") -> Rule:
    return Rule("k", "keyword", action, "input", keyword_pattern(words))


def inspected(text: str, *rules: Rule) -> Inspection:
    return inspect([text], rules, "input")


# Actions


@pytest.mark.parametrize("action", ACTIONS)
def test_what_each_action_does(action: str) -> None:
    got = inspected("a secret", regex("secret", action))
    assert [f.rule.action for f in got.findings] == [action]
    assert (got.blocked is not None) == (action == "fail")
    assert got.masked == (("a " + MASK) if action == "mask" else "a secret",)


@pytest.mark.parametrize("action", ACTIONS)
def test_what_does_not_match_stays_the_same_object(action: str) -> None:
    text = "nothing " + "here"
    got = inspected(text, regex("secret", action))
    assert (got.findings, got.blocked) == ((), None)
    assert got.masked[0] is text


def test_the_first_failing_rule_blocks_even_behind_others() -> None:
    rules = [regex("a", "warn", "1"), regex("zz", "fail", "2"), regex("a", "fail", "3")]
    got = inspected("a", *rules, regex("a", "fail", "4"))
    assert got.blocked is not None
    assert got.blocked.rule.name == "3"
    assert [f.rule.name for f in got.findings] == ["1", "3", "4"]


def test_every_text_is_inspected_and_masked_in_its_place() -> None:
    got = inspect(["x 1", "y", "z 22"], [regex("[0-9]+")], "input")
    assert got.masked == (f"x {MASK}", "y", f"z {MASK}")
    assert len(got.findings) == 1


@pytest.mark.parametrize(
    ("scope", "input_", "output"),
    [("input", True, False), ("output", False, True), ("both", True, True)],
)
def test_scope_says_which_direction(scope: str, input_: bool, output: bool) -> None:
    rules = [regex("x", "fail", scope=scope)]
    assert bool(inspect(["x"], rules, "input").findings) == input_
    assert bool(inspect(["x"], rules, "output").findings) == output


@pytest.mark.parametrize("action", [a for a in ACTIONS if a != "mask"])
@pytest.mark.parametrize(("source", "text"), [("x*", "abc"), ("^$", ""), (r"\b", "a"), ("$", "a")])
def test_an_empty_match_is_one_as_in_go(source: str, text: str, action: str) -> None:
    found = inspected(text, regex(source, action)).findings
    assert [f.what for f in found] == [("regex",)]


def test_an_empty_match_masks_nothing() -> None:
    text = "abc"
    got = inspected(text, regex("x*"))
    assert got.findings == ()
    assert got.masked[0] is text


def test_what_matches_often_is_named_once() -> None:
    assert [f.what for f in inspected("aaa", regex("a")).findings] == [("regex",)]
    found = inspected("a@b.co c@d.co 123-45-6789", pii("email", "ssn")).findings
    assert [f.what for f in found] == [("email", "ssn")]


# Messages


@pytest.mark.parametrize(
    ("found", "text", "message"),
    [
        (regex("hunter[0-9]", "fail", "pw"), "hunter2", 'matched regex rule "pw"'),
        (keywords("hunter2"), "hunter2", 'matched keyword rule "k"'),
        (
            pii("ssn", "email"),
            "a@b.co 123-45-6789",
            'detected PII in rule "p": ssn, email',
        ),
    ],
    ids=["regex", "keyword", "pii"],
)
def test_a_finding_names_the_rule_and_never_the_text(found: Rule, text: str, message: str) -> None:
    [finding] = inspected(text, found).findings
    assert finding.message() == message


# Masks


@pytest.mark.parametrize(
    ("rules", "text", "masked"),
    [
        ([regex("b+")], "abbcb", f"a{MASK}c{MASK}"),
        ([regex("b", replacement="#")], "abc", "a#c"),
        ([regex("b", replacement="")], "abc", "ac"),
        ([regex("ab", replacement="1"), regex("bc", replacement="2")], "xabcx", "x1x"),
        ([regex("b", replacement="1"), regex("abc", replacement="2")], "xabcx", "x2x"),
        ([regex("a", replacement="1"), regex("b", replacement="2")], "ab", "12"),
        ([regex("a", replacement="1"), regex("1", replacement="2")], "a", "1"),
        ([regex("ö", replacement="o")], "😀öü", "😀oü"),
        ([pii("email", "ssn")], "né a@b.co, 123-45-6789", f"né {MASK}, {MASK}"),
        ([regex(r"(\w+)", replacement=r"\1$1")], "ab", r"\1$1"),
    ],
    ids=[
        "all",
        "own-text",
        "empty",
        "overlap",
        "inside",
        "beside",
        "not-masked-again",
        "wide",
        "kinds",
        "no-groups",
    ],
)
def test_what_a_mask_leaves(rules: list[Rule], text: str, masked: str) -> None:
    assert inspected(text, *rules).masked == (masked,)


def test_a_mask_hides_nothing_from_the_rules_behind_it() -> None:
    got = inspected("a secret", regex("secret"), keywords("secret"))
    assert got.blocked is not None
    assert got.masked == (f"a {MASK}",)


@settings(max_examples=200, deadline=None)
@given(
    st.text("abcdeö", max_size=20),
    st.lists(st.sampled_from(["a", "b+", "ab", "bc?d", "[cd]e", "ö", "e.a"]), min_size=1),
)
def test_masking_leaves_no_matched_character_and_all_others(text: str, sources: list[str]) -> None:
    rules = [regex(source, replacement="#") for source in sources]
    spans = [span for source in sources for span in compile_pattern(source).spans(text)]
    covered = {i for start, end in spans for i in range(start, end)}
    [masked] = inspected(text, *rules).masked
    assert masked.replace("#", "") == "".join(c for i, c in enumerate(text) if i not in covered)
