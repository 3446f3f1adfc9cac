"""What is to be searched for under some rules: each pattern once, made ready and kept.

`regex` rules look at the text as it was written. `keyword` and `pii` rules look at the folded text,
in which digits and dashes of all alphabets are ASCII and characters that nobody sees are gone.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from tokenomics.policy.detectors import DETECTORS, fold
from tokenomics.policy.prefixes import Unreadable, begun, read, written
from tokenomics.policy.regexes import (
    LARGE_PATTERN_MEMORY,
    MAX_PATTERN_MEMORY,
    BadPattern,
    Pattern,
    compile_pattern,
)
from tokenomics.policy.rules import Rule
from tokenomics.policy.views import View

# Bytes that a stream holds back, at most, for what could still become a match. Longer than anything
# but a key block; so short that a reader hardly sees it come late.
HOLD = 4096
LONGEST_HOLD = 16 << 10  # for kinds that say they are longer: a block with a private key
MAX_HINTS = 2  # more of them cost as much as the search
# Instructions of RE2's. Patterns up to SMALL are joined as long as together they stay below JOINED:
# beyond, the states of its automaton do not fit into memory, and a search takes ten times as long.
SMALL = 2000
JOINED = 8000
PLANS = 512  # many tokens share few policies
# What is begun by a pattern that cannot be taken apart: anything.
ANYTHING = "(?s:.*)"

Refine = Callable[[str], Iterable[tuple[int, int]]]


@dataclass(frozen=True, slots=True)
class Look:
    """One pattern, and for whom it is searched: `users` are rules' indices and what they call it.

    `written`, `loose` and `begun` are what `prefixes` makes of the pattern; the first two are None
    where it cannot read it, and the last where no text's end can be the beginning of a match.
    """

    pattern: Pattern
    refine: Refine | None
    users: tuple[tuple[int, str], ...]
    masks: bool  # all matches count; otherwise one
    hold: int  # bytes
    hints: tuple[bytes, ...]  # one of which stands where it matches; none if there is no such list
    written: str | None
    loose: Pattern | None
    begun: str | None
    ending: Pattern  # of a text, that may become a match; empty if there is none

    def may_match(self, data: bytes) -> bool:
        """Whether a search is worth it. To look for a few bytes costs a tenth of a search."""
        return not self.hints or any(hint in data for hint in self.hints)

    def spans(self, view: View, start: int, end: int) -> list[tuple[int, int]]:
        """What of a match is meant, in characters of the text. None is empty."""
        if start == end:
            return []
        if self.refine is None:
            return [(view.start(start), view.end(end))]
        candidate = view.text(start, end)
        spans = []
        for first, last in self.refine(candidate):
            begin = start + len(candidate[:first].encode("utf-8", "surrogatepass"))
            length = len(candidate[first:last].encode("utf-8", "surrogatepass"))
            spans.append((view.start(begin), view.end(begin + length)))
        return spans


@dataclass(frozen=True, slots=True)
class Gate:
    """Looks that are searched in one go first, and one by one only where that found something. Each
    by itself, `pattern` is None."""

    pattern: Pattern | None
    looks: tuple[Look, ...]

    def opens(self, data: bytes) -> bool:
        """Whether one of the looks may match; also in texts that are joined by line breaks."""
        return self.pattern is None or self.pattern.search(data) is not None


@dataclass(frozen=True, slots=True)
class Group:
    """Looks at the same view of a text, and the gates to them. `any` finds where the first of them
    matches; None if that is not known, or costs more. `ending` finds what any of them waits for."""

    looks: tuple[Look, ...]
    gates: tuple[Gate, ...]
    folded: bool
    holds: bool  # whether a stream waits for these looks
    any: Pattern | None
    ending: Pattern

    def view(self, text: str, before: bytes = b"", behind: bytes = b"") -> View:
        """The text as these looks see it."""
        return View(text, fold if self.folded else None, before, behind)


@dataclass(frozen=True, slots=True)
class Plan:
    """All that the rules of a policy look for in one direction; `judges` are the indices of its
    `jailbreak` rules. `rules` are those of the direction."""

    rules: tuple[Rule, ...]
    groups: tuple[Group, ...]
    judges: tuple[int, ...]


@functools.lru_cache(maxsize=PLANS)
def plan_for(rules: tuple[Rule, ...], direction: str) -> Plan:
    """The plan of the rules that cover `direction`."""
    rules = tuple(rule for rule in rules if rule.covers(direction))
    wanted: dict[_Search, list[tuple[int, str]]] = {}
    for i, rule in enumerate(rules):
        for search, what in _searches(rule):
            wanted.setdefault(search, []).append((i, what))
    sorted_: dict[tuple[bool, bool], list[Look]] = {}
    for search, users in wanted.items():
        actions = {rules[i].action for i, _ in users}
        look = _look(search, tuple(users), "mask" in actions)
        sorted_.setdefault((search[1], not actions.isdisjoint(("mask", "fail"))), []).append(look)
    groups = tuple(_group(tuple(looks), *which) for which, looks in sorted_.items())
    judges = tuple(i for i, rule in enumerate(rules) if rule.type == "jailbreak")
    return Plan(rules, groups, judges)


# A pattern, whether it looks at the folded text, how a match is refined, its longest match or 0,
# and its hints.
_Search = tuple[str, bool, Refine | None, int, tuple[str, ...]]


def _searches(rule: Rule) -> Iterator[tuple[_Search, str]]:
    """What a rule searches for, and what it is called."""
    if rule.pattern is not None:
        source = rule.pattern.source
        folded = rule.type == "keyword"
        yield (source, folded, None, 0, ()), rule.type
        if folded and not source.isascii():  # folding changes the word itself, perhaps
            yield (source, False, None, 0, ()), rule.type
    for kind in rule.kinds:
        detector = DETECTORS[kind]
        hints = detector.hint or ()
        hints = hints if len(hints) <= MAX_HINTS else ()
        yield (detector.pattern, True, detector.refine, detector.longest or 0, hints), kind


def _look(search: _Search, users: tuple[tuple[int, str], ...], masks: bool) -> Look:
    source, _, refine, longest, hints = search
    hold = min(max(HOLD, longest), LONGEST_HOLD)
    memory = LARGE_PATTERN_MEMORY if refine is not None else MAX_PATTERN_MEMORY
    pattern = compile_pattern(source, memory)
    try:
        node = read(source)
    except Unreadable:
        plain, loose = None, None
        begins: str | None = ANYTHING
    else:
        plain, loose = written(node), _known(written(node, loose=True), memory)
        begins = begun(node)
    return Look(
        pattern=pattern,
        refine=refine,
        users=users,
        masks=masks,
        hold=hold,
        hints=tuple([hint.encode() for hint in hints]),
        written=plain,
        loose=loose,
        begun=begins,
        ending=_ending([begins]),
    )


def _group(looks: tuple[Look, ...], folded: bool, holds: bool) -> Group:
    any_ = _either([look.written for look in looks])
    if any_ is not None and any_.size > JOINED:
        any_ = None
    ending = _ending([look.begun for look in looks])
    return Group(looks, tuple(_gates(looks)), folded, holds, any_, ending)


def _gates(looks: Sequence[Look]) -> Iterator[Gate]:
    together: list[Look] = []
    size = 0
    for look in looks:
        if look.loose is None or look.hints or look.loose.size > SMALL:
            yield Gate(None, (look,))
            continue
        if size + look.loose.size > JOINED:
            yield _gate(together)
            together, size = [], 0
        together.append(look)
        size += look.loose.size
    if together:
        yield _gate(together)


def _gate(looks: Sequence[Look]) -> Gate:
    if len(looks) == 1:
        return Gate(None, tuple(looks))
    return Gate(_either([look.loose.source for look in looks if look.loose]), tuple(looks))


def _ending(begun: Sequence[str | None]) -> Pattern:
    sources = "|".join([*(source for source in begun if source is not None), ""])
    return _known(rf"(?:{sources})\z") or compile_pattern(ANYTHING + r"\z")


def _either(sources: Sequence[str | None]) -> Pattern | None:
    known = [f"(?:{source})" for source in sources if source is not None]
    return _known("|".join(known)) if len(known) == len(sources) else None


def _known(source: str, memory: int = MAX_PATTERN_MEMORY) -> Pattern | None:
    """The pattern, or None if it became too large for RE2."""
    try:
        return compile_pattern(source, memory)
    except BadPattern:
        return None
