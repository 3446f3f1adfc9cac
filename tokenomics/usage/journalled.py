"""The journal of accounts: what every home of them that owns the file has in common.

What changed is written a few times a second: a killed process loses at most that.
"""

from __future__ import annotations

import contextlib
import uuid
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import trio

from tokenomics.errors import Failed, Invalid, Refused
from tokenomics.store.journal import Header, Journal, Locked, Say

FLUSH_SECONDS = 0.25
LOOK_SECONDS = 0.2  # more than `is_owned` holds the lock for
# A journal longer than this is rewritten to one row per account, once it has doubled since.
REWRITE_BYTES = 8 << 20

Rows = list[list[Any]]  # (account, `Account.dump`)


class JournalledUsage(ABC):
    """Owns the journal's file. Where the accounts are is for the classes below."""

    def __init__(self, path: Path, say: Say) -> None:
        self._journal = Journal(path, say)
        self._say = say
        self._rewritten_bytes = 0

    @abstractmethod
    def load_account(self, name: str, state: dict[str, Any]) -> None:
        """Take over an account from the journal."""

    @abstractmethod
    def dump_account(self, name: str) -> dict[str, Any]:
        """A copy of an account, for the journal."""

    @abstractmethod
    def take_changed(self) -> set[str]:
        """The accounts that changed since this was asked last."""

    @abstractmethod
    def put_back(self, names: set[str]) -> None:
        """Their changes could not be written."""

    @abstractmethod
    def all_names(self) -> Iterable[str]:
        """Every account there is."""

    @contextlib.contextmanager
    def open(self) -> Iterator[None]:
        """Own the file for the life of the process: read it, and write what is left at the end.

        Raises Refused if another process owns it, Invalid if it is damaged, Failed if it cannot be
        written.
        """
        path = self._journal.path
        with contextlib.ExitStack() as stack:
            try:
                stack.enter_context(self._journal.lock(LOOK_SECONDS))
            except Locked as e:
                raise Refused(
                    f"{e}: another `serve` counts there; give this one a database of its own (--db)"
                ) from None
            _, rows = self._journal.read()
            try:
                for name, state in dict(rows).items():  # the last row of each
                    self.load_account(name, state)
            except (ValueError, LookupError, TypeError, AttributeError) as e:
                raise Invalid(f"{path}: an account cannot be read ({e}); move it away") from None
            self._write([[n, self.dump_account(n)] for n in self.all_names()], True)
            try:
                yield
            finally:
                self._write(*self._changes(self.take_changed()))

    async def run(self) -> None:
        """Write what changed, for ever; to run while `open`. A full disk is said once, and counting
        goes on in memory."""
        failing = False
        while True:
            await trio.sleep(FLUSH_SECONDS)
            changed = self.take_changed()
            if not changed:
                continue
            rows, whole = self._changes(changed)
            try:
                with trio.CancelScope(shield=True):  # a cancel while threads are short loses rows
                    await trio.to_thread.run_sync(self._write, rows, whole)
                failing = False
            except Failed as e:
                self.put_back(changed)
                if not failing:
                    self._say(f"usage is kept in memory only: {e}")
                failing = True

    def _changes(self, changed: Iterable[str]) -> tuple[Rows, bool]:
        """What to write, and whether as the whole file. Copies: accounts go on changing while a
        thread writes."""
        whole = self._journal.size > max(REWRITE_BYTES, 2 * self._rewritten_bytes)
        return [[n, self.dump_account(n)] for n in (self.all_names() if whole else changed)], whole

    def _write(self, rows: Rows, whole: bool) -> None:
        if whole:
            header = self._journal.header or Header(uuid.uuid4().hex, 1)
            self._journal.rewrite(header, rows)
            self._rewritten_bytes = self._journal.size
        elif rows:
            self._journal.append(rows)


def read_states(path: Path, say: Say) -> dict[str, dict[str, Any]]:
    """What a journal says of each account (`Account.dump`), also while a process owns it. Raises
    Invalid or Failed."""
    return dict(Journal(path, say).read()[1])


def is_owned(path: Path, say: Say) -> bool:
    """Whether a process counts in a journal now. Raises Failed."""
    try:
        with Journal(path, say).lock(seconds=0):
            return False
    except Locked:
        return True
