"""What is counted for one token: budgets, the histories of rate rules, running requests.

Pure. `Counts` is what the rules in `limits` need; `Account` keeps it in one process, `flat` in
memory that several share. Times are epoch seconds, passed in.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field
from typing import Any, Protocol

# A sliding window of N seconds keeps its history in steps of N / STEPS. A step counts until its
# newest entry leaves the window, so the window may hold less than its limit, never more.
STEPS = 1000
_GONE = -math.inf  # the oldest time of a step that has left its window


class History(Protocol):
    """What one rate rule has counted. `held` is the part of `total` that running requests reserved
    and may give back."""

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
    """The state of one token, wherever it lives: spent tokens survive restarts, held ones belong to
    running requests."""

    def running(self) -> int:
        """Requests that are running."""

    def enter(self) -> None:
        """One more runs."""

    def leave(self) -> None:
        """One has ended."""

    def spent(self, budget: str) -> int:
        """Settled tokens of a budget."""

    def spend(self, budget: str, tokens: int) -> None:
        """Settle more."""

    def used(self, budget: str) -> int:
        """Settled and held tokens of a budget."""

    def hold(self, budget: str, tokens: int) -> None:
        """Hold more tokens, or fewer."""

    def window(self, key: str, length: float, *, fixed: bool) -> History:
        """The history that a rule counts in."""


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

    settled: dict[str, int] = field(default_factory=dict)
    held: dict[str, int] = field(default_factory=dict)
    windows: dict[str, Window] = field(default_factory=dict)
    parallel: int = 0

    def running(self) -> int:
        """See Counts."""
        return self.parallel

    def enter(self) -> None:
        """See Counts."""
        self.parallel += 1

    def leave(self) -> None:
        """See Counts."""
        self.parallel -= 1

    def spent(self, budget: str) -> int:
        """See Counts."""
        return self.settled.get(budget, 0)

    def spend(self, budget: str, tokens: int) -> None:
        """See Counts."""
        self.settled[budget] = self.settled.get(budget, 0) + tokens

    def used(self, budget: str) -> int:
        """See Counts."""
        return self.settled.get(budget, 0) + self.held.get(budget, 0)

    def hold(self, budget: str, tokens: int) -> None:
        """See Counts."""
        held = self.held.get(budget, 0) + tokens
        if held:
            self.held[budget] = held
        else:
            self.held.pop(budget, None)

    def window(self, key: str, length: float, *, fixed: bool) -> Window:
        """See Counts."""
        window = self.windows.get(key)
        if window is None:
            window = self.windows[key] = Window(length, fixed=fixed)
        return window

    def dump(self) -> dict[str, Any]:
        """What a journal keeps."""
        windows = {
            key: [w.length, w.fixed, [step[:3] for step in w.steps]]
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
            window.steps.extend([newest, amount, oldest, 0.0] for newest, amount, oldest in steps)
            window.total = sum(step[1] for step in window.steps)
            account.windows[key] = window
        return account
