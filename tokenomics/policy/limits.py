"""Budgets, rate windows and parallelism of one token: taken in one step, settled exactly once.

An `Account` is the state of one token. `admit` checks everything a request needs and takes it all,
or takes nothing and says why. What it took is a `Lease`; `settle` ends it with what the request
really cost. The law of every budget: settled + held <= limit after every admission.

Times are epoch seconds, passed in. Nothing here waits, and nothing knows where accounts live.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from tokenomics.policy.model import RateLimit, RateRule
from tokenomics.policy.route import Budget

# Output tokens held for a choice of a request that names no cap of its own: the longest answer of
# the models in the examples. No cap is set while that much is left, for models differ in what they
# take; so a model that writes longer answers can exceed its budget by the difference. Without a
# budget or token window nothing is held.
DEFAULT_OUTPUT = 16384
# A cap below this cuts an answer to nothing useful; refusing tells the client more.
LEAST_OUTPUT = 16
# A sliding window of N seconds keeps its history in steps of N / STEPS. A step counts until its
# newest entry leaves the window, so the window may hold less than its limit, never more.
STEPS = 1000
_GONE = -math.inf  # the oldest time of a step that has left its window
MAX_RETRY_AFTER = 60  # seconds; some SDKs sleep out whatever they are told


@dataclass(frozen=True, slots=True)
class Want:
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
    where what the client asks for fits, so that its request goes on unchanged."""

    tokens: int
    cap: int | None
    budgets: tuple[str, ...]
    tickets: list[tuple[Window, list[float]]]
    open: bool = True


class Window:
    """One rate rule's history: `[newest time, amount, oldest time]` steps, oldest step first."""

    __slots__ = ("fixed", "length", "steps", "total")

    def __init__(self, length: float, *, fixed: bool) -> None:
        self.length = length
        self.fixed = fixed
        self.steps: deque[list[float]] = deque()
        self.total = 0.0

    def expire(self, now: float) -> None:
        """Forget what no window that ends at `now` holds."""
        edge = math.floor(now / self.length) * self.length if self.fixed else now - self.length
        while self.steps and (self.steps[0][0] < edge if self.fixed else self.steps[0][0] <= edge):
            gone = self.steps.popleft()
            self.total -= gone[1]
            gone[2] = _GONE

    def add(self, amount: float, now: float) -> list[float]:
        """Count `amount` at `now`; the step it went into is the ticket to change it later."""
        last = self.steps[-1] if self.steps else None
        same_step = last is not None and (self.fixed or now - last[2] < self.length / STEPS)
        if last is None or not same_step:
            last = [now, 0.0, now]
            self.steps.append(last)
        last[0] = max(last[0], now)  # a clock that steps back must not shorten the window
        last[1] += amount
        self.total += amount
        return last

    def change(self, ticket: list[float], delta: float) -> None:
        """Change what was counted on a ticket; one that has left the window changes nothing."""
        if ticket[2] != _GONE:
            ticket[1] += delta
            self.total += delta

    def wait(self, excess: float, now: float) -> float:
        """Seconds until `excess` of what is counted has left the window."""
        if self.fixed:
            return self.length - now % self.length
        for newest, amount, _ in self.steps:
            excess -= amount
            if excess <= 0:
                return max(newest + self.length - now, 0.0)
        return self.length


@dataclass(slots=True)
class Account:
    """The state of one token. `settled` survives restarts; `held` belongs to running requests."""

    settled: dict[str, int] = field(default_factory=dict)
    held: dict[str, int] = field(default_factory=dict)
    windows: dict[str, Window] = field(default_factory=dict)
    parallel: int = 0

    def used(self, budget: str) -> int:
        """Settled and held tokens of one budget."""
        return self.settled.get(budget, 0) + self.held.get(budget, 0)

    def dump(self) -> dict[str, Any]:
        """What a journal keeps."""
        windows = {
            key: [w.length, w.fixed, [list(step) for step in w.steps]]
            for key, w in self.windows.items()
        }
        return {"settled": dict(self.settled), "windows": windows}

    @classmethod
    def load(cls, state: dict[str, Any]) -> Account:
        """The account that `dump` described. What was held then died with its process, and was
        counted in the windows as reserved: that stays, to the safe side."""
        account = cls(settled={str(k): int(v) for k, v in state["settled"].items()})
        for key, (length, fixed, steps) in state["windows"].items():
            window = Window(length, fixed=fixed)
            window.steps.extend(list(step) for step in steps)
            window.total = sum(step[1] for step in window.steps)
            account.windows[key] = window
        return account


