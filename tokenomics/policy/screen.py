"""STAND-IN until the real one is merged."""

from __future__ import annotations

from tokenomics.policy.rules import Finding, inspect


class Screen:
    def __init__(self, rules) -> None:  # type: ignore[no-untyped-def]
        self.rules = rules
        self.text = ""
        self.findings: list[Finding] = []
        self.blocked: Finding | None = None

    def feed(self, text: str) -> str:
        self.text += text
        return ""

    def end(self) -> str:
        r = inspect([self.text], self.rules, "output")
        self.findings = list(r.findings)
        self.blocked = r.blocked
        return r.masked[0]
