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
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tokenomics.errors import Refusal
from tokenomics.policy import limits as law
from tokenomics.policy.flat import FlatAccount, NoRoom, cells
from tokenomics.policy.limits import Bill, Crossing, Denied, Lease, Want
from tokenomics.policy.meters import Limits
from tokenomics.store.journal import Say
from tokenomics.tokens import HASH_DIGITS
from tokenomics.usage.clock import Clock
from tokenomics.usage.journalled import JournalledUsage

CAPACITY = 1 << 14  # tokens that are used while the parent runs; 7 GB of addresses, not of memory
_KEY_BYTES = HASH_DIGITS // 2
_OFFSET_AT = 8  # of the clock that all agree on, behind the number of accounts
_KEYS_AT = 16
_PIECES_AT = _KEYS_AT + CAPACITY * _KEY_BYTES
_LOCK_ALL = CAPACITY  # the byte whose lock is for the index


def create(processes: int) -> int:
    """New shared memory for so many processes: a descriptor to be inherited."""
    descriptor = os.memfd_create("tokenomics-accounts", 0)
    os.ftruncate(descriptor, _PIECES_AT + CAPACITY * cells(processes) * 8)
    os.pwrite(descriptor, struct.pack("d", Clock().offset), _OFFSET_AT)
    return descriptor


class Accounts:
    """The shared memory as one process sees it: by token hash, under locks."""

    def __init__(self, descriptor: int, me: int, processes: int) -> None:
        self._descriptor = descriptor
        self._me = me
        self._processes = processes
        self._memory = memoryview(mmap.mmap(descriptor, 0))
        self._piece = cells(processes) * 8
        self._count = self._memory[:_OFFSET_AT].cast("q")
        self.clock_offset: float = self._memory[_OFFSET_AT:_KEYS_AT].cast("d")[0]
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

    def place(self, name: str) -> int:
        """Where a token's piece is; a new token is given one. Raises Refusal if there is none."""
        place = self._places.get(name)
        if place is None:
            key = bytes.fromhex(name)
            with self.locked(_LOCK_ALL):
                place = self._places[name] = self._find(key)
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
    """What a worker counts in. Every step raises Refusal if there is no place to count in."""

    def __init__(self, descriptor: int, me: int, processes: int) -> None:
        self._accounts = Accounts(descriptor, me, processes)
        self._clock = Clock(self._accounts.clock_offset)

    async def admit(self, account: str, limits: Limits, want: Want) -> Lease | Denied:
        """See Usage."""
        dues = limits.due(self._clock.wall())
        with self._alone_with(account) as counts:
            counts.changed()
            return law.admit(counts, limits.parallel, dues, want, self._clock.steady())

    async def trial(self, account: str, limits: Limits, want: Want) -> Lease | Denied:
        """See Usage."""
        place = self._accounts.place(account)
        with self._accounts.locked(place):
            counts = self._accounts.copy(place)
        dues = limits.due(self._clock.wall())
        with _refusing():
            return law.admit(counts, limits.parallel, dues, want, self._clock.steady())

    async def extend(self, account: str, lease: Lease, output: int) -> int:
        """See Usage."""
        with self._alone_with(account) as counts:
            counts.changed()
            return law.extend(counts, lease, output, self._clock.steady())

    async def move(self, account: str, lease: Lease, limits: Limits, want: Want) -> Denied | None:
        """See Usage."""
        dues = limits.due(self._clock.wall())
        with self._alone_with(account) as counts:
            counts.changed()
            return law.move(counts, lease, dues, want, self._clock.steady())

    async def settle(self, account: str, lease: Lease, bill: Bill) -> list[Crossing]:
        """See Usage."""
        with self._alone_with(account) as counts:
            crossed = law.settle(counts, lease, bill, self._clock.steady())
            counts.changed()
            return crossed

    @contextlib.contextmanager
    def _alone_with(self, account: str) -> Iterator[FlatAccount]:
        place = self._accounts.place(account)
        with self._accounts.locked(place), _refusing():
            yield self._accounts.account(place)


@contextlib.contextmanager
def _refusing() -> Iterator[None]:
    try:
        yield
    except NoRoom as e:
        raise Refusal("internal_error", f"the token cannot be counted: {e}") from None


class ParentUsage(JournalledUsage):
    """The parent's part: the journal, and giving back what a dead worker held."""

    def __init__(self, path: Path, descriptor: int, processes: int, say: Say) -> None:
        super().__init__(path, say)
        self._accounts = Accounts(descriptor, 0, processes)
        self._clock = Clock(self._accounts.clock_offset)
        self._written: dict[str, int] = {}  # by token: changes as far as they are in the journal

    def release(self, worker: int) -> None:
        """A worker is gone: what it held is free again."""
        for place in self._accounts.known().values():
            with self._accounts.locked(place):
                self._accounts.account(place).release(worker)

    def load_account(self, name: str, state: dict[str, Any]) -> None:
        """See JournalledUsage."""
        self._accounts.account(self._accounts.place(name)).load(state, self._clock.steady())

    def dump_account(self, name: str) -> dict[str, Any]:
        """See JournalledUsage."""
        place = self._accounts.place(name)
        with self._accounts.locked(place):
            account = self._accounts.account(place)
            self._written[name] = account.changes
            return account.dump()

    def take_changed(self) -> set[str]:
        """See JournalledUsage."""
        known = self._accounts.known()
        return {
            name
            for name, place in known.items()
            if self._accounts.account(place).changes != self._written.get(name, 0)
        }

    def put_back(self, names: set[str]) -> None:
        """See JournalledUsage."""
        for name in names:
            self._written.pop(name, None)

    def all_names(self) -> set[str]:
        """See JournalledUsage."""
        return set(self._accounts.known())
