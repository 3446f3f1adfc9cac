"""What a policy's rules and prompts make of a request: from an Ask and a Target to bytes."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import trio

from tokenomics.dialects import openai
from tokenomics.dialects.openai import Ask, Endpoint
from tokenomics.errors import Refusal
from tokenomics.policy.limits import Lease
from tokenomics.policy.route import Target
from tokenomics.policy.rules import Finding, inspect

# A body above this is parsed, or inspected, in a thread: it would hold up everybody else for more
# than a few milliseconds. Below, the thread itself costs more than it gives.
PARSE_THREAD_BYTES = 2 << 20
INSPECT_THREAD_BYTES = 128 << 10
# Making a million small values holds up everybody for seconds, thread or no thread. The longest
# prose that a body can hold has about as many commas as this.
MAX_COMMAS = 250_000

Tell = Callable[[list[Finding]], None]


class Draft(NamedTuple):
    """A request as a target's rules let it pass: `masked` has one text per text of the Ask, and is
    None where no rule looked; `blocked` is set if it may not pass at all."""

    ask: Ask
    target: Target
    masked: tuple[str, ...] | None = None
    findings: tuple[Finding, ...] = ()
    blocked: Refusal | None = None

    def body(self, lease: Lease) -> bytes:
        """The bytes for the provider, with what the lease allows. Raises Refusal."""
        return openai.rewrite(
            self.ask,
            model=self.target.model,
            masked=self.masked,
            prompts=[(p.role, p.content) for p in self.target.prompts],
            cap=lease.cap,
            bounded=lease.bounded,
            cap_key=self.target.provider.output_cap,
        )

    def under(self, target: Target) -> Draft | None:
        """The same draft for another target, if the same rules hold for it."""
        if target is self.target:
            return self
        return self._replace(target=target) if target.rules == self.target.rules else None


async def read(endpoint: Endpoint, body: bytes) -> Ask:
    """Read a request body. Raises Refusal, see `openai.read`."""
    if len(body) <= PARSE_THREAD_BYTES:
        return openai.read(endpoint, body)
    if body.count(b",") > MAX_COMMAS:
        raise Refusal("invalid_request", f"the request body has more than {MAX_COMMAS} values")
    return await trio.to_thread.run_sync(_read_all, endpoint, body)


def _read_all(endpoint: Endpoint, body: bytes) -> Ask:
    """All that the road asks of a body, so that nothing of it is left for the loop."""
    ask = openai.read(endpoint, body)
    ask.estimate_input()
    return ask


async def draft(ask: Ask, target: Target, tell: Tell) -> Draft:
    """Inspect a request under a target's rules; `tell` gets what matched.

    Raises Refusal `content_blocked` if a failing rule matched, or if rules apply and part of the
    input cannot be read.
    """
    if not target.rules:
        return Draft(ask, target)
    if len(ask.raw) <= INSPECT_THREAD_BYTES:
        made = _inspected(ask, target)
    else:
        made = await trio.to_thread.run_sync(_inspected, ask, target)
    if made.findings:
        tell(list(made.findings))
    if made.blocked is not None:
        raise made.blocked
    return made


def _inspected(ask: Ask, target: Target) -> Draft:
    if ask.blind:
        blind = Refusal(
            "content_blocked",
            "this token's rules inspect text, and token arrays cannot be inspected: send text",
            param=ask.endpoint.required,
        )
        return Draft(ask, target, blocked=blind)
    result = inspect([text.value for text in ask.texts], target.rules, "input")
    blocked = None
    if result.blocked is not None:
        index = target.rules.index(result.blocked.rule)
        message = f"request blocked by rule {index}: {result.blocked.message()}"
        blocked = Refusal("content_blocked", message)
    return Draft(ask, target, result.masked, result.findings, blocked)
