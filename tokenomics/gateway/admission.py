"""Taking a lease before the upstream call, and settling it exactly once after."""

from __future__ import annotations

import math
from types import TracebackType

from tokenomics.dialects.ask import Ask
from tokenomics.errors import Headers, Refusal
from tokenomics.policy.limits import MAX_RETRY_AFTER, Denied, Lease, Want
from tokenomics.policy.model import Policy
from tokenomics.policy.route import Target
from tokenomics.usage import Usage


class Admission:
    """The lease of one request. As an async context manager it settles when left, with `cost`: what
    nobody has set by then was not spent."""

    def __init__(self, usage: Usage, hash_: str, lease: Lease, want: Want, ask: Ask) -> None:
        self._usage = usage
        self._hash = hash_
        self._want = want
        self._ask = ask
        self._admitted = (lease.cap, lease.bounded)
        self.lease = lease
        self.cost = 0

    async def __aenter__(self) -> Admission:
        return self

    async def __aexit__(
        self, _type: type[BaseException] | None, _e: BaseException | None, _t: TracebackType | None
    ) -> None:
        await self._usage.settle(self._hash, self.lease, self.cost)

    @property
    def input_estimate(self) -> int:
        """Input tokens as estimated before the call."""
        return self._want.input

    async def cover(self, target: Target) -> bool:
        """Hold the budgets that cover a fallback target and bound its output; False if one of them
        has no room."""
        denied = await self._usage.move(self._hash, self.lease, target.budgets, self._want)
        if denied is None:
            self.bound(target)
        return denied is None

    def bound(self, target: Target) -> None:
        """Let the lease say what `target` may write: its own `max_output`, within what was admitted
        for the first target if any limit counts that."""
        cap, counted = self._admitted
        bounds = [target.max_output] if target.max_output else []
        if counted and self._want.output is not None:
            bounds.append(self._want.output)
        most = min(bounds, default=None)
        if most is not None and (self._ask.output_cap is None or self._ask.output_cap > most):
            cap = most if cap is None else min(cap, most)
        self.lease.cap, self.lease.bounded = cap, counted or bool(target.max_output)


def prompt_tokens(target: Target) -> int:
    """Tokens of the prompts that the policy adds, on the upper side."""
    return sum(len(prompt.content) // 3 + 5 for prompt in target.prompts)


async def admit(
    usage: Usage, hash_: str, policy: Policy, ask: Ask, target: Target
) -> Admission | Denied:
    """Take everything a request needs, or nothing."""
    want = want_of(ask, target)
    lease = await usage.admit(hash_, policy.rate_limit, target.budgets, want)
    if isinstance(lease, Denied):
        return lease
    admission = Admission(usage, hash_, lease, want, ask)
    admission.bound(target)
    return admission


def want_of(ask: Ask, target: Target) -> Want:
    """What a request asks for at a target."""
    return Want(ask.estimate_input() + prompt_tokens(target), _output(ask, target), ask.choices)


def _output(ask: Ask, target: Target) -> int | None:
    """The output tokens that a request can cost: the smaller of its own bound and the policy's."""
    if not target.max_output or ask.output_cap is None:
        return target.max_output or ask.output_cap
    return min(ask.output_cap, target.max_output)


def refusal(denied: Denied) -> Refusal:
    """The answer to a request that was not admitted. A rate 429 says when to come back; an
    exhausted budget tells SDKs not to try again."""
    headers: Headers = (("x-should-retry", "false"),)
    if denied.retry_after is not None:
        seconds = min(max(math.ceil(denied.retry_after), 1), MAX_RETRY_AFTER)
        headers = (("retry-after", str(seconds)),)
    return Refusal(denied.code, denied.message, headers=headers)
