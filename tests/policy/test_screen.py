"""Rules over a text that comes in pieces: the law, what is held, what blocks, what is forgotten."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from tokenomics.policy.regexes import compile_pattern, keyword_pattern
from tokenomics.policy.rules import MASK, Rule
from tokenomics.policy.scan import inspect
from tokenomics.policy.screen import Screen


def regex(source: str, action: str = "mask", name: str = "r", replacement: str = MASK) -> Rule:
    return Rule(name, "regex", action, "both", compile_pattern(source), (), replacement)


def pii(*kinds: str, action: str = "mask") -> Rule:
    return Rule("p", "pii", action, "both", None, kinds)


def keywords(*words: str, action: str = "mask") -> Rule:
    return Rule("k", "keyword", action, "both", keyword_pattern(words))


def jailbreak(threshold: float, action: str = "warn") -> Rule:
    return Rule("j", "jailbreak", action, "both", threshold=threshold)


def fed(screen: Screen, pieces: list[str]) -> list[str]:
    return [*(screen.feed(piece) for piece in pieces), screen.end()]


# The law

SOURCES = [
    "ab", "a+b", "a|ab", "ab|a", "(?:ab)+", "a.*b", "(?s)a.*?b", "a{2,4}b?", "b{3}", "a*", "",
    r"\bab\b", r"\Bb", r"a\b", r"a\B", r"^a", r"a$", r"\Aab", r"b\z", r"(?m)^a", r"(?m)b$", "^$",
    r"(?i)AB-", "[^a]b", "[[:alpha:]]+-", r"\d+-\d+", r"\w+@\w+", r"(?s).{3}", "a(?:b(?:-|é)?)?",
    "é+", r"\pL{2}1", "(a|b-)*1", r"-\z|^-", r"a\n?b", "(?U)a+b", r"\Qa.\E|b\x2d", ".",
    "(?:|a)b", r"a\b-", r"(?:\b|-)1", "a(?:$|b)", "1(?:2(?:3)?)?$",
]  # fmt: skip
LETTERS = "ab-1é.\n @A2"


@st.composite
def in_pieces(draw: st.DrawFn, alphabet: str = LETTERS) -> tuple[str, list[str]]:
    pieces = draw(st.lists(st.text(alphabet, max_size=5), max_size=12))
    return "".join(pieces), pieces


any_rule = st.builds(
    regex,
    st.sampled_from(SOURCES),
    st.sampled_from(["mask", "mask", "warn", "log"]),
    replacement=st.sampled_from(["#", "<>", ""]),
) | st.builds(
    keywords, st.sampled_from(["ab", "b-", "é", "a1"]), action=st.sampled_from(["mask", "warn"])
)


def check(rules: list[Rule], text: str, pieces: list[str]) -> None:
    screen = Screen(rules)
    got = "".join(fed(screen, pieces))
    whole = inspect([text], rules, "output")
    assert got == whole.masked[0]
    assert screen.findings == whole.findings


@settings(max_examples=3000, deadline=None)
@given(st.lists(any_rule, min_size=1, max_size=4), in_pieces())
def test_pieces_make_what_the_whole_makes(rules: list[Rule], fed_: tuple[str, list[str]]) -> None:
    check(rules, *fed_)
