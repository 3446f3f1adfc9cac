"""The change feed between the central server and its proxies, as JSON. Pure.

`GET /api/v1/changes?since=REV&source=ID.GENERATION&wait=SECONDS` answers with what changed after
REV, oldest first. Where the source is another one by now, or REV is unknown, the answer is a
reset: everything from the beginning. A long answer is cut (`more`); the follower asks again from
where it ended.
The list `GET /api/v1/tokens` is the Go original's form.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tokenomics import strictjson
from tokenomics.store.database import Database
from tokenomics.store.table import Entry
from tokenomics.tokens import HASH_DIGITS
from tokenomics.units import parse_rfc3339, rfc3339

MAX_CHANGES = 2000  # tokens in one answer; at 1.4 KB a policy that is 3 MB
MAX_FEED_BYTES = 64 << 20


@dataclass(frozen=True, slots=True)
class Change:
    """One token as the source has it; `policy` None: it was deleted. Times are epoch seconds."""

    hash: str
    policy: str | None
    created_at: float = 0.0
    expires_at: float | None = None
    name: str = ""


@dataclass(frozen=True, slots=True)
class Feed:
    """An answer of the feed. `revision` is where `changes` end."""

    source: str
    revision: int
    reset: bool
    more: bool
    changes: tuple[Change, ...]


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
    return out


def changes_since(database: Database, source: str, since: int) -> dict[str, Any]:
    """The feed's answer to a follower that knows `source` up to revision `since`."""
    here = source_of(database)
    reset = source != here or since > database.table.revision
    changed = database.table.since(0 if reset else since)
    page = changed[:MAX_CHANGES]
    more = len(changed) > len(page)
    rows: list[dict[str, Any]] = []
    for item in page:
        if isinstance(item, tuple):
            rows.append({"op": "delete", "token_hash": item[0], "revision": item[1]})
        else:
            token = token_object(database, item)
            rows.append({"op": "put", "revision": item.revision, **token})
    return {
        "source": here,
        "revision": rows[-1]["revision"] if more else database.table.revision,
        "reset": reset,
        "more": more,
        "changes": rows,
    }


def parse_feed(body: bytes) -> Feed:
    """An answer of the feed. Raises ValueError if it is none."""
    document = strictjson.loads(body)
    try:
        changes = tuple(
            Change(_hash(row), None) if row["op"] == "delete" else _change(row)
            for row in document["changes"]
        )
        return Feed(
            str(document["source"]),
            int(document["revision"]),
            bool(document["reset"]),
            bool(document["more"]),
            changes,
        )
    except (KeyError, TypeError) as e:
        raise ValueError(f"not an answer of the change feed: {e!r}") from None


def parse_list(body: bytes) -> list[Change]:
    """The original's token list. Raises ValueError if it is none."""
    document = strictjson.loads(body)
    try:
        return [_change(row) for row in document]
    except (KeyError, TypeError) as e:
        raise ValueError(f"not a token list: {e!r}") from None


def _hash(row: dict[str, Any]) -> str:
    hash_ = row["token_hash"]
    if not isinstance(hash_, str) or len(hash_) != HASH_DIGITS:
        raise ValueError("a token hash must have 64 hex digits")
    return hash_


def _change(row: dict[str, Any]) -> Change:
    expires = row.get("expires_at")
    return Change(
        _hash(row),
        str(row["policy"]),
        parse_rfc3339(row["created_at"]),
        parse_rfc3339(expires) if expires else None,
        str(row.get("name", "")),
    )
