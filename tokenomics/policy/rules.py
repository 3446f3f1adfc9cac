"""Content rules: what a text matches, and what is masked in it. Nothing here keeps matched text."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from tokenomics.policy.detectors import DETECTORS
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

    def hits(self, text: str) -> Iterator[tuple[int, int, str]]:
        """Every match in `text` as (start, end, what); what names the kind, never the text."""
        if self.pattern is not None:
            for start, end in self.pattern.spans(text):
                yield start, end, self.type
        for kind in self.kinds:
            for start, end in DETECTORS[kind].spans(text):
                yield start, end, kind

    def matches(self, text: str) -> Iterator[str]:
        """What matches anywhere in `text`, named once. An empty match is one too, as in Go."""
        if self.pattern is not None and self.pattern.found_in(text):
            yield self.type
        for kind in self.kinds:
            if next(DETECTORS[kind].spans(text), None) is not None:
                yield kind


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


def inspect(
    texts: Sequence[str], rules: Iterable[Rule], direction: str, joins: object = ()
) -> Inspection:
    """Apply every rule that covers `direction` to every text.

    All rules see the text as it was sent, so that masking one thing cannot hide another.
    """
    found: dict[Rule, dict[str, None]] = {}
    edits: list[list[tuple[int, int, str]]] = [[] for _ in texts]
    for rule in rules:
        if not rule.covers(direction):
            continue
        for i, text in enumerate(texts):
            if rule.action == "mask":
                for start, end, what in rule.hits(text):
                    found.setdefault(rule, {})[what] = None
                    edits[i].append((start, end, rule.replacement))
            else:
                for what in rule.matches(text):
                    found.setdefault(rule, {})[what] = None
    findings = tuple(Finding(rule, tuple(what)) for rule, what in found.items())
    blocked = next((f for f in findings if f.rule.action == "fail"), None)
    masked = tuple(
        _replace(text, spans) if spans else text for text, spans in zip(texts, edits, strict=True)
    )
    return Inspection(findings, masked, blocked)


def _replace(text: str, spans: list[tuple[int, int, str]]) -> str:
    """`text` with each span replaced; spans that overlap become one, by the first's text."""
    out: list[str] = []
    done = 0
    for start, end, replacement in sorted(spans, key=lambda s: (s[0], -s[1])):
        if start < done:
            done = max(done, end)
            continue
        out += (text[done:start], replacement)
        done = end
    out.append(text[done:])
    return "".join(out)
