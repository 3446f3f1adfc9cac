"""The token database: a journal of token records, its table, and its seal.

`remote`, `serve` and every command open the same file; each follows it by itself.
"""

from __future__ import annotations

import contextlib
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tokenomics.errors import Ambiguous, Failed, Invalid, NotFound
from tokenomics.store.journal import Header, Journal, Say
from tokenomics.store.seal import Seal, new_header, seal_for
from tokenomics.store.table import CREATE, DELETE, MARK, UPDATE, Entry, Record, Table, fold_all
from tokenomics.tokens import Secret, is_hash_prefix


@dataclass(frozen=True, slots=True)
class Place:
    """Where a database is and how it is opened. `variable` names the secret in messages."""

    path: Path
    secret: Secret
    variable: str = "TOKENOMICS_ENCRYPTION_KEY"


class Database:
    """One open database. `table` is what was last read; `refresh` follows the file.

    `table`, the identity and the seal change together, and only when all three are good.
    """

    def __init__(self, place: Place, say: Say) -> None:
        """Raises Invalid or Failed as `refresh` does. A missing file is an empty database."""
        self._place = place
        self._journal = Journal(place.path, say)
        self._header: Header | None = None
        self._seal: Seal | None = None
        self.table = Table()
        self.refresh()

    @property
    def path(self) -> Path:
        """The file."""
        return self._place.path

    @property
    def id(self) -> str:
        """The file's identity, "" before its first write."""
        return self._header.id if self._header else ""

    @property
    def generation(self) -> int:
        """How often the file was rewritten; revisions of other generations do not compare."""
        return self._header.generation if self._header else 0

    def changed(self) -> bool:
        """Whether the file changed since the last refresh; costs one stat."""
        return self._journal.changed()

    def refresh(self) -> list[Record]:
        """Follow the file; the new records are returned.

        Raises Invalid (damaged, foreign, wrong key) or Failed (unreadable); the table is then what
        it was.
        """
        again, rows = self._journal.read()
        header, place = self._journal.header, self._place
        table, seal = (Table(), None) if again else (self.table, self._seal)
        try:
            if again and header is not None:
                seal = seal_for(header, place.secret, str(place.path), place.variable)
            records = [Record.of(row) for row in rows]
            for record in records:
                table.fold(record)
        except ValueError as e:
            self._journal.forget()
            raise Invalid(f"{self._place.path}: {e}; see `tokenomics db verify`") from None
        except Invalid:
            self._journal.forget()
            raise
        self.table, self._header, self._seal = table, header, seal
        return records

    def policy_text(self, entry: Entry) -> str:
        """An entry's policy as JSON text. Raises Invalid if it does not open."""
        if self._seal is None and isinstance(entry.policy, str):
            return entry.policy
        if self._seal is None or isinstance(entry.policy, str):  # else the seal could be got round
            raise Invalid(
                f"token {entry.hash[:16]}: either the policy or the database is sealed, not both"
            )
        return self._seal.open(entry.hash, entry.revision, entry.policy)

    def find(self, *, prefix: str | None = None, name: str | None = None) -> Entry:
        """The token with a hash prefix or a name. Raises NotFound, Ambiguous or Invalid."""
        if prefix is not None:
            what = f"--hash {prefix}"
            if not is_hash_prefix(prefix):
                raise Invalid(f"{what}: a hash prefix is 6 to 64 hex digits")
            found = self.table.find_prefix(prefix)
        else:
            what = f"--name {name}"
            found = self.table.find_name(name or "")
        if not found:
            raise NotFound(f"{what}: no such token in {self._place.path}")
        if len(found) > 1:
            some = ", ".join(h[:16] for h in found[:5])
            raise Ambiguous(f"{what} stands for {len(found)} tokens: {some}")
        return self.table.entries[found[0]]

    @contextlib.contextmanager
    def writing(self) -> Iterator[Writer]:
        """Be the only writer, up to date; on leaving without an error all changes are durable.

        Raises Failed (lock, disk) or Invalid (damage): nothing was written then.
        """
        with self._journal.lock():
            self.refresh()
            writer = Writer(self)
            yield writer
            if writer.changes:
                self._commit(writer.changes)

    def _commit(self, changes: list[tuple[str, str, dict[str, Any]]]) -> None:
        if self._header is None:
            header, seal = new_header(uuid.uuid4().hex, self._place.secret)
            self._journal.create(header)
            self._header, self._seal = header, seal
        records = self._records(changes, self.table.revision, self._seal)
        self._journal.append([record.row() for record in records])
        for record in records:
            self.table.fold(record)

    def _records(
        self, changes: list[tuple[str, str, dict[str, Any]]], last: int, seal: Seal | None
    ) -> list[Record]:
        now = time.time()
        records = []
        for revision, (op, hash_, fields) in enumerate(changes, last + 1):
            if op in (CREATE, UPDATE) and seal is not None:
                sealed = seal.close(hash_, revision, fields["policy"])
                fields = {**fields, "policy": sealed}
            records.append(Record(revision, now, op, hash_, fields))
        return records

    def replace_all(self, changes: list[tuple[str, str, dict[str, Any]]]) -> None:
        """Replace everything by `changes`, as a new generation of the file. For replicas."""
        with self._journal.lock():
            with contextlib.suppress(Invalid):  # what was damaged is being replaced
                self.refresh()
            old = self._header
            header, seal = new_header(old.id if old else uuid.uuid4().hex, self._place.secret)
            header = replace(header, generation=(old.generation if old else 0) + 1)
            records = self._records(changes, 0, seal)
            table = fold_all(records)
            self._journal.rewrite(header, [record.row() for record in records])
            self.table, self._header, self._seal = table, header, seal


class Writer:
    """Changes that are committed together."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.changes: list[tuple[str, str, dict[str, Any]]] = []

    def put(
        self,
        hash_: str,
        policy: str,
        created_at: float,
        expires_at: float | None,
        name: str,
        *,
        account: str = "",
        reason: str = "",
    ) -> None:
        """Set a token. `policy` is its JSON text, `reason` is kept with the change. Raises Failed
        if the name is another's."""
        changed = {h: fields.get("name") for _, h, fields in self.changes}
        others = [h for h in self.database.table.find_name(name) if h not in changed]
        others += [h for h, new in changed.items() if name and new == name]
        others = [h for h in others if h != hash_]
        if others:
            raise Failed(f"the name {name!r} belongs to token {others[0][:16]} already")
        entry = Entry(hash_, 0, policy, created_at, expires_at, name, account)
        op = UPDATE if hash_ in self.database.table.entries else CREATE
        fields = {**entry.fields(), "reason": reason} if reason else entry.fields()
        self.changes.append((op, hash_, fields))

    def delete(self, hash_: str) -> None:
        """Delete a token."""
        self.changes.append((DELETE, hash_, {}))

    def mark(self, fields: dict[str, Any]) -> None:
        """Note up to where a source has been followed."""
        self.changes.append((MARK, "", fields))
