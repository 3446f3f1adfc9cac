"""What a policy's rules and prompts make of a request: from an Ask and a Target to bytes."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable
from functools import partial
from typing import NamedTuple, TypeVar
from urllib.parse import unquote_plus

import trio

from tokenomics.dialects import endpoints
from tokenomics.dialects.ask import Ask, Endpoint
from tokenomics.dialects.rewrite import rewrite
from tokenomics.dialects.texts import joins
from tokenomics.dialects.translate.table import translation
from tokenomics.errors import Refusal
from tokenomics.net.heads import RequestHead
from tokenomics.policy.limits import Lease
from tokenomics.policy.route import Target
from tokenomics.policy.rules import Finding
from tokenomics.policy.scan import inspect

# A body above this is parsed in a thread: it would hold up everybody else for more than a few
# milliseconds. Below, the thread itself costs more than it gives.
PARSE_THREAD_BYTES = 2 << 20
# Small values are what takes long: to make one of `[1,1,...]` and to look at it take 0.4 us, one
# `{"a":1}` 3 us. A body above the one with more commas and openings than the other is read in a
# thread, too; counting them takes 0.1 ms for a full body. What is below takes 20 ms at most.
FEW_BYTES = 16 << 10
FEW_VALUES = 5_000
# The same for inspection. 100 KB take about 1 ms, but a pattern of a policy that RE2 has no
# automaton for may take 2 us a byte: 20 ms for this much. Searches let go of the interpreter.
INSPECT_THREAD_BYTES = 10 << 10
# Making a million small values holds up everybody for some tens of ms, thread or no thread. The
# longest prose that a body can hold has about as many commas as this.
MAX_COMMAS = 250_000
# The loop gets the interpreter back from one thread in 5 ms, but with each more it may lose the
# race for it again and again: with 40 threads for seconds. So long work waits for its turn, in one
# of two lanes, that what takes some ms need not wait for 30 MB.
LONG_BYTES = 256 << 10
# After each read and write the loop waits so long for the interpreter, while a thread has it: with
# Python's own 5 ms, twenty busy connections would make it 100 ms a round.
SWITCH_SECONDS = 0.0005
_LANES = (trio.CapacityLimiter(1), trio.CapacityLimiter(1))
JSON_TYPE = "application/json"

Tell = Callable[[list[Finding]], None]
Made = TypeVar("Made")


async def beside(size: int, work: Callable[[], Made]) -> Made:
    """Do work on so many bytes in a thread, when it is its turn, and give what it makes. Raises
    what it raises. Cancelling waits for the end of work that has begun."""
    sys.setswitchinterval(SWITCH_SECONDS)
    return await trio.to_thread.run_sync(work, limiter=_LANES[size > LONG_BYTES])


async def beside_if_long(size: int, work: Callable[[], Made]) -> Made:
    """The same for work that takes a thread only if it would hold up others."""
    return work() if size <= FEW_BYTES else await beside(size, work)


class Draft(NamedTuple):
    """A request as a target's rules let it pass: `masked` has one text per text of the Ask, and is
    None where no rule looked; `blocked` is set if it may not pass at all. `type` is the content
    type of the client's own bytes."""

    ask: Ask
    target: Target
    type: str
    masked: tuple[str, ...] | None = None
    findings: tuple[Finding, ...] = ()
    blocked: Refusal | None = None

    def body(self, lease: Lease) -> tuple[bytes, str]:
        """The request in the client's dialect, with what the lease allows, and its content type.
        Raises Refusal."""
        body, type_ = rewrite(
            self.ask,
            model=self.target.model,
            masked=self.masked,
            prompts=[(p.role, p.content) for p in self.target.prompts],
            cap=lease.cap,
            bounded=lease.bounded,
            cap_key=self.target.provider.output_cap,
        )
        return body, type_ or self.type

    async def sent(self, lease: Lease) -> tuple[bytes, str]:
        """The same in the provider's dialect: the last step before it goes out. Raises Refusal if
        it cannot be translated."""
        body, type_ = self.body(lease)
        way = translation(self.ask.endpoint, self.target.provider.speaks)
        if way is None:
            return body, type_
        price, cap_key = self.target.price, self.target.provider.output_cap
        most = price.max_output if price is not None else 0
        return await beside_if_long(len(body), partial(way.request, body, most, cap_key)), type_

    def under(self, target: Target) -> Draft | None:
        """The same draft for another target, if the same rules hold for it."""
        if target is self.target:
            return self
        return self._replace(target=target) if target.rules == self.target.rules else None


