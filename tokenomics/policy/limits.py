"""Budgets, rate windows and parallelism of one token: taken in one step, settled exactly once.

A token's state is its `Counts`. `admit` checks everything a request needs and takes it all,
or takes nothing and says why. What it took is a `Lease`; `settle` ends it with what the request
really cost. The law of every budget: settled + held <= limit after every admission.

Times are epoch seconds, passed in. Nothing here waits, and nothing knows where accounts live.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

from tokenomics.policy.counts import Counts, History
from tokenomics.policy.model import RateLimit, RateRule
from tokenomics.policy.route import Budget

# Output tokens held for a choice of a request that names no cap of its own: the longest answer of
# the models in the examples. No cap is set while that much is left, for models differ in what they
# take; so a model that writes longer answers can exceed its budget by the difference. Without a
# budget or token window nothing is held.
DEFAULT_OUTPUT = 16384
# A cap below this cuts an answer to nothing useful; refusing tells the client more.
LEAST_OUTPUT = 16
HELD_RETRY_SECONDS = 1.0  # when running requests have to end first, nobody knows when they will
MAX_RETRY_AFTER = 60  # seconds; some SDKs sleep out whatever they are told


class Want(NamedTuple):
    """What a request asks for: counted input tokens, and output tokens. `output` is the client's
    own cap on all `choices` together, None if it named none, 0 for endpoints that generate none."""

    input: int
    output: int | None
    choices: int = 1


@dataclass(frozen=True, slots=True)
class Denied:
    """Why a request was not admitted. `code` is an error code; `limit` and `used` are in the unit
    of what was exceeded, `input` are the input tokens asked for; `retry_after` is in seconds, None
    if waiting does not help."""

    code: str
    message: str
    limit: int
    used: int
    input: int
    retry_after: float | None = None


@dataclass(slots=True)
class Lease:
    """What one request holds. `cap` is the most output tokens the provider may be asked for; None
    where what the client asks for fits, so that its request goes on unchanged. `bounded` tells
    whether any limit counts its tokens."""

    tokens: int
    cap: int | None
    bounded: bool
    budgets: tuple[str, ...]
    tickets: list[tuple[History, Any]]
    open: bool = True


class _Rate(NamedTuple):
    """One unit of one rate rule, with its history up to date."""

    rule: RateRule
    unit: str
    limit: int
    window: History


def _rates(account: Counts, rate: RateLimit, now: float) -> list[_Rate]:
    """Every rate of a policy. A rule's history is found by its shape, so that a changed limit holds
    at once and keeps what was counted."""
    out = []
    for rule in rate.rules:
        for unit, limit in (("requests", rule.requests), ("tokens", rule.tokens)):
            if limit:
                key = _window_key(unit, rule.window, rule.strategy)
                window = account.window(key, rule.window, fixed=rule.strategy == "fixed")
                window.expire(now)
                out.append(_Rate(rule, unit, limit, window))
    return out


@lru_cache(maxsize=1024)
def _window_key(unit: str, window: float, strategy: str) -> str:
    return f"{unit}/{window:.15g}/{strategy}"


def admit(
    account: Counts, rate: RateLimit, budgets: tuple[Budget, ...], want: Want, now: float
) -> Lease | Denied:
    """Take everything a request needs, or nothing.

    What is settled bounds the answer (`Lease.cap`); what other requests hold does not, it only has
    to be waited for.
    """
    if rate.max_parallel and (running := account.running()) >= rate.max_parallel:
        return Denied(
            "too_many_parallel",
            f"{running} requests of this token are running (max {rate.max_parallel})",
            rate.max_parallel,
            running,
            want.input,
            HELD_RETRY_SECONDS,
        )
    rates = _rates(account, rate, now)
    output = _affordable(account, rates, budgets, want, now)
    if isinstance(output, Denied):
        return output
    denied = _held_back(account, rates, budgets, want, output)
    if denied is not None:
        return denied
    bounded = bool(budgets) or any(r.unit == "tokens" for r in rates)
    tokens = want.input + (output if bounded else 0)
    cap = output if bounded and output < _output(want) else None
    lease = Lease(tokens, cap, bounded, tuple([b.name for b in budgets]), [])
    # Two rules of one shape share a window, and count in it once.
    for unit, window in dict.fromkeys([(r.unit, r.window) for r in rates]):
        if unit == "tokens":
            lease.tickets.append((window, window.add(tokens, now, held=tokens)))
        else:
            window.add(1, now)
    _hold(account, lease.budgets, tokens)
    account.enter()
    return lease


def _affordable(
    account: Counts, rates: list[_Rate], budgets: tuple[Budget, ...], want: Want, now: float
) -> int | Denied:
    """The output tokens that fit beside what is settled, or what is exhausted."""
    output = _output(want)
    for r in rates:
        if r.unit == "requests":
            if r.window.total + 1 > r.limit:
                return _rate_denied(r, 1, want, now)
            continue
        free = r.limit - (r.window.total - r.window.held) - want.input
        if free < _least(want):
            return _rate_denied(r, want.input + _least(want), want, now)
        output = int(min(output, free))
    for budget in budgets:
        free = budget.limit - account.spent(budget.name) - want.input
        if free < _least(want):
            return _budget_denied(account, budget, want)
        output = min(output, free)
    return output


def _held_back(
    account: Counts, rates: list[_Rate], budgets: tuple[Budget, ...], want: Want, output: int
) -> Denied | None:
    """Why a request has to wait for what running ones hold; None if it need not."""
    need = want.input + output
    for r in rates:
        if r.unit == "tokens" and r.window.total + need > r.limit:
            what = f"a rate of {r.limit} tokens in {r.rule.window:g} s"
            return _held_denied(what, r.limit, int(r.window.total), want)
    for b in budgets:
        if account.used(b.name) + need > b.limit:
            return _held_denied(
                f"budget {b.name!r} of {b.limit}", b.limit, account.used(b.name), want
            )
    return None


def _held_denied(what: str, limit: int, used: int, want: Want) -> Denied:
    return Denied(
        "rate_limit_exceeded",
        f"running requests of this token hold what is left of {what} until they end; ask for fewer"
        " output tokens, or try again",
        limit,
        used,
        want.input,
        HELD_RETRY_SECONDS,
    )


def move(account: Counts, lease: Lease, budgets: tuple[Budget, ...], want: Want) -> Denied | None:
    """Let a lease hold other budgets, for a fallback that other budgets cover: all of them or, if
    one does not fit, none and the lease stays as it was."""
    _hold(account, lease.budgets, -lease.tokens)
    for budget in budgets:
        if budget.limit - account.used(budget.name) < lease.tokens:
            denied = _budget_denied(account, budget, want)
            _hold(account, lease.budgets, lease.tokens)
            return denied
    lease.budgets = tuple(b.name for b in budgets)
    _hold(account, lease.budgets, lease.tokens)
    return None


def settle(account: Counts, lease: Lease, tokens: int) -> None:
    """End a lease with the tokens it cost (0: nothing). A second call is a bug and raises."""
    if not lease.open:
        raise RuntimeError("a lease was settled twice")
    lease.open = False
    account.leave()
    _hold(account, lease.budgets, -lease.tokens)
    for name in lease.budgets:
        account.spend(name, tokens)
    for window, ticket in lease.tickets:
        window.settle(ticket, lease.tokens, tokens)


def _least(want: Want) -> int:
    return min(LEAST_OUTPUT * want.choices, _output(want))


def _output(want: Want) -> int:
    return DEFAULT_OUTPUT * want.choices if want.output is None else want.output


def _hold(account: Counts, budgets: tuple[str, ...], tokens: int) -> None:
    for name in budgets:
        account.hold(name, tokens)


def _rate_denied(r: _Rate, need: int, want: Want, now: float) -> Denied:
    used = int(r.window.total)
    wait = r.window.wait(r.window.total + need - r.limit, now) if need <= r.limit else None
    return Denied(
        "rate_limit_exceeded",
        f"rate limit exceeded: {used} {r.unit} in the {r.rule.strategy} window of"
        f" {r.rule.window:g} s, {need} more asked for (max {r.limit})"
        + ("" if wait is not None else "; this request is larger than the whole window"),
        r.limit,
        used,
        want.input,
        wait,
    )


def _budget_denied(account: Counts, budget: Budget, want: Want) -> Denied:
    used = account.used(budget.name)
    return Denied(
        "insufficient_quota",
        f"budget exceeded: used {used} + input {want.input} > limit {budget.limit}"
        f" (budget {budget.name!r})",
        budget.limit,
        used,
        want.input,
    )
