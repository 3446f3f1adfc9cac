"""What one proxy remembers of what all have spent, and its part of limits while it is alone."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from tokenomics.policy.counts import Tally
from tokenomics.policy.limits import Denied, Lease, Want
from tokenomics.policy.meters import Due, Limit, Limits
from tokenomics.usage.process import ProcessUsage


class Share(ProcessUsage):
    """Accounts of this process beside those that all proxies share. `proxies` is how many there
    were when that was last known: a limit is divided by it, of a budget what was left then."""

    proxies: int = 1

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._before: dict[tuple[str, str], int] = {}  # account, key: spent when it got alone

    async def admit(self, account: str, limits: Limits, want: Want) -> Lease | Denied:
        """See Usage."""
        return await super().admit(account, self._part(account, limits), want)

    async def trial(self, account: str, limits: Limits, want: Want) -> Lease | Denied:
        """See Usage."""
        return await super().trial(account, self._part(account, limits), want)

    async def move(self, account: str, lease: Lease, limits: Limits, want: Want) -> Denied | None:
        """See Usage."""
        return await super().move(account, lease, self._part(account, limits), want)

    def _part(self, account: str, limits: Limits) -> Limits:
        dues = limits.due(self.clock.wall())
        parallel = max(limits.parallel // self.proxies, 1) if limits.parallel else 0
        return Limits(parallel, [self._part_of(account, due) for due in dues])

    def _part_of(self, account: str, due: Due) -> Limit:
        limit = due.limit
        if limit.window:
            return replace(limit, most=max(limit.most // self.proxies, 1))
        tally = self.account(account).budgets.get(due.key)
        spent = int(tally.total - tally.held) if tally is not None else 0
        before = self._before.setdefault((account, due.key), spent)
        return replace(limit, most=before + max(limit.most - before, 0) // self.proxies)

    def forget_absence(self) -> None:
        """Everybody counts in one place again."""
        self._before.clear()

    def remember(self, account: str, due: Due, spent: int) -> None:
        """What all have spent of a budget by now."""
        history = self._changing(account).history(due, self.clock.steady())
        if isinstance(history, Tally):
            history.total += max(spent - (history.total - history.held), 0)

    def remembered(self) -> Iterator[tuple[str, list[list[Any]]]]:
        """Every account, and what was spent of its budgets: [key, spent, end (0: never)]."""
        now = self.clock.wall()
        for name in self.all_names():
            tallies = self.account(name).budgets.items()
            rows = [
                [key, int(t.total - t.held), 0 if math.isinf(t.ends) else t.ends]
                for key, t in tallies
                if t.ends > now and t.total > t.held
            ]
            if rows:
                yield name, rows
