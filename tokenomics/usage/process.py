"""Accounts in this process, journalled beside the token database.

Every admission is one step without an await, so no two requests see the same room.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from tokenomics.policy import limits
from tokenomics.policy.counts import Account
from tokenomics.policy.limits import Denied, Lease, Want
from tokenomics.policy.model import RateLimit
from tokenomics.policy.route import Budget
from tokenomics.store.journal import Say
from tokenomics.usage.journalled import JournalledUsage


class ProcessUsage(JournalledUsage):
    """The accounts of every token this process serves."""

    def __init__(self, path: Path, say: Say, clock: Callable[[], float] = time.time) -> None:
        super().__init__(path, say)
        self._clock = clock
        self._accounts: dict[str, Account] = {}
        self._dirty: set[str] = set()

    def load_account(self, hash_: str, state: dict[str, Any]) -> None:
        """See JournalledUsage."""
        self._accounts[hash_] = Account.load(state)

    def dump_account(self, hash_: str) -> dict[str, Any]:
        """See JournalledUsage."""
        return self._accounts[hash_].dump()

    def take_changed(self) -> set[str]:
        """See JournalledUsage."""
        changed, self._dirty = self._dirty, set()
        return changed

    def put_back(self, hashes: set[str]) -> None:
        """See JournalledUsage."""
        self._dirty |= hashes

    def all_hashes(self) -> Iterable[str]:
        """See JournalledUsage."""
        return list(self._accounts)

    async def admit(
        self, hash_: str, rate: RateLimit, budgets: tuple[Budget, ...], want: Want
    ) -> Lease | Denied:
        """Take everything a request of a token needs, or nothing."""
        account = self._accounts.setdefault(hash_, Account())
        self._dirty.add(hash_)
        return limits.admit(account, rate, budgets, want, self._clock())

    async def trial(
        self, hash_: str, rate: RateLimit, budgets: tuple[Budget, ...], want: Want
    ) -> Lease | Denied:
        """What `admit` would say, with nothing taken."""
        account = copy.deepcopy(self.account(hash_))
        return limits.admit(account, rate, budgets, want, self._clock())

    async def move(
        self, hash_: str, lease: Lease, budgets: tuple[Budget, ...], want: Want
    ) -> Denied | None:
        """Let a lease hold other budgets; None if they all have room."""
        return limits.move(self._accounts[hash_], lease, budgets, want)

    async def settle(self, hash_: str, lease: Lease, tokens: int) -> None:
        """End a lease with what it cost. Never waits."""
        limits.settle(self._accounts[hash_], lease, tokens)
        self._dirty.add(hash_)

    def account(self, hash_: str) -> Account:
        """The account of a token, for those who show it."""
        return self._accounts.get(hash_, Account())
