"""Budgets, rate windows and parallelism of one token: taken in one step, settled exactly once.

A token's state is its `Counts`. `admit` checks everything a request needs and takes it all, or
takes nothing and says why. What it took is a `Lease`; `extend` lets it hold more, `move` lets it
hold something else, `settle` ends it with what the request really cost. The law of every limit:
settled + held <= limit after each step that takes.

Times are epoch seconds, passed in. Nothing here waits, and nothing knows where accounts live.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from tokenomics.policy.counts import Counts, History
from tokenomics.policy.meters import COST, REQUESTS, TOKENS, Due, Limit

# Output tokens held for a choice of a request whose model writes nobody knows how much: no cap is
# set while that much is left, for models differ in what they take. So a model that writes longer
# answers, unstreamed, can exceed its budget by the difference; `max_output_tokens` in the policy or
# `max_output` in providers.yaml closes that.
DEFAULT_OUTPUT = 16384
# A cap below this cuts an answer to nothing useful; refusing tells the client more.
LEAST_OUTPUT = 16
HELD_RETRY_SECONDS = 1.0  # when running requests have to end first, nobody knows when they will
MAX_RETRY_AFTER = 60  # seconds; some SDKs sleep out whatever they are told


class Want(NamedTuple):
    """What a request asks for: input tokens, on the upper side, and output tokens. `output` is what
    can come at most, of all `choices` together; None if nobody knows, 0 for endpoints that generate
    none. `step` is how much of it is held at first, by a request that can `extend`; 0 for all. One
    that cannot is content with `enough`, where others hold the rest; 0 if with nothing less. Costs
    are nanodollars, of the input as a whole and per output token."""

    input: int
    output: int | None
    choices: int = 1
    step: int = 0
    enough: int = 0
    input_cost: int = 0
    output_cost: int = 0


class Bill(NamedTuple):
    """What a request has cost: tokens, nanodollars."""

    tokens: int = 0
    cost: int = 0


FREE = Bill()


@dataclass(frozen=True, slots=True)
class Denied:
    """Why a request was not admitted. `code` is an error code; `limit`, `used` and `input` are in
    `unit`; `retry_after` is in seconds, None if waiting does not help; `resets_at` is when an
    exhausted budget begins anew (epoch seconds), None for never."""

    code: str
    message: str
    unit: str
    limit: int
    used: int
    input: int
    retry_after: float | None = None
    resets_at: float | None = None


class Crossing(NamedTuple):
    """A budget of which a part (`warn_at`) has now been spent."""

    limit: Limit
    part: float
    used: int


@dataclass(slots=True)
class Hold:
    """What a lease holds in one limit: what was counted, by ticket."""

    due: Due
    tickets: list[tuple[Any, int]] = field(default_factory=list)


@dataclass(slots=True)
class Lease:
    """What one request holds: `input` and `output` tokens of what it wants. `cap` is the most
    output tokens the provider may be asked for; None where what the client asks for fits, so that
    its request goes on unchanged. `bounded` tells whether any limit counts its tokens. `standing`
    has each limit's total right after the lease was taken. `id` names it where others keep it."""

    want: Want
    output: int
    cap: int | None
    bounded: bool
    holds: list[Hold]
    standing: tuple[tuple[Due, int], ...] = ()
    id: str = ""
    open: bool = True


def prices(limit: Limit, want: Want) -> tuple[int, int]:
    """What a request takes of a limit: for itself, and per output token."""
    if limit.unit == TOKENS:
        return want.input, 1
    if limit.unit == COST:
        return want.input_cost, want.output_cost
    return 1, 0


class Fit(NamedTuple):
    """What of a request's output fits: `held` now, up to `cap` at all."""

    held: int
    cap: int | None


def admit(
    counts: Counts, parallel: int, dues: tuple[Due, ...], want: Want, now: float
) -> Lease | Denied:
    """Take everything a request needs, or nothing.

    What is settled bounds the answer (`Lease.cap`); what other requests hold has to be waited for,
    unless this one can begin with less and extend.
    """
    if parallel and (running := counts.running()) >= parallel:
        return parallel_denied(parallel, running, want)
    found = _up_to_date(counts, dues, now)
    fit = _fit(found, want, now)
    if isinstance(fit, Denied):
        return fit
    lease = Lease(want, fit.held, fit.cap, _bounded(dues), [])
    _take(found, lease, now)
    counts.enter()
    return lease


