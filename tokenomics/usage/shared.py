"""Accounts in memory that the workers of one machine share, so that limits hold over all of them.

The parent makes the memory and keeps its journal; workers map it. Each admission and settlement is
one step under a lock on the token's piece, which the kernel takes back from a process that dies. No
step asks another process.

The memory is sparse: only pages that are used cost anything. A token keeps its place until the
parent ends.
"""

from __future__ import annotations

import contextlib
import fcntl
import mmap
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tokenomics.errors import Refusal
from tokenomics.policy import limits
from tokenomics.policy.flat import FlatAccount, NoRoom, cells
from tokenomics.policy.limits import Denied, Lease, Want
from tokenomics.policy.model import RateLimit
from tokenomics.policy.route import Budget
from tokenomics.store.journal import Say
from tokenomics.tokens import HASH_DIGITS
from tokenomics.usage.journalled import JournalledUsage

CAPACITY = 1 << 14  # tokens that are used while the parent runs; 7 GB of addresses, not of memory
_KEY_BYTES = HASH_DIGITS // 2
_KEYS_AT = 8  # behind the number of tokens
_PIECES_AT = _KEYS_AT + CAPACITY * _KEY_BYTES
_LOCK_ALL = CAPACITY  # the byte whose lock is for the index


def create(processes: int) -> int:
    """New shared memory for so many processes: a descriptor to be inherited."""
    descriptor = os.memfd_create("tokenomics-accounts", 0)
    os.ftruncate(descriptor, _PIECES_AT + CAPACITY * cells(processes) * 8)
    return descriptor


class Accounts:
    """The shared memory as one process sees it: by token hash, under locks."""

    def __init__(self, descriptor: int, me: int, processes: int) -> None:
        self._descriptor = descriptor
        self._me = me
        self._processes = processes
        self._memory = memoryview(mmap.mmap(descriptor, 0))
        self._piece = cells(processes) * 8
        self._count = self._memory[:_KEYS_AT].cast("q")
        self._places: dict[str, int] = {}
        self._views: dict[int, FlatAccount] = {}

    @contextlib.contextmanager
    def locked(self, place: int) -> Iterator[None]:
        """Be alone with a token. Steps under it take microseconds, so the wait is as short."""
        fcntl.lockf(self._descriptor, fcntl.LOCK_EX, 1, place)
        try:
            yield
        finally:
            fcntl.lockf(self._descriptor, fcntl.LOCK_UN, 1, place)

    def place(self, hash_: str) -> int:
        """Where a token's piece is; a new token is given one. Raises Refusal if there is none."""
        place = self._places.get(hash_)
        if place is None:
            key = bytes.fromhex(hash_)
            with self.locked(_LOCK_ALL):
                place = self._places[hash_] = self._find(key)
        return place

    def _find(self, key: bytes) -> int:
        first = int.from_bytes(key[:8], "big") % CAPACITY
        for step in range(CAPACITY):
            place = (first + step) % CAPACITY
            found = self._key(place)
            if found == key:
                return place
            if not any(found):
                start = _KEYS_AT + place * _KEY_BYTES
                self._memory[start : start + _KEY_BYTES] = key
                self._count[0] += 1
                return place
        raise Refusal("internal_error", f"this proxy counts for {CAPACITY} tokens, and no more")

    def _key(self, place: int) -> bytes:
        start = _KEYS_AT + place * _KEY_BYTES
        return bytes(self._memory[start : start + _KEY_BYTES])

    def account(self, place: int) -> FlatAccount:
        """The account at a place; to be used under its lock."""
        view = self._views.get(place)
        if view is None:
            start = _PIECES_AT + place * self._piece
            piece = self._memory[start : start + self._piece]
            view = self._views[place] = FlatAccount(piece, self._me, self._processes)
        return view

    def copy(self, place: int) -> FlatAccount:
        """A copy of the account at a place; made under its lock."""
        start = _PIECES_AT + place * self._piece
        piece = memoryview(bytearray(self._memory[start : start + self._piece]))
        return FlatAccount(piece, self._me, self._processes)

    def known(self) -> dict[str, int]:
        """Every token that has a place, and where."""
        if len(self._places) != self._count[0]:
            found = ((self._key(place), place) for place in range(CAPACITY))
            self._places = {key.hex(): place for key, place in found if any(key)}
        return self._places


class SharedUsage:
    """What a worker counts in."""

    def __init__(
        self, descriptor: int, me: int, processes: int, clock: Callable[[], float] = time.time
    ) -> None:
        self._accounts = Accounts(descriptor, me, processes)
        self._clock = clock

    async def admit(
        self, hash_: str, rate: RateLimit, budgets: tuple[Budget, ...], want: Want
    ) -> Lease | Denied:
        """See Usage. Raises Refusal if there is no place to count in."""
        place = self._accounts.place(hash_)
        with self._accounts.locked(place):
            account = self._accounts.account(place)
            account.changed()
            try:
                return limits.admit(account, rate, budgets, want, self._clock())
            except NoRoom as e:
                raise Refusal("internal_error", f"the token cannot be counted: {e}") from None

    async def trial(
        self, hash_: str, rate: RateLimit, budgets: tuple[Budget, ...], want: Want
    ) -> Lease | Denied:
        """See Usage. Raises Refusal if there is no place to count in."""
        place = self._accounts.place(hash_)
        with self._accounts.locked(place):
            account = self._accounts.copy(place)
        try:
            return limits.admit(account, rate, budgets, want, self._clock())
        except NoRoom as e:
            raise Refusal("internal_error", f"the token cannot be counted: {e}") from None

    async def move(
        self, hash_: str, lease: Lease, budgets: tuple[Budget, ...], want: Want
    ) -> Denied | None:
        """See Usage."""
        place = self._accounts.place(hash_)
        with self._accounts.locked(place):
            return limits.move(self._accounts.account(place), lease, budgets, want)

    async def settle(self, hash_: str, lease: Lease, tokens: int) -> None:
        """See Usage."""
        place = self._accounts.place(hash_)
        with self._accounts.locked(place):
            account = self._accounts.account(place)
            limits.settle(account, lease, tokens)
            account.changed()


class ParentUsage(JournalledUsage):
    """The parent's part: the journal, and giving back what a dead worker held."""

    def __init__(self, path: Path, descriptor: int, processes: int, say: Say) -> None:
        super().__init__(path, say)
        self._accounts = Accounts(descriptor, 0, processes)
        self._written: dict[str, int] = {}  # by token: changes as far as they are in the journal

    def release(self, worker: int) -> None:
        """A worker is gone: what it held is free again."""
        for place in self._accounts.known().values():
            with self._accounts.locked(place):
                self._accounts.account(place).release(worker)

    def load_account(self, hash_: str, state: dict[str, Any]) -> None:
        """See JournalledUsage."""
        self._accounts.account(self._accounts.place(hash_)).load(state)

    def dump_account(self, hash_: str) -> dict[str, Any]:
        """See JournalledUsage."""
        place = self._accounts.place(hash_)
        with self._accounts.locked(place):
            account = self._accounts.account(place)
            self._written[hash_] = account.changes
            return account.dump()

    def take_changed(self) -> set[str]:
        """See JournalledUsage."""
        known = self._accounts.known()
        return {
            hash_
            for hash_, place in known.items()
            if self._accounts.account(place).changes != self._written.get(hash_, 0)
        }

    def put_back(self, hashes: set[str]) -> None:
        """See JournalledUsage."""
        for hash_ in hashes:
            self._written.pop(hash_, None)

    def all_hashes(self) -> set[str]:
        """See JournalledUsage."""
        return set(self._accounts.known())
