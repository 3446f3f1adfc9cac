"""The change feed between the central server and its proxies, as JSON. Pure.

`GET /api/v1/changes?since=REV&source=ID.GENERATION&tip=TIP&wait=S` answers with what changed after
REV, oldest first. Where the source is another one by now, or its record REV is not the one that TIP
names, the answer is a reset: everything from the beginning. A long answer is cut (`more`); the
follower asks again from where it ended.
The list `GET /api/v1/tokens` is the Go original's form.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeVar

from tokenomics import strictjson
from tokenomics.store.database import Database
from tokenomics.store.table import Entry
from tokenomics.tokens import is_hash
from tokenomics.units import parse_rfc3339, rfc3339

T = TypeVar("T")

MAX_CHANGES = 2000  # tokens in one answer; at 1.4 KB a policy that is 3 MB
MAX_PAGE_BYTES = 8 << 20  # of policies in one answer: escaped, at most 6 times as long
MAX_FEED_BYTES = 64 << 20  # what a follower reads of one answer


@dataclass(frozen=True, slots=True)
class Change:
    """One token as the source has it; `policy` None: it was deleted. Times are epoch seconds."""

    hash: str
    policy: str | None
    created_at: float = 0.0
    expires_at: float | None = None
    name: str = ""
    account: str = ""


@dataclass(frozen=True, slots=True)
class Feed:
    """An answer of the feed. `revision` is where `changes` end."""

    source: str
    revision: int
    reset: bool
    more: bool
    changes: tuple[Change, ...]
    tip: str


def source_of(database: Database) -> str:
    """What revisions belong to: the database and its generation."""
    return f"{database.id}.{database.generation}"


def token_object(database: Database, entry: Entry) -> dict[str, Any]:
    """One token as the list and the original have it."""
    out = {
        "token_hash": entry.hash,
        "policy": database.policy_text(entry),
        "created_at": rfc3339(entry.created_at),
    }
    if entry.expires_at is not None:
        out["expires_at"] = rfc3339(entry.expires_at)
    if entry.name:
        out["name"] = entry.name
    if entry.account:
        out["account"] = entry.account
    return out


def follows(database: Database, source: str, since: int, tip: str) -> bool:
    """Whether what a follower knows, up to revision `since`, is part of this history."""
    table = database.table
    return source == source_of(database) and since <= table.revision and tip == table.tip(since)


def changes_since(database: Database, source: str, since: int, tip: str) -> dict[str, Any]:
    """The feed's answer to a follower that knows `source` up to revision `since` with its `tip`."""
    here = source_of(database)
    reset = not follows(database, source, since, tip)
    changed = database.table.since(0 if reset else since)
    rows: list[dict[str, Any]] = []
    room = MAX_PAGE_BYTES
    for item in changed[:MAX_CHANGES]:
        if room <= 0:
            break
        if isinstance(item, tuple):
            rows.append({"op": "delete", "token_hash": item[0], "revision": item[1]})
        else:
            token = token_object(database, item)
            rows.append({"op": "put", "revision": item.revision, **token})
            room -= len(token["policy"].encode())
    more = len(rows) < len(changed)
    end = rows[-1]["revision"] if more else database.table.revision
    return {
        "source": here,
        "revision": end,
        "tip": database.table.tip(end),
        "reset": reset,
        "more": more,
        "changes": rows,
    }


def parse_feed(body: bytes) -> Feed:
    """An answer of the feed. Raises ValueError if it is none."""
    document = strictjson.loads(body)
    try:
        return Feed(
            _typed(document, "source", str),
            _typed(document, "revision", int),
            _typed(document, "reset", bool),
            _typed(document, "more", bool),
            tuple(_feed_change(row) for row in _typed(document, "changes", list)),
            _typed(document, "tip", str),
        )
    except (KeyError, TypeError) as e:
        raise ValueError(f"not an answer of the change feed: {e!r}") from None


def parse_list(body: bytes) -> list[Change]:
    """The original's token list. Raises ValueError if it is none."""
    document = strictjson.loads(body)
    if not isinstance(document, list):  # an empty object is not an empty list of tokens
        raise ValueError("not a token list")
    try:
        return [_change(row) for row in document]
    except (KeyError, TypeError) as e:
        raise ValueError(f"not a token list: {e!r}") from None


def _typed(row: dict[str, Any], key: str, kind: type[T]) -> T:
    value = row[key]
    if type(value) is not kind:  # a bool is no revision
        raise ValueError(f"{key} is not a JSON value of the kind {kind.__name__}")
    return value


def _hash(row: dict[str, Any]) -> str:
    hash_ = _typed(row, "token_hash", str)
    if not is_hash(hash_):
        raise ValueError("a token hash must have 64 hex digits")
    return hash_


def _account(row: dict[str, Any]) -> str:
    account = _typed(row, "account", str)
    if not is_hash(account):
        raise ValueError("an account must have 64 hex digits")
    return account


def _feed_change(row: dict[str, Any]) -> Change:
    op = row["op"]
    if op == "delete":
        return Change(_hash(row), None)
    if op != "put":
        raise ValueError(f"unknown op {op!r}: is the central server newer than this proxy?")
    return _change(row)


def _change(row: dict[str, Any]) -> Change:
    expires = "expires_at" in row and row["expires_at"]
    return Change(
        _hash(row),
        _typed(row, "policy", str),
        parse_rfc3339(row["created_at"]),
        parse_rfc3339(expires) if expires else None,
        _typed(row, "name", str) if "name" in row else "",
        _account(row) if "account" in row else "",
    )