class Drafts:
    """The drafts of one request: one for each set of rules, made when a target first needs it. What
    they find is told once. Owned by the request."""

    def __init__(self, ask: Ask, content_type: str, tell: Tell) -> None:
        self._ask = ask
        self._type = content_type
        self._tell = tell
        self._made: list[Draft] = []
        self._told: set[Finding] = set()

    async def under(self, target: Target) -> Draft:
        """The draft for a target. Raises Refusal, see `draft`."""
        for made in self._made:
            if (own := made.under(target)) is not None:
                return own
        made = await draft(self._ask, target, self._type, self._news)
        self._made.append(made)
        return made

    def _news(self, findings: list[Finding]) -> None:
        new = [finding for finding in findings if finding not in self._told]
        self._told.update(new)
        if new:
            self._tell(new)


async def read(endpoint: Endpoint, body: bytes, head: RequestHead) -> Ask:
    """Read a request body. Raises Refusal, see `endpoints.read`."""
    ask = await _read(endpoint, body, head.get(b"content-type") or "")
    if head.query or endpoint.name == "open":
        ask.address = unquote_plus(f"{head.path}?{head.query}", errors="replace")
    return ask


async def _read(endpoint: Endpoint, body: bytes, content_type: str) -> Ask:
    if len(body) > FEW_BYTES and not endpoint.form:
        commas = body.count(b",")
        if commas > MAX_COMMAS:
            raise Refusal("invalid_request", f"the request body has more than {MAX_COMMAS} values")
        many = commas + body.count(b"[") + body.count(b"{") > FEW_VALUES
    else:
        many = False
    if not many and len(body) <= PARSE_THREAD_BYTES:
        return endpoints.read(endpoint, body, content_type)
    return await beside(len(body), partial(_read_all, endpoint, body, content_type))


def _read_all(endpoint: Endpoint, body: bytes, content_type: str) -> Ask:
    """All that the road asks of a body, so that nothing of it is left for the loop. Meanwhile no
    garbage is looked for: 100,000 new lists would have the whole heap looked through several times,
    which lets nobody else run, and a document holds no cycles."""
    gc.disable()
    try:
        ask = endpoints.read(endpoint, body, content_type)
        ask.estimate_input()
    finally:
        gc.enable()
    return ask


async def draft(ask: Ask, target: Target, content_type: str, tell: Tell) -> Draft:
    """Inspect a request under a target's rules; `tell` gets what matched.

    Raises Refusal `content_blocked` if a failing rule matched, or if rules apply and part of the
    input cannot be read.
    """
    if not target.rules:
        return _untouched(ask, target, content_type)
    made = await inspected(ask, target, content_type)
    if made.findings:
        tell(list(made.findings))
    if made.blocked is not None:
        raise made.blocked
    return made


async def inspected(ask: Ask, target: Target, content_type: str) -> Draft:
    """The same without telling and refusing."""
    untouched = _untouched(ask, target, content_type)
    if not any(rule.covers("input") for rule in target.rules):
        return untouched
    if len(ask.raw) <= INSPECT_THREAD_BYTES:
        return _inspected(untouched)
    return await beside(len(ask.raw), partial(_inspected, untouched))


def _untouched(ask: Ask, target: Target, content_type: str) -> Draft:
    # Whatever the client says its JSON is, it is read as UTF-8 and goes on as that.
    keep = ask.form is not None or not ask.document
    return Draft(ask, target, content_type if keep else JSON_TYPE)


def _inspected(untouched: Draft) -> Draft:
    ask, rules = untouched.ask, untouched.target.rules
    if ask.blind:
        blind = Refusal(
            "content_blocked",
            "this token's rules inspect text, and what was sent cannot be read as text (token"
            " arrays, bytes): send text",
            param=ask.endpoint.required or None,
        )
        return untouched._replace(blocked=blind)
    texts = [text.value for text in ask.texts]
    if ask.address:
        texts.append(ask.address)
    result = inspect(texts, rules, "input", joins(ask.texts))
    masked, blocked = result.masked[: len(ask.texts)], None
    if ask.address and result.masked[-1] is not ask.address:
        message = (
            "what a rule masks stands in the request's path or query, where no mask can be put"
        )
        blocked = Refusal("content_blocked", message)
    if result.blocked is not None:
        index = rules.index(result.blocked.rule)
        message = f"request blocked by rule {index}: {result.blocked.message()}"
        blocked = Refusal("content_blocked", message)
    return untouched._replace(masked=masked, findings=result.findings, blocked=blocked)
