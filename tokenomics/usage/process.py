"""Accounts in this process, journalled beside the token database.

Every admission is one step without an await, so no two requests see the same room. What changed is
written a few times a second: a killed process loses at most that.
"""

from __future__ import annotations

import contextlib
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import trio

from tokenomics.errors import Failed, Invalid, Refused
from tokenomics.policy import limits
from tokenomics.policy.limits import Account, Denied, Lease, Want
from tokenomics.policy.model import RateLimit
from tokenomics.policy.route import Budget
from tokenomics.store.journal import Header, Journal, Locked, Say

FLUSH_SECONDS = 0.25
# A journal longer than this is rewritten to one row per account, once it has doubled since.
REWRITE_BYTES = 8 << 20

Rows = list[list[Any]]  # (token hash, `Account.dump`)


class ProcessUsage:
    """The accounts of every token this process serves."""

    def __init__(self, path: Path, say: Say, clock: Callable[[], float] = time.time) -> None:
        self._journal = Journal(path, say)
        self._say = say
        self._clock = clock
        self._accounts: dict[str, Account] = {}
        self._dirty: set[str] = set()
        self._rewritten_bytes = 0

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
            except Locked as e:
                raise Refused(
                    f"{e}: another `serve` counts there; give this one a database of its own (--db)"
                ) from None
            _, rows = self._journal.read()
            try:
                for hash_, state in rows:
                    self._accounts[hash_] = Account.load(state)
            except (ValueError, LookupError, TypeError, AttributeError) as e:
                raise Invalid(f"{path}: an account cannot be read ({e}); move it away") from None
            self._write([[h, account.dump()] for h, account in self._accounts.items()], True)
            try:
                yield
            finally:
                self._write(*self._changes(self._dirty))

    async def run(self) -> None:
        """Write what changed, for ever; to run while `open`. A full disk is said once, and counting
        goes on in memory."""
        failing = False
        while True:
            await trio.sleep(FLUSH_SECONDS)
            if not self._dirty:
                continue
            changed, self._dirty = self._dirty, set()
            rows, whole = self._changes(changed)
            try:
                with trio.CancelScope(shield=True):  # a cancel while threads are short loses rows
                    await trio.to_thread.run_sync(self._write, rows, whole)
                failing = False
            except Failed as e:
                self._dirty |= changed
                if not failing:
                    self._say(f"usage is kept in memory only: {e}")
                failing = True

    def _changes(self, changed: Iterable[str]) -> tuple[Rows, bool]:
        """What to write, and whether as the whole file. Copies: accounts go on changing while a
        thread writes."""
        whole = self._journal.size > max(REWRITE_BYTES, 2 * self._rewritten_bytes)
        hashes = self._accounts if whole else changed
        return [[h, self._accounts[h].dump()] for h in hashes], whole

    def _write(self, rows: Rows, whole: bool) -> None:
        if whole:
            header = self._journal.header or Header(uuid.uuid4().hex, 1)
            self._journal.rewrite(header, rows)
            self._rewritten_bytes = self._journal.size
        elif rows:
            self._journal.append(rows)

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