def extend(counts: Counts, lease: Lease, output: int, now: float) -> int:
    """Hold up to so many more output tokens; how many there were."""
    found = [(hold, counts.history(hold.due, now)) for hold in lease.holds]
    for hold, history in found:
        _, per = prices(hold.due.limit, lease.want)
        if per:
            history.expire(now)
            output = min(output, int(hold.due.limit.most - history.total) // per)
    if output <= 0:
        return 0
    for hold, history in found:
        _, per = prices(hold.due.limit, lease.want)
        if per:
            hold.tickets.append((history.add(per * output, now, held=per * output), per * output))
    lease.output += output
    return output


def move(
    counts: Counts, lease: Lease, dues: tuple[Due, ...], want: Want, now: float
) -> Denied | None:
    """Let a lease hold what another target costs, for a fallback: other budgets cover it, at other
    prices. It still counts as the one request it is. Where that does not fit, it holds nothing
    until it is moved again."""
    for hold in lease.holds:
        if hold.due.limit.unit != REQUESTS:
            _give_back(counts.history(hold.due, now), hold)
    requests = [hold for hold in lease.holds if hold.due.limit.unit == REQUESTS]
    found = _up_to_date(counts, [due for due in dues if due.limit.unit != REQUESTS], now)
    fit = _fit(found, want, now)
    if isinstance(fit, Denied):
        return fit
    lease.want, lease.output, lease.cap = want, fit.held, fit.cap
    lease.bounded, lease.holds = _bounded(dues), requests
    lease.standing = tuple(s for s in lease.standing if s[0].limit.unit == REQUESTS)
    _take(found, lease, now)
    return None


def settle(counts: Counts, lease: Lease, bill: Bill, now: float) -> list[Crossing]:
    """End a lease with what it cost; the budgets that have come to a part to warn at. A second call
    is a bug and raises."""
    if not lease.open:
        raise RuntimeError("a lease was settled twice")
    lease.open = False
    counts.leave()
    crossed: list[Crossing] = []
    for hold in lease.holds:
        limit = hold.due.limit
        if limit.unit == REQUESTS:
            continue
        history = counts.history(hold.due, now)
        history.expire(now)  # or what a lease that holds nothing adds would revive what has left
        before = int(history.total - history.held)
        _charge(history, hold, bill.tokens if limit.unit == TOKENS else bill.cost, now)
        after = int(history.total - history.held)
        crossed += crossings(limit, before, after)
    return crossed


def crossings(limit: Limit, before: int, after: int) -> Iterable[Crossing]:
    """The last part to warn at that lies between two amounts spent."""
    parts = [part for part in limit.warn_at if before < part * limit.most <= after]
    return [Crossing(limit, parts[-1], after)] if parts else []


Found = list[tuple[Due, History]]


def _up_to_date(counts: Counts, dues: Iterable[Due], now: float) -> Found:
    found = []
    for due in dues:
        history = counts.history(due, now)
        history.expire(now)
        found.append((due, history))
    return found


def _bounded(dues: Iterable[Due]) -> bool:
    return any(due.limit.unit != REQUESTS for due in dues)


def _fit(found: Found, want: Want, now: float) -> Fit | Denied:
    """How much output fits beside what is settled, and beside what is held."""
    whole = whole_output(want)
    least = min(LEAST_OUTPUT * want.choices, whole)
    room = whole
    for due, history in found:
        base, per = prices(due.limit, want)
        free = due.limit.most - int(history.total - history.held) - base
        if free < per * least:
            return full_denied(due, history, want, least, now)
        room = min(room, free // per) if per else room
    first = min(want.step or room, room)
    available, tightest = room, None
    for due, history in found:
        base, per = prices(due.limit, want)
        free = due.limit.most - int(history.total) - base
        fits = free // per if per else (available if free >= 0 else -1)
        if fits < available:
            available, tightest = fits, (due, int(history.total))
    needed = min(least if want.step else want.enough or first, first)
    if available < needed and tightest is not None:
        return held_denied(*tightest, want)
    held = min(first, available)
    most = min(room, available) if want.step else held
    return Fit(held, most if most < whole else None)


def _take(found: Found, lease: Lease, now: float) -> None:
    for due, history in found:
        base, per = prices(due.limit, lease.want)
        amount = base + per * lease.output
        held = 0 if due.limit.unit == REQUESTS else amount
        lease.holds.append(Hold(due, [(history.add(amount, now, held=held), amount)]))
    lease.standing += tuple((due, int(history.total)) for due, history in found)


def _give_back(history: History, hold: Hold) -> None:
    for ticket, amount in hold.tickets:
        history.settle(ticket, amount, 0)
    hold.tickets.clear()


def _charge(history: History, hold: Hold, cost: int, now: float) -> None:
    """Count what a request cost where it was held: each ticket up to what it holds, the last one
    the rest."""
    tickets = hold.tickets or [(history.add(0, now), 0)]
    for ticket, amount in tickets[:-1]:
        part = min(cost, amount)
        history.settle(ticket, amount, part)
        cost -= part
    ticket, amount = tickets[-1]
    history.settle(ticket, amount, cost)


def whole_output(want: Want) -> int:
    """The output tokens that a request can cost, or as many as are held where nobody knows."""
    return DEFAULT_OUTPUT * want.choices if want.output is None else want.output


# What is said to who was not admitted.


def parallel_denied(parallel: int, running: int, want: Want) -> Denied:
    """As many requests run as may."""
    message = f"{running} requests of this token are running (max {parallel})"
    return Denied(
        "too_many_parallel", message, REQUESTS, parallel, running, want.input, HELD_RETRY_SECONDS
    )


def held_denied(due: Due, used: int, want: Want) -> Denied:
    """What running requests hold leaves no room; they may give it back."""
    limit = due.limit
    what = (
        f"a rate of {limit.most} tokens in {limit.window:g} s"
        if limit.window
        else f"budget {limit.name!r} of {limit.amount(limit.most)}"
    )
    message = (
        f"running requests of this token hold what is left of {what} until they end; ask for fewer"
        " output tokens, or try again"
    )
    base, _ = prices(limit, want)
    return Denied(
        "rate_limit_exceeded", message, limit.unit, limit.most, used, base, HELD_RETRY_SECONDS
    )


def full_denied(due: Due, history: History, want: Want, least: int, now: float) -> Denied:
    """What is settled leaves no room for even the least."""
    if not due.limit.window:
        return spent_denied(due, int(history.total), want)
    base, per = prices(due.limit, want)
    need = base + per * least
    excess = history.total + need - due.limit.most
    wait = history.wait(excess, now) if need <= due.limit.most else None
    return rate_denied(due, int(history.total), need, want, wait)


def rate_denied(due: Due, used: int, need: int, want: Want, wait: float | None) -> Denied:
    """A window is full; `wait` is how long, None if the request is larger than all of it."""
    limit = due.limit
    strategy = "fixed" if limit.fixed else "sliding"
    message = (
        f"rate limit exceeded: {used} {limit.unit} in the {strategy} window of {limit.window:g} s,"
        f" {need} more asked for (max {limit.most})"
    )
    if wait is None:
        message += "; this request is larger than the whole window"
    return Denied("rate_limit_exceeded", message, limit.unit, limit.most, used, want.input, wait)


def spent_denied(due: Due, used: int, want: Want) -> Denied:
    """A budget is spent."""
    limit = due.limit
    base, _ = prices(limit, want)
    message = (
        f"budget exceeded: used {limit.amount(used)} + input {limit.amount(base)} > limit"
        f" {limit.amount(limit.most)} (budget {limit.name!r})"
    )
    resets = None if due.ends == float("inf") else due.ends
    return Denied("insufficient_quota", message, limit.unit, limit.most, used, base, None, resets)