def _windows(
    account: Account, rate: RateLimit, now: float
) -> Iterator[tuple[RateRule, str, int, Window]]:
    """Every (rule, unit, limit, window) of a policy, up to date. A rule's history is found by its
    shape, so that a changed limit holds at once and keeps what was counted."""
    for rule in rate.rules:
        fixed = rule.strategy == "fixed"
        for unit, limit in (("requests", rule.requests), ("tokens", rule.tokens)):
            if limit:
                key = f"{unit}/{rule.window:.15g}/{rule.strategy}"
                window = account.windows.get(key)
                if window is None:
                    window = account.windows[key] = Window(rule.window, fixed=fixed)
                window.expire(now)
                yield rule, unit, limit, window


def admit(
    account: Account, rate: RateLimit, budgets: tuple[Budget, ...], want: Want, now: float
) -> Lease | Denied:
    """Take everything a request needs, or nothing."""
    if rate.max_parallel and account.parallel >= rate.max_parallel:
        return Denied(
            "too_many_parallel",
            f"{account.parallel} requests of this token are running (max {rate.max_parallel})",
            rate.max_parallel,
            account.parallel,
            want.input,
            1.0,
        )
    windows = list(_windows(account, rate, now))
    room = math.inf
    for rule, unit, limit, window in windows:
        need = 1 if unit == "requests" else want.input + _least(want)
        if window.total + need > limit:
            return _rate_denied((rule, unit, limit, window), need, want.input, now)
        if unit == "tokens":
            room = min(room, limit - window.total - want.input)
    for budget in budgets:
        left = budget.limit - account.used(budget.name) - want.input
        if left < _least(want):
            return _budget_denied(account, budget, want)
        room = min(room, left)
    held = 0 if room is math.inf else int(min(_output(want), room))
    cap = held if room < _output(want) else None
    lease = Lease(want.input + held, cap, tuple(b.name for b in budgets), [])
    # Two rules of one shape share a window, and count in it once.
    for unit, window in dict.fromkeys((unit, window) for _, unit, _, window in windows):
        ticket = window.add(1 if unit == "requests" else lease.tokens, now)
        if unit == "tokens":
            lease.tickets.append((window, ticket))
    _hold(account, lease.budgets, lease.tokens)
    account.parallel += 1
    return lease


def move(account: Account, lease: Lease, budgets: tuple[Budget, ...], want: Want) -> Denied | None:
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


def settle(account: Account, lease: Lease, tokens: int) -> None:
    """End a lease with the tokens it cost (0: nothing). A second call is a bug and raises."""
    if not lease.open:
        raise RuntimeError("a lease was settled twice")
    lease.open = False
    account.parallel -= 1
    _hold(account, lease.budgets, -lease.tokens)
    for name in lease.budgets:
        account.settled[name] = account.settled.get(name, 0) + tokens
    for window, ticket in lease.tickets:
        window.change(ticket, tokens - lease.tokens)


def _least(want: Want) -> int:
    return min(LEAST_OUTPUT * want.choices, _output(want))


def _output(want: Want) -> int:
    return DEFAULT_OUTPUT * want.choices if want.output is None else want.output


def _hold(account: Account, budgets: tuple[str, ...], tokens: int) -> None:
    for name in budgets:
        held = account.held.get(name, 0) + tokens
        if held:
            account.held[name] = held
        else:
            account.held.pop(name, None)


def _rate_denied(
    broken: tuple[RateRule, str, int, Window], need: float, input_: int, now: float
) -> Denied:
    rule, unit, limit, window = broken
    wait = window.wait(window.total + need - limit, now)
    return Denied(
        "rate_limit_exceeded",
        f"rate limit exceeded: {int(window.total)} {unit} in the {rule.strategy} window of"
        f" {rule.window:g} s, {int(need)} more asked for (max {limit})",
        limit,
        int(window.total),
        input_,
        wait,
    )


def _budget_denied(account: Account, budget: Budget, want: Want) -> Denied:
    used = account.used(budget.name)
    return Denied(
        "insufficient_quota",
        f"budget exceeded: used {used} + input {want.input} > limit {budget.limit}"
        f" (budget {budget.name!r})",
        budget.limit,
        used,
        want.input,
    )
