"""Content rules and what they find. Nothing here keeps matched text.

`plan` makes of rules what is to be searched, `scan` applies it to whole texts, `screen` to streams.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tokenomics.policy.regexes import Pattern

MASK = "[REDACTED]"
ACTIONS = ("fail", "warn", "log", "mask")
SCOPES = ("input", "output", "both")


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule of a policy. `pattern` is set for `regex` and `keyword`, `kinds` for `pii`,
    `threshold` for `jailbreak`."""

    name: str
    type: str
    action: str
    scope: str
    pattern: Pattern | None = None
    kinds: tuple[str, ...] = ()
    replacement: str = MASK
    threshold: float = 1.0

    def covers(self, direction: str) -> bool:
        """Whether the rule looks at `direction`: "input" or "output"."""
        return self.scope in (direction, "both")

    @property
    def whats(self) -> tuple[str, ...]:
        """What it can find: its kinds, or its type."""
        return self.kinds if self.type == "pii" else (self.type,)


@dataclass(frozen=True, slots=True)
class Finding:
    """A rule that matched. `what` are the kinds or the rule's type."""

    rule: Rule
    what: tuple[str, ...]

    def message(self) -> str:
        """What happened, in the original's words, without the matched text."""
        if self.rule.type == "pii":
            return f'detected PII in rule "{self.rule.name}": {", ".join(self.what)}'
        return f'matched {self.rule.type} rule "{self.rule.name}"'


@dataclass(frozen=True, slots=True)
class Inspection:
    """What the rules say of a request's texts. `masked` has one text per inspected text, the same
    object where nothing changed. `blocked` is the first finding of a `fail` rule."""

    findings: tuple[Finding, ...]
    masked: tuple[str, ...]
    blocked: Finding | None


class Found:
    """What rules have matched so far in one request or answer, each kind of a rule once.

    The scans that share one own it together; it only ever grows.
    """

    __slots__ = ("_all", "_told", "failed", "rules")

    def __init__(self, rules: Sequence[Rule]) -> None:
        self.rules = rules
        self.failed = False
        self._all: set[tuple[int, str]] = set()
        self._told: set[tuple[int, str]] = set()

    def __contains__(self, match: tuple[int, str]) -> bool:
        return match in self._all

    def add(self, rule: int, what: str) -> None:
        """The rule with this index matched."""
        self._all.add((rule, what))
        self.failed = self.failed or self.rules[rule].action == "fail"

    @property
    def findings(self) -> tuple[Finding, ...]:
        """All so far, in the policy's order."""
        return self._findings(self._all)

    def news(self) -> tuple[Finding, ...]:
        """What was found since the last call."""
        fresh = self._all - self._told
        self._told |= fresh
        return self._findings(fresh) if fresh else ()

    @property
    def blocked(self) -> Finding | None:
        """The first finding of a failing rule, in the policy's order."""
        return next((f for f in self.findings if f.rule.action == "fail"), None)

    def _findings(self, matches: set[tuple[int, str]]) -> tuple[Finding, ...]:
        made = []
        for i in sorted({i for i, _ in matches}):
            rule = self.rules[i]
            made.append(Finding(rule, tuple(w for w in rule.whats if (i, w) in matches)))
        return tuple(made)
