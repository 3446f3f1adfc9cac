"""Reads the cases of gitleaks' rules from their Go source: literals, and keys made by pattern.

Not Go: one expression is a chain of literals, `secrets.NewSecret(PATTERN)` and
`fmt.Sprintf(FORMAT, ...)` joined by plus, as those files write it. What else is there is skipped.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

ALPHANUMERIC = "abcdefghijklmnopqrstuvwxyz0123456789"


@dataclass(slots=True)
class Rule:
    id: str
    true: list[str] = field(default_factory=list)
    false: list[str] = field(default_factory=list)


_TOKEN = re.compile(
    r"//[^\n]*|(?P<raw>`[^`]*`)|(?P<text>\"(?:\\.|[^\"\\])*\")|(?P<name>[A-Za-z_][\w.]*)"
    r"|(?P<mark>[-+(){},=:\[\]&*.])|\s+|(?P<other>.)",
    re.DOTALL,
)
# gitleaks' `utils`: its names for patterns.
_PATTERNS = {
    "Numeric": "[0-9]{%s}",
    "Hex": "[a-f0-9]{%s}",
    "AlphaNumeric": "[a-z0-9]{%s}",
    "AlphaNumericExtendedShort": "[a-z0-9_-]{%s}",
    "AlphaNumericExtended": "[a-z0-9=_\\-]{%s}",
    "AlphaNumericExtendedLong": "[a-z0-9\\/=_\\+\\-]{%s}",
    "Hex8_4_4_4_12": "[a-f0-9]{8}-[a-f0-9]{4}-[a-f0-9]{4}-[a-f0-9]{4}-[a-f0-9]{12}",
}


class _Skip(Exception):
    """Not in the part of Go that is read here."""


class _Reader:
    """Evaluates the expressions of one source."""

    def __init__(self, source: str, chance: random.Random) -> None:
        self.tokens = [
            (str(m.lastgroup), m[0]) for m in _TOKEN.finditer(source) if m.lastgroup is not None
        ]
        self.at = 0
        self.chance = chance

    def peek(self) -> tuple[str, str]:
        return self.tokens[self.at] if self.at < len(self.tokens) else ("end", "")

    def take(self) -> tuple[str, str]:
        token = self.peek()
        self.at += 1
        return token

    def expression(self) -> list[str]:
        """One or, for what makes several samples, more texts."""
        values = self.term()
        while self.peek() == ("mark", "+"):
            self.take()
            others = self.term()
            values = [a + b for a in values for b in others]
        return values

    def term(self) -> list[str]:
        kind, token = self.take()
        if kind == "raw":
            return [token[1:-1].replace("\r", "")]
        if kind == "text":
            return [json.loads(re.sub(r"\\x([0-9a-f]{2})", r"\\u00\1", token))]
        if kind == "name" and self.peek() == ("mark", "("):
            return self.call(token.rpartition(".")[2], self.arguments())
        raise _Skip(token)

    def arguments(self) -> list[list[str]]:
        self.take()
        found = []
        while self.peek() not in (("mark", ")"), ("end", "")):
            found.append(self.expression())
            if self.peek() == ("mark", ","):
                self.take()
        self.take()
        return found

    def call(self, name: str, arguments: list[list[str]]) -> list[str]:
        name = name[:1].upper() + name[1:]  # older ones have it as `alphaNumeric`
        if name in _PATTERNS:
            size = arguments[0] if arguments else [""]
            return [_PATTERNS[name].replace("%s", s) for s in size]
        if name in ("NewSecret", "NewSecretWithEntropy"):
            return [sample(arguments[0][0], self.chance)]
        if name == "Sprintf":
            text = arguments[0][0]
            for value in arguments[1:]:
                text = re.sub(r"%[sdv]", lambda _, v=value[0]: v, text, count=1)  # type: ignore[misc]
            return [text]
        if name in ("GenerateSampleSecret", "GenerateSampleSecrets"):
            label, value = arguments[0][0], arguments[1][0]
            return [
                f'{label}_api_token = "{value}"',
                f'{{\n    "config.ini": "{label.upper()}_TOKEN={value}\\nBACKUP_ENABLED=true"\n}}',
                f"{label}Token := `{value}`",
                f"  {label}_TOKEN: {value}",
                f'System.setProperty("{label.upper()}_TOKEN", "{value}")',
            ]
        raise _Skip(name)


def rules(source: str, chance: random.Random) -> Iterator[Rule]:
    """Each rule of a file with its true and its false positives."""
    reader = _Reader(source, chance)
    rule, into = None, None
    while reader.peek()[0] != "end":
        kind, token = reader.peek()
        if token == "RuleID":
            if rule is not None:
                yield rule
            reader.at += 2
            rule, into = Rule(reader.take()[1].strip('"')), None
            continue
        word = token.rpartition(".")[2].lower()
        if rule is not None and kind == "name" and word in ("tps", "fps"):
            into = rule.true if word == "tps" else rule.false
        elif kind == "name" and word == "return":
            into = None
        elif into is not None and word not in ("append", "validate", "string"):
            start = reader.at
            try:
                into += reader.expression()
                continue
            except (_Skip, IndexError, ValueError):
                reader.at = start
        reader.take()
    if rule is not None:
        yield rule


_PART = re.compile(
    r"\((?P<group>(?:\?:)?[^()]*)\)|\[(?P<set>(?:\\.|[^\]\\])+)\]|\\(?P<escape>.)|(?P<char>.)"
)
_TIMES = re.compile(r"\{(\d+)(?:,(\d*))?\}|[?*+]")


def sample(pattern: str, chance: random.Random) -> str:
    """A text that matches. Sets, groups of alternatives and counts are all that those rules use."""
    pattern = re.sub(
        r"\(\?[a-z-]+\)|\\b|\(\?i:", lambda m: "(" if m[0].endswith(":") else "", pattern
    )
    out, at = "", 0
    while at < len(pattern):
        part = _PART.match(pattern, at)
        if part is None:
            raise _Skip(pattern)
        at = part.end()
        times = _TIMES.match(pattern, at)
        least, most = 1, 1
        if times:
            at = times.end()
            if times[1]:
                least = int(times[1])
                most = int(times[2]) if times[2] else least + (20 if times[2] == "" else 0)
            else:
                least, most = {"?": (0, 1), "*": (0, 8), "+": (1, 8)}[times[0]]
        for _ in range(chance.randint(least, most)):
            out += _one(part, chance)
    return out


def _one(part: re.Match[str], chance: random.Random) -> str:
    if part["group"] is not None:
        return sample(chance.choice(part["group"].removeprefix("?:").split("|")), chance)
    if part["set"] is not None:
        return chance.choice(_members(part["set"]))
    if part["escape"] is not None:
        return chance.choice(_CLASSES.get(part["escape"], part["escape"]))
    return part["char"]


_CLASSES = {"d": "0123456789", "w": ALPHANUMERIC + "_"}


def _members(inside: str) -> str:
    inside = re.sub(r"\\w", "a-zA-Z0-9_", inside.replace("\\d", "0-9"))
    found = ""
    for span in re.finditer(r"\\(.)|(.)-([^\]\\])|(.)", inside):
        if span[2]:
            found += "".join(map(chr, range(ord(span[2]), ord(span[3]) + 1)))
        else:
            found += span[1] or span[4]
    return found
