"""Records of tokens folded into a table. Pure.

A record is `[revision, time, op, hash, fields]`. Revisions rise by one. `create` and `update` carry
the whole token, `delete` leaves a tombstone, so that a follower that knows revision N learns
everything from `since(N)`; `mark` notes up to where a replica has followed its source.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from tokenomics.tokens import is_hash

CREATE, UPDATE, DELETE, MARK = "create", "update", "delete", "mark"
OPS = (CREATE, UPDATE, DELETE, MARK)


@dataclass(frozen=True, slots=True)
class Record:
    """One change. `time` is epoch seconds; `hash` is "" for a mark."""

    revision: int
    time: float
    op: str
    hash: str
    fields: dict[str, Any]

    def row(self) -> list[Any]:
        """What is written."""
        return [self.revision, self.time, self.op, self.hash, self.fields]

    @classmethod
    def of(cls, row: Any) -> Record:
        """The record of a row. Raises ValueError if it is none."""
        match row:
            case [int(), int() | float(), str(op), str(), dict(fields), *_] if op in OPS:
                if op in (DELETE, MARK) or _is_token(fields):
                    return cls(*row[:5])
        raise ValueError("a record has fields that do not fit")


def _is_token(fields: dict[str, Any]) -> bool:
    match fields:
        case {
            "policy": str() | bytes(),
            "created": int() | float(),
            "expires": int() | float() | None,
            "name": str(),
        }:
            account = fields.get("account", "")
            return isinstance(account, str) and (not account or is_hash(account))
    return False


@dataclass(frozen=True, slots=True)
class Entry:
    """One token as it stands. `policy` is its JSON text, or bytes where it is sealed; times are
    epoch seconds, `expires_at` None for never. `account` is where it is counted, 64 hex digits as
    its hash, which "" stands for."""

    hash: str
    revision: int
    policy: str | bytes
    created_at: float
    expires_at: float | None
    name: str
    account: str = ""

    def fields(self) -> dict[str, Any]:
        """What a `create` or `update` record carries."""
        fields = {
            "policy": self.policy,
            "created": self.created_at,
            "expires": self.expires_at,
            "name": self.name,
        }
        return {**fields, "account": self.account} if self.account else fields

    @classmethod
    def of(cls, record: Record) -> Entry:
        """The entry that a record sets."""
        f = record.fields
        own = f["policy"], f["created"], f["expires"], f["name"], f.get("account", "")
        return cls(record.hash, record.revision, *own)


class Table:
    """The tokens after every record so far."""

    def __init__(self) -> None:
        self.entries: dict[str, Entry] = {}
        self.tombstones: dict[str, int] = {}
        self.revision = 0
        self.times: list[float] = []  # of every record: what tells two histories apart
        self.mark: dict[str, Any] = {}

    def fold(self, record: Record) -> None:
        """Apply the next record. Raises ValueError if it is not the next."""
        if record.revision != self.revision + 1:
            raise ValueError(f"revision {record.revision} follows {self.revision}")
        if record.op in (CREATE, UPDATE):
            self.entries[record.hash] = Entry.of(record)
            self.tombstones.pop(record.hash, None)
        elif record.op == DELETE:
            self.entries.pop(record.hash, None)
            self.tombstones[record.hash] = record.revision
        else:
            self.mark = record.fields
        self.revision = record.revision
        self.times.append(record.time)

    def tip(self, revision: int) -> str:
        """What names the record of a revision: a database that was restored and written to again
        has the same revisions, not the same tips. "" for revision 0."""
        return repr(self.times[revision - 1]) if revision else ""

    def since(self, revision: int) -> list[Entry | tuple[str, int]]:
        """What changed after `revision`, oldest first: entries, (hash, revision) of deletes."""
        changed: list[Entry | tuple[str, int]] = [
            e for e in self.entries.values() if e.revision > revision
        ]
        changed += [(h, r) for h, r in self.tombstones.items() if r > revision]
        return sorted(changed, key=lambda c: c[1] if isinstance(c, tuple) else c.revision)

    def find_prefix(self, prefix: str) -> list[str]:
        """The hashes that begin with `prefix`."""
        if prefix in self.entries:
            return [prefix]
        return [h for h in self.entries if h.startswith(prefix)]

    def find_name(self, name: str) -> list[str]:
        """The hashes of tokens with this name; "" is no name."""
        return [e.hash for e in self.entries.values() if e.name == name != ""]


def fold_all(records: Iterable[Record]) -> Table:
    """The table of a whole history."""
    table = Table()
    for record in records:
        table.fold(record)
    return table
