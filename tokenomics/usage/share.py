"""What one proxy remembers of what all have spent, and its part of limits while it is alone."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from tokenomics.policy.counts import Tally
from tokenomics.policy.limits import Bill, Crossing, Denied, Lease, Want
from tokenomics.policy.meters import COST, REQUESTS, Due, Limit, Limits
from tokenomics.store.journal import Say
from tokenomics.usage.clock import Clock
from tokenomics.usage.process import ProcessUsage

DATABASE = "f" * 64  # in the journal, the account of nobody: it names the database


class Share(ProcessUsage):
    """Accounts of this process beside those that all proxies share. `proxies` is how many there
    were when that was last known: a limit is divided by it, of a budget what was left then.
    `database` is the name of the one that knows all that is remembered here, but for what was spent
    alone."""

    def __init__(self, path: Path, say: Say, clock: Clock | None = None) -> None:
        super().__init__(path, say, clock)
        self.proxies = 1
        self._database = ""
        self._before: dict[tuple[str, str], int] = {}  # account, key: spent when it got alone
        self._alone: dict[tuple[str, str], int] = {}  # account, key: spent since

    async def admit(self, account: str, limits: Limits, want: Want) -> Lease | Denied:
        """See Usage."""
        return await super().admit(account, self._part(account, limits), want)

    async def trial(self, account: str, limits: Limits, want: Want) -> Lease | Denied:
        """See Usage."""
        return await super().trial(account, self._part(account, limits), want)

    async def move(self, account: str, lease: Lease, limits: Limits, want: Want) -> Denied | None:
        """See Usage."""
        return await super().move(account, lease, self._part(account, limits), want)

    async def settle(self, account: str, lease: Lease, bill: Bill) -> list[Crossing]:
        """See Usage."""
        for hold in lease.holds:
            self._count_alone(account, hold.due, bill, 1)
        return await super().settle(account, lease, bill)

    def told(self, account: str, dues: Iterable[Due], bill: Bill) -> None:
        """The database knows now what was spent alone."""
        for due in dues:
            self._count_alone(account, due, bill, -1)

    def _count_alone(self, account: str, due: Due, bill: Bill, sign: int) -> None:
        if due.limit.window or due.limit.unit == REQUESTS:
            return
        cost = bill.cost if due.limit.unit == COST else bill.tokens
        spent = self._alone.pop((account, due.key), 0) + sign * cost
        if spent > 0:
            self._alone[account, due.key] = spent

    def _part(self, account: str, limits: Limits) -> Limits:
        if self.proxies == 1:
            return limits
        dues = limits.due(self.clock.wall())
        parallel = max(limits.parallel // self.proxies, 1) if limits.parallel else 0
        return Limits(parallel, [self._part_of(account, due) for due in dues])

    def _part_of(self, account: str, due: Due) -> Limit:
        """Nobody is warned of a part: what the others spend is not known."""
        limit = due.limit
        if limit.window:
            return replace(limit, most=max(limit.most // self.proxies, 1))
        tally = self.account(account).budgets.get(due.key)
        spent = int(tally.total - tally.held) if tally is not None else 0
        before = self._before.setdefault((account, due.key), spent)
        most = before + max(limit.most - before, 0) // self.proxies
        return replace(limit, most=most, warn_at=())

    def forget_absence(self) -> None:
        """Everybody counts in one place again."""
        self._before.clear()

    def remember(self, account: str, due: Due, spent: int) -> None:
        """What all have spent of a budget by now."""
        history = self._changing(account).history(due, self.clock.steady())
        if isinstance(history, Tally):
            alone = self._alone.get((account, due.key), 0)
            history.total += max(spent + alone - (history.total - history.held), 0)

    def remembered(self) -> Iterator[tuple[str, list[list[Any]]]]:
        """Every account, and what its database knew of its budgets: [key, spent, end (0:
        never)]."""
        now = self.clock.wall()
        for name in self.all_names():
            rows = [
                [key, spent, 0 if math.isinf(tally.ends) else tally.ends]
                for key, tally in self.account(name).budgets.items()
                if tally.ends > now
                and (spent := int(tally.total - tally.held) - self._alone.get((name, key), 0)) > 0
            ]
            if rows:
                yield name, rows

    # Its name stands in the journal as an account, which a process that counts alone can read too.

    @property
    def database(self) -> str:
        """Empty if there was none yet."""
        return self._database

    @database.setter
    def database(self, name: str) -> None:
        self._database = name
        self._changing(DATABASE)

    def load_account(self, name: str, state: dict[str, Any]) -> None:
        """See JournalledUsage."""
        if name == DATABASE:
            self._database = str(state.get("database", ""))
        super().load_account(name, state)

    def dump_account(self, name: str) -> dict[str, Any]:
        """See JournalledUsage."""
        state = super().dump_account(name)
        return {**state, "database": self._database} if name == DATABASE else state
