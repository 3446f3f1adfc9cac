"""Following a database file that other processes write."""

from __future__ import annotations

from collections.abc import Callable

import trio

from tokenomics.errors import Failed, Invalid
from tokenomics.logs import Log
from tokenomics.store.database import Database
from tokenomics.store.table import Record

# One stat each time: 0.1 % of a core, and half of it is the average delay of a change.
FOLLOW_SECONDS = 0.03


async def follow(database: Database, took: Callable[[list[Record]], None], log: Log) -> None:
    """Read what is appended, for ever, and hand it on; nothing is handed on when the database was
    replaced. What cannot be read is said once, and what was read before stays in force."""
    problem = ""
    while True:
        await trio.sleep(FOLLOW_SECONDS)
        try:
            if not database.changed():
                continue
            before = (database.id, database.generation)
            records = database.refresh()
            if before[0] and before != (database.id, database.generation):
                records = []  # another database stands here now: its past is no news
        except (Invalid, Failed) as e:
            if str(e) != problem:
                log.say("error", f"token database: {e}; the last good state stays in force")
            problem = str(e)
            continue
        if problem:
            log.say("info", "token database: readable again")
        problem = ""
        took(records)
