"""What is counted for one token: budgets, the histories of rate rules, running requests.

Pure. `Counts` is what the rules in `limits` need; `Account` keeps it in one process, `flat` in
memory that several share. Times are epoch seconds, passed in.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field
from typing import Any, Protocol

from tokenomics.policy.meters import Due

# A sliding window of N seconds keeps its history in steps of N / STEPS. A step counts until its
# newest entry leaves the window, so the window may hold less than its limit, never more.
STEPS = 1000
_GONE = -math.inf  # the oldest time of a step that has left its window


class History(Protocol):
    """What one limit has counted. `held` is the part of `total` that running requests reserved
    and may give back. A budget's never leaves it, a window's does with time."""

    @property
    def total(self) -> float:
        """All that is counted."""

    @property
    def held(self) -> float:
        """What of it is only reserved."""

    def expire(self, now: float) -> None:
        """Forget what no window that ends at `now` holds."""

    def add(self, amount: float, now: float, *, held: float = 0.0) -> Any:
        """Count `amount` at `now`; the answer is the ticket to settle it later."""

    def settle(self, ticket: Any, held: float, cost: float) -> None:
        """Count `cost` instead of what was held; what has left the window is left alone."""

    def wait(self, excess: float, now: float) -> float:
        """Seconds until `excess` of what is counted has left the window."""


class Counts(Protocol):
    """The state of one token, wherever it lives: what was spent survives restarts, what is held
    belongs to running requests."""

    def running(self) -> int:
        """Requests that are running."""

    def enter(self) -> None:
        """One more runs."""

    def leave(self) -> None:
        """One has ended."""

    def history(self, due: Due, now: float) -> History:
        """What a limit counts in. A budget whose period is over may be forgotten once
        the same one's next period is asked for."""


class Tally:
    """A History that nothing leaves: a budget's, until its period ends."""

    __slots__ = ("ends", "held", "total")

    def __init__(self, ends: float, spent: float = 0) -> None:
        self.ends = ends
        self.total = spent
        self.held: float = 0

    def over(self, now: float) -> bool:
        """Whether its period has ended, and nobody holds any of it."""
        return self.ends <= now and not self.held

    def expire(self, _now: float) -> None:
        """See History."""

    def add(self, amount: float, _now: float, *, held: float = 0) -> None:
        """See History. It needs no ticket."""
        self.total += amount
        self.held += held

    def settle(self, _ticket: None, held: float, cost: float) -> None:
        """See History."""
        self.total += cost - held
        self.held -= held

    def wait(self, _excess: float, now: float) -> float:
        """See History."""
        return self.ends - now


class Window:
    """A History in steps, oldest first: `[newest time, amount, oldest time, held]`."""

    __slots__ = ("fixed", "held", "length", "steps", "total")

    def __init__(self, length: float, *, fixed: bool) -> None:
        self.length = length
        self.fixed = fixed
        self.steps: deque[list[float]] = deque()
        self.total = 0.0
        self.held = 0.0

    def expire(self, now: float) -> None:
        """See History."""
        edge = edge_of(self.length, now, fixed=self.fixed)
        while self.steps and (self.steps[0][0] < edge if self.fixed else self.steps[0][0] <= edge):
            gone = self.steps.popleft()
            self.total -= gone[1]
            self.held -= gone[3]
            gone[2] = _GONE

    def add(self, amount: float, now: float, *, held: float = 0.0) -> list[float]:
        """See History. The step it went into is the ticket."""
        last = self.steps[-1] if self.steps else None
        same_step = last is not None and (self.fixed or now - last[2] < self.length / STEPS)
        if last is None or not same_step:
            last = [now, 0.0, now, 0.0]
            self.steps.append(last)
        last[0] = max(last[0], now)  # a clock that steps back must not shorten the window
        last[1] += amount
        last[3] += held
        self.total += amount
        self.held += held
        return last

    def settle(self, ticket: list[float], held: float, cost: float) -> None:
        """See History."""
        if ticket[2] != _GONE:
            ticket[1] += cost - held
            ticket[3] -= held
            self.total += cost - held
            self.held -= held

    def wait(self, excess: float, now: float) -> float:
        """See History."""
        if self.fixed:
            return self.length - now % self.length
        for newest, amount, _, _ in self.steps:
            excess -= amount
            if excess <= 0:
                return max(newest + self.length - now, 0.0)
        return self.length


