"""Accounts in this process, journalled beside the token database.

Every admission is one step without an await, so no two requests see the same room.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tokenomics.policy import limits as law
from tokenomics.policy.counts import Account
from tokenomics.policy.limits import Bill, Crossing, Denied, Lease, Want
from tokenomics.policy.meters import Limits
from tokenomics.store.journal import Say
from tokenomics.usage.clock import Clock
from tokenomics.usage.journalled import JournalledUsage


class ProcessUsage(JournalledUsage):
    """The accounts of every token this process serves."""

    def __init__(self, path: Path, say: Say, clock: Clock | None = None) -> None:
        super().__init__(path, say)
        self.clock = clock or Clock()
        self._accounts: dict[str, Account] = {}
        self._dirty: set[str] = set()

    def load_account(self, name: str, state: dict[str, Any]) -> None:
        """See JournalledUsage."""
        self._accounts[name] = Account.load(state, self.clock.steady())

    def dump_account(self, name: str) -> dict[str, Any]:
        """See JournalledUsage."""
        return self._accounts[name].dump()

    def take_changed(self) -> set[str]:
        """See JournalledUsage."""
        changed, self._dirty = self._dirty, set()
        return changed

    def put_back(self, names: set[str]) -> None:
        """See JournalledUsage."""
        self._dirty |= names

    def all_names(self) -> Iterable[str]:
        """See JournalledUsage."""
        return list(self._accounts)

    async def admit(self, account: str, limits: Limits, want: Want) -> Lease | Denied:
        """See Usage."""
        dues = limits.due(self.clock.wall())
        return law.admit(self._changing(account), limits.parallel, dues, want, self.clock.steady())

    async def trial(self, account: str, limits: Limits, want: Want) -> Lease | Denied:
        """See Usage."""
        dues = limits.due(self.clock.wall())
        counts = copy.deepcopy(self.account(account))
        return law.admit(counts, limits.parallel, dues, want, self.clock.steady())

    async def extend(self, account: str, lease: Lease, output: int) -> int:
        """See Usage."""
        return law.extend(self._changing(account), lease, output, self.clock.steady())

    async def move(self, account: str, lease: Lease, limits: Limits, want: Want) -> Denied | None:
        """See Usage."""
        dues = limits.due(self.clock.wall())
        return law.move(self._changing(account), lease, dues, want, self.clock.steady())

    async def settle(self, account: str, lease: Lease, bill: Bill) -> list[Crossing]:
        """See Usage. Never waits."""
        return law.settle(self._changing(account), lease, bill, self.clock.steady())

    def account(self, name: str) -> Account:
        """An account, for those who show it."""
        return self._accounts.get(name, Account())

    def _changing(self, name: str) -> Account:
        self._dirty.add(name)
        account = self._accounts.get(name)
        if account is None:
            account = self._accounts[name] = Account()
        return account
