"""What the tests of accounts share: a usage file, a clock to set, one request."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import trio

from tests.store.stores import DEADLINE_SECONDS, hash_of
from tokenomics.policy.limits import Bill, Lease, Want
from tokenomics.policy.meters import REQUESTS, TOKENS, Limit, Limits
from tokenomics.store.journal import Journal
from tokenomics.usage.clock import Clock
from tokenomics.usage.process import ProcessUsage

A, B = hash_of(1), hash_of(2)
ALL = Limit("all", "all", TOKENS, 1000)
BUDGET = Limits(each=[ALL])
RATE = Limits(each=[Limit("rate", "requests/60/sliding", REQUESTS, 3, 60.0), ALL])
ONE = Limits(1, [ALL])
NOW = 1_000_000.0


class SetClock(Clock):
    """Both times as a test sets them."""

    def __init__(self, now: float = NOW) -> None:
        super().__init__(0.0)
        self.steady_now = self.wall_now = now

    def steady(self) -> float:
        return self.steady_now

    def wall(self) -> float:
        return self.wall_now


@dataclass
class Home:
    """A usage file, and what was said of it."""

    path: Path
    said: list[str] = field(default_factory=list)

    def usage(self, clock: Clock | None = None) -> ProcessUsage:
        return ProcessUsage(self.path, self.said.append, clock or SetClock())

    def rows(self) -> list[Any]:
        """What is on disk."""
        return Journal(self.path, pytest.fail).read()[1]

    def has_rows(self, count: int) -> bool:
        return len(self.rows()) >= count

    def has_said(self, times: int) -> bool:
        return len(self.said) >= times

    def has_settled(self, tokens: int, hash_: str = A, size_before: int = 0) -> bool:
        return self.path.stat().st_size != size_before and self.settled().get(hash_) == tokens

    def settled(self) -> dict[str, int]:
        """What a process that starts now would count: settled tokens of each account."""
        return {hash_: state["budgets"].get("all", [0])[0] for hash_, state in self.rows()}


async def spend(usage: ProcessUsage, hash_: str, tokens: int, limits: Limits = BUDGET) -> None:
    """One request from beginning to end."""
    lease = await usage.admit(hash_, limits, Want(tokens, 0))
    assert isinstance(lease, Lease)
    await usage.settle(hash_, lease, Bill(tokens))


def spent(usage: ProcessUsage, hash_: str) -> dict[str, int]:
    return {key: row[0] for key, row in usage.account(hash_).dump()["budgets"].items()}


async def reach(reached: Callable[[], bool]) -> None:
    """`until` for what other tasks do: under a MockClock no time passes meanwhile."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not reached():
        assert time.monotonic() < deadline, "it did not happen in time"
        await trio.lowlevel.checkpoint()