def edge_of(length: float, now: float, *, fixed: bool) -> float:
    """When the window that ends at `now` began; only a fixed one holds its edge."""
    return math.floor(now / length) * length if fixed else now - length


@dataclass(slots=True)
class Account:
    """Counts of one process."""

    budgets: dict[str, Tally] = field(default_factory=dict)
    windows: dict[str, Window] = field(default_factory=dict)
    parallel: int = 0

    @property
    def settled(self) -> dict[str, int]:
        """What was spent of each budget."""
        return {key: int(t.total - t.held) for key, t in self.budgets.items()}

    @property
    def held(self) -> dict[str, int]:
        """What running requests hold of budgets."""
        return {key: int(t.held) for key, t in self.budgets.items() if t.held}

    def running(self) -> int:
        """See Counts."""
        return self.parallel

    def enter(self) -> None:
        """See Counts."""
        self.parallel += 1

    def leave(self) -> None:
        """See Counts."""
        self.parallel -= 1

    def history(self, due: Due, now: float) -> History:
        """See Counts."""
        limit = due.limit
        if limit.window:
            window = self.windows.get(due.key)
            if window is None:
                window = self.windows[due.key] = Window(limit.window, fixed=limit.fixed)
            return window
        tally = self.budgets.get(due.key)
        if tally is None:
            # Only of the same rule: where the wall was set back, another of this request's may be
            # over by the steady clock.
            rule = rule_of(due.key)
            for key in [k for k, t in self.budgets.items() if rule_of(k) == rule and t.over(now)]:
                del self.budgets[key]
            tally = self.budgets[due.key] = Tally(due.ends)
        return tally

    def dump(self) -> dict[str, Any]:
        """What a journal keeps: of budgets and windows; `held` and `running` are for who looks."""
        return {
            "budgets": {k: budget_row(t.total, t.held, t.ends) for k, t in self.budgets.items()},
            "windows": {
                key: [w.length, w.fixed, [step[:3] for step in w.steps]]
                for key, w in self.windows.items()
            },
            "held": self.held,
            "running": self.parallel,
        }

    @classmethod
    def load(cls, state: dict[str, Any], now: float) -> Account:
        """The account that `dump` described, at `now`. What was held then died with its process,
        and was counted in the windows as reserved: that stays, to the safe side. What was counted
        by a clock that was ahead counts from now on."""
        account = cls()
        for key, row in state["budgets"].items():
            spent, ends = read_budget_row(row)
            account.budgets[str(key)] = Tally(ends, spent)
        for key, (length, fixed, steps) in state["windows"].items():
            window = Window(length, fixed=fixed)
            for newest, amount, oldest in steps:
                window.steps.append([min(newest, now), amount, min(oldest, now), 0.0])
            window.total = sum(step[1] for step in window.steps)
            account.windows[key] = window
        return account


def rule_of(key: str) -> str:
    """What the keys of a budget's periods have in common; see `Limits.due`."""
    return key.rpartition("@")[0]


def budget_row(total: float, held: float, ends: float) -> list[Any]:
    """A budget in a journal: [what was spent, when its period ends (None: never)]."""
    return [int(total - held), None if math.isinf(ends) else ends]


def read_budget_row(row: Any) -> tuple[int, float]:
    """What was spent, and when the period ends. Raises ValueError, TypeError."""
    spent, ends = row
    return int(spent), math.inf if ends is None else float(ends)
