"""Accounts in this process, journalled beside the token database.

Every admission is one step without an await, so no two requests see the same room. What changed is
written a few times a second: a killed process loses at most that.
"""

from __future__ import annotations

import contextlib
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import trio

from tokenomics.errors import Failed, Invalid, Refused
from tokenomics.policy import limits
from tokenomics.policy.limits import Account, Denied, Lease, Want
from tokenomics.policy.model import RateLimit
from tokenomics.policy.route import Budget
from tokenomics.store.journal import Header, Journal, Say

FLUSH_SECONDS = 0.25
REWRITE_BYTES = 8 << 20  # a journal longer than this is rewritten to one row per account


class ProcessUsage:
    """The accounts of every token this process serves."""

    def __init__(self, path: Path, say: Say, clock: Callable[[], float] = time.time) -> None:
        self._journal = Journal(path, say)
        self._say = say
        self._clock = clock
        self._accounts: dict[str, Account] = {}
        self._dirty: set[str] = set()

    @contextlib.contextmanager
    def open(self) -> Iterator[None]:
        """Own the file for the life of the process: read it, and write what is left at the end.

        Raises Refused if another process owns it, Invalid if it is damaged, Failed if it cannot be
        written.
        """
        path = self._journal.path
        with contextlib.ExitStack() as stack:
            try:
                stack.enter_context(self._journal.lock(seconds=0))
            except Failed as e:
                raise Refused(
                    f"{e}: another `serve` counts there; give this one a database of its own (--db)"
                ) from None
            _, rows = self._journal.read()
            try:
                for hash_, state in rows:
                    self._accounts[hash_] = Account.load(state)
            except (ValueError, KeyError, TypeError) as e:
                raise Invalid(f"{path}: an account cannot be read ({e}); move it away") from None
            self._rewrite()
            try:
                yield
            finally:
                self._flush()

    async def run(self) -> None:
        """Write what changed, for ever. A full disk is said once; counting goes on in memory."""
        failing = False
        while True:
            await trio.sleep(FLUSH_SECONDS)
            if not self._dirty:
                continue
            try:
                await trio.to_thread.run_sync(self._flush)
                failing = False
            except Failed as e:
                if not failing:
                    self._say(f"usage is kept in memory only: {e}")
                failing = True

    def _flush(self) -> None:
        dirty, self._dirty = self._dirty, set()
        rows = [[h, self._accounts[h].dump()] for h in list(dirty)]
        try:
            if self._journal.size > REWRITE_BYTES:
                self._rewrite()
            elif rows:
                self._journal.append(rows)
        except Failed:
            self._dirty |= dirty
            raise

    def _rewrite(self) -> None:
        header = self._journal.header or Header(uuid.uuid4().hex, 1)
        rows = [[h, account.dump()] for h, account in list(self._accounts.items())]
        self._journal.rewrite(header, rows)

    async def admit(
        self, hash_: str, rate: RateLimit, budgets: tuple[Budget, ...], want: Want
    ) -> Lease | Denied:
        """Take everything a request of a token needs, or nothing."""
        account = self._accounts.setdefault(hash_, Account())
        self._dirty.add(hash_)
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
