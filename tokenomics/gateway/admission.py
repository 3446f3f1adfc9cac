"""Taking a lease before the upstream call, letting it grow, and settling it exactly once after."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import TracebackType

from tokenomics.dialects.ask import Ask
from tokenomics.dialects.streams import LEAST_BYTES, MOST_BYTES, StreamReader
from tokenomics.dialects.usage import Usage as Counted
from tokenomics.policy.limits import DEFAULT_OUTPUT, FREE, Bill, Crossing, Denied, Lease, Want
from tokenomics.policy.route import Target
from tokenomics.prices import cost
from tokenomics.usage import Usage

# Output tokens that a stream holds at first. It asks for as many again when it comes near the end
# of what it holds: by then it is known to be a long one.
STEP = 256
MAX_STEP = 4096
NEAR = 64  # tokens beyond what flows; a provider may send as many before it hears to stop

Warn = Callable[[Sequence[Crossing]], None]


class Admission:
    """The lease of one request. As an async context manager it settles when left, with `bill`: what
    nobody has charged by then was not spent."""

    def __init__(
        self, usage: Usage, account: str, lease: Lease, ask: Ask, target: Target, warn: Warn
    ) -> None:
        self._usage = usage
        self._account = account
        self._ask = ask
        self._target = target
        self._warn = warn
        self.lease = lease
        self.bill = FREE

    async def __aenter__(self) -> Admission:
        return self

    async def __aexit__(
        self, _type: type[BaseException] | None, _e: BaseException | None, _t: TracebackType | None
    ) -> None:
        crossed = await self._usage.settle(self._account, self.lease, self.bill)
        if crossed:
            self._warn(crossed)

    @property
    def input_estimate(self) -> int:
        """Input tokens as estimated before the call."""
        return self.lease.want.input

    def charge(self, counted: Counted) -> None:
        """What the request has cost, as far as it is known."""
        price = self._target.price
        self.bill = Bill(counted.total, cost(counted, price) if price is not None else 0)

    async def cover(self, target: Target) -> Denied | None:
        """Hold what a fallback target costs, and bound its output; why not, if it does not fit."""
        want = want_of(self._ask, target)
        denied = await self._usage.move(self._account, self.lease, target.limits, want)
        if denied is None:
            self._target = target
            self.bound()
        return denied

    def bound(self) -> None:
        """Let the lease say what the target may write: its own `max_output` too."""
        most, asked = self._target.max_output, self._ask.output_cap
        if most and (asked is None or asked > most):
            self.lease.cap = most if self.lease.cap is None else min(self.lease.cap, most)
        self.lease.bounded = self.lease.bounded or bool(most)

    @property
    def held(self) -> int:
        """Output tokens that the request may have."""
        return self.lease.output

    def fits(self, reader: StreamReader, more: int) -> bool:
        """Whether enough is held for what has passed of a stream and so many tokens more, as these
        are estimated on the upper side.

        Only the provider counts tokens; here they are estimated. Where all that the provider may
        write is held, it stops by itself, and the estimate is on the lower side; else on the upper.
        """
        flowed, whole = self._flowed(reader)
        least = more * LEAST_BYTES / MOST_BYTES
        return flowed + (least if whole else more) <= self.lease.output

    async def grow(self, reader: StreamReader, more: int) -> bool:
        """Hold more for a stream: at least for so many tokens, if there are that many; whether
        there were."""
        held = self.lease.output
        flowed, whole = self._flowed(reader)
        wanted = max(flowed + more + NEAR - held, min(max(held, STEP), MAX_STEP))
        if self._ceiling is not None and not whole:
            wanted = min(wanted, self._ceiling - held)
        await self._usage.extend(self._account, self.lease, wanted)
        return self.fits(reader, more)

    def _flowed(self, reader: StreamReader) -> tuple[int, bool]:
        """Output tokens so far, and whether all that may come is held."""
        ceiling = self._ceiling
        if ceiling is not None and self.lease.output >= ceiling:
            return reader.generated_at_least(), True
        return reader.generated_at_most(), False

    @property
    def _ceiling(self) -> int | None:
        lease = self.lease
        return lease.cap if lease.cap is not None else lease.want.output


def prompt_tokens(target: Target) -> int:
    """Tokens of the prompts that the policy adds, on the upper side."""
    return sum(len(prompt.content) // 3 + 5 for prompt in target.prompts)


async def admit(
    usage: Usage, account: str, ask: Ask, target: Target, warn: Warn
) -> Admission | Denied:
    """Take everything a request needs, or nothing."""
    lease = await usage.admit(account, target.limits, want_of(ask, target))
    if isinstance(lease, Denied):
        return lease
    admission = Admission(usage, account, lease, ask, target, warn)
    admission.bound()
    return admission


def want_of(ask: Ask, target: Target) -> Want:
    """What a request asks for at a target."""
    input_, price = ask.estimate_input() + prompt_tokens(target), target.price
    own = ask.output_cap
    bounds = [n for n in (own, target.max_output or None) if n is not None]
    if own != 0 and price is not None and price.max_output:
        bounds.append(price.max_output * ask.choices)
    output = min(bounds, default=None)
    streams = ask.stream and output != 0
    want = Want(
        input=input_,
        output=output,
        choices=ask.choices,
        step=STEP * ask.choices if streams else 0,
        enough=DEFAULT_OUTPUT * ask.choices if own is None else 0,
    )
    if price is None or not target.limits.costs or ask.endpoint.free:
        return want
    # What is written to a cache for an hour, and sound, costs more.
    lasting, audio = b'"1h"' in ask.raw, b"audio" in ask.raw
    return want._replace(
        input_cost=price.input_cost(input_, lasting=lasting, audio=audio),
        output_cost=price.output_rate(input_, audio=audio),
    )
