"""What a policy's rules and prompts make of a request: from an Ask and a Target to bytes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tokenomics.dialects import openai
from tokenomics.dialects.openai import Ask
from tokenomics.errors import Refusal
from tokenomics.policy.route import Target
from tokenomics.policy.rules import Finding, inspect

Tell = Callable[[list[Finding]], None]


@dataclass(frozen=True, slots=True)
class Draft:
    """A request as a target's rules let it pass."""

    ask: Ask
    target: Target
    masked: tuple[str, ...]

    def body(self, cap: int | None) -> bytes:
        """The bytes for the provider; `cap` bounds its output tokens."""
        prompts = [(p.role, p.content) for p in self.target.prompts]
        return openai.rewrite(
            self.ask,
            model=self.target.model,
            masked=self.masked,
            prompts=prompts,
            cap=cap,
            cap_key=self.target.provider.output_cap,
        )


def draft(ask: Ask, target: Target, tell: Tell) -> Draft:
    """Inspect a request under a target's rules; `tell` gets what matched.

    Raises Refusal `content_blocked` if a failing rule matched, or if rules apply and part of the
    input cannot be read.
    """
    if not target.rules:
        return Draft(ask, target, tuple(text.value for text in ask.texts))
    if ask.blind:
        raise Refusal(
            "content_blocked",
            "this token's rules inspect text, and token arrays cannot be inspected: send text",
            param=ask.endpoint.required,
        )
    result = inspect([text.value for text in ask.texts], target.rules, "input")
    if result.findings:
        tell(list(result.findings))
    if result.blocked is not None:
        index = target.rules.index(result.blocked.rule)
        raise Refusal(
            "content_blocked", f"request blocked by rule {index}: {result.blocked.message()}"
        )
    return Draft(ask, target, result.masked)
