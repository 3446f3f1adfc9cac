"""What is odd about the rules of a valid policy: those that match everything, nothing, or in vain.

Pure. Part of `advice`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from tokenomics.policy.jailbreak import DEFAULT_THRESHOLD
from tokenomics.policy.model import Policy
from tokenomics.policy.phrases import FAMILIES
from tokenomics.policy.places import rule_lists, rule_paths
from tokenomics.policy.rules import MASK, Rule

_PROBES = ("a", "The quick brown fox, 42.", "fn main() {}", "日本語")
_NO_LINES = re.compile(r"\(\?[a-zA-Z]*m")
# An anchor that the pattern before or behind it rules out; within a class it is a character.
_IMPOSSIBLE = re.compile(r"(?<!\\)[A-Za-z0-9]\^|(?<![\\|(])\$[A-Za-z0-9]")
_CLASS = re.compile(r"\[\^?\]?(?:\\.|[^\]\\])*\]")


def rules_that_match_wrongly(policy: Policy) -> Iterator[tuple[str, str]]:
    for path, rule in rule_paths(policy):
        source = rule.pattern.source if rule.type == "regex" and rule.pattern else ""
        if rule.pattern and rule.type == "regex":
            if all(rule.pattern.found_in(probe) for probe in _PROBES):
                what = {"fail": "every request is blocked", "mask": "more may be masked than meant"}
                yield f"{path}.pattern", f"matches every text: {what.get(rule.action, 'all match')}"
            if "\b" in source:
                yield f"{path}.pattern", r'has a backspace character: in JSON a \b is written "\\b"'
            bare = _CLASS.sub("x", source)
            if _IMPOSSIBLE.search(bare) and not _NO_LINES.search(source):
                yield f"{path}.pattern", "has a ^ or $ inside, which never holds there without (?m)"
        if rule.replacement != MASK and rule.action != "mask":
            yield f"{path}.replacement", f"has no use: the action is {rule.action}, not mask"
        if rule.type == "jailbreak":
            yield from _thresholds(path, rule)


def _thresholds(path: str, rule: Rule) -> Iterator[tuple[str, str]]:
    lightest = min(weight for groups in FAMILIES.values() for weight, _ in groups)
    most = sum(groups[0][0] for groups in FAMILIES.values())
    if rule.threshold > most:
        yield f"{path}.threshold", f"can never be reached: all families together weigh {most:g}"
    elif rule.threshold <= max(lightest, DEFAULT_THRESHOLD / 2):
        yield f"{path}.threshold", "is so low that ordinary requests (`act as a reviewer`) match"
    if rule.scope == "output":
        yield f"{path}.scope", "looks at what the model says: attempts are in the input"


def rules_that_add_nothing(policy: Policy) -> Iterator[tuple[str, str]]:
    names: dict[str, str] = {}
    for base, rules in rule_lists(policy):
        for i, rule in enumerate(rules):
            path = f"{base}[{i}]"
            named = not rule.name.startswith("rules[")
            if named and names.setdefault(rule.name, path) != path:
                message = f"{rule.name!r} is the name of {names[rule.name]} too: logs do not differ"
                yield f"{path}.name", message
            for j, other in enumerate(rules[:i]):
                if _same(rule, other):
                    yield path, f"is the same as {base}[{j}]"
                    break
            else:
                yield from _already_fails(path, rule, [*policy.rules, *rules[:i]])


def _same(rule: Rule, other: Rule) -> bool:
    keys = ("type", "action", "scope", "pattern", "kinds", "replacement", "threshold")
    return all(getattr(rule, key) == getattr(other, key) for key in keys)


def _already_fails(path: str, rule: Rule, others: list[Rule]) -> Iterator[tuple[str, str]]:
    """A rule that would mask or block what another one blocks."""
    blocked: set[str] = set()
    for other in others:
        if other is not rule and other.action == "fail" and other.scope in (rule.scope, "both"):
            blocked |= set(other.kinds)
    if rule.kinds and rule.action in ("fail", "mask") and blocked >= set(rule.kinds):
        yield path, "never acts: other rules block every kind that it looks for"
