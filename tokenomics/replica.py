"""A proxy's copy of the central server's tokens, kept on disk and followed three ways.

The held-open change request brings a change at once; a webhook push nudges a second, immediate
request where the first is held up; the poll every `remote.sync` seconds is the net under both. All
three apply what they bring under one lock, in revisions, so their order does not matter and a nudge
during a sync causes another one.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import quote

import trio

from tokenomics import strictjson
from tokenomics.config.settings import Remote
from tokenomics.errors import Failed, Invalid
from tokenomics.logs import Log
from tokenomics.net.client import Broken, Client, Unreachable
from tokenomics.net.origin import parse_origin
from tokenomics.store import table
from tokenomics.store.database import Database
from tokenomics.store.feed import MAX_FEED_BYTES, Change, parse_feed, parse_list

HOLD_SECONDS = 50  # how long a change request is held open; middleboxes cut at 60 and more
ANSWER_SECONDS = 30.0  # for an answer beyond the hold
FIRST_RETRY_SECONDS = 0.25
MAX_RETRY_SECONDS = 15.0
FINGERPRINT_HEADER = "x-tokenomics-key-fingerprint"


class SyncError(Exception):
    """A sync did not work; the message is for the operator."""


@dataclass(slots=True)
class Status:
    """How the replica stands. `synced_at` is the epoch second of the last success, 0 for never."""

    synced_at: float = 0.0
    problem: str = ""


class Sync(Protocol):
    """Who follows the centre, as the application sees it."""

    @property
    def status(self) -> Status:
        """How it stands."""

    def has_tokens(self) -> bool:
        """Whether there was a sync, ever."""

    def nudge(self) -> None:
        """Something changed at the centre."""


class Replica:
    """Follows one central server into one database file, which it owns."""

    def __init__(
        self,
        database: Database,
        client: Client,
        remote: Remote,
        fingerprint: str,
        log: Log,
        emit: Callable[[str, dict[str, Any]], None],
    ) -> None:
        self.database = database
        self.status = Status()
        self._client = client
        self._remote = remote
        self._origin = parse_origin(remote.url, insecure=remote.insecure, ca_file=remote.ca_file)
        self._fingerprint = fingerprint
        self._log = log
        self._emit = emit
        self._lock = trio.Lock()
        self._nudged = trio.Event()
        self._listed = False  # the last sync was by list: the original's server has no feed

    def has_tokens(self) -> bool:
        """Whether it has been synced, by this process or one before it."""
        return bool(self.status.synced_at or self.database.table.mark)

    def nudge(self) -> None:
        """Something changed at the centre: sync now, and again if a sync is under way."""
        self._nudged.set()

    async def run(self) -> None:
        """Follow for ever. Failures are reported once, retried with backoff, and end in a sync."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._follow)
            nursery.start_soon(self._answer_nudges)

    async def _follow(self) -> None:
        wait = FIRST_RETRY_SECONDS
        while True:
            try:
                # After a failure too: held open, the answer that all is well would come late.
                at_once = not self.status.synced_at or self.status.problem
                await self.sync(0 if at_once else HOLD_SECONDS)
                wait = FIRST_RETRY_SECONDS
                if self._listed:
                    await trio.sleep(self._remote.sync or HOLD_SECONDS)
            except SyncError as e:
                self._failed(str(e))
                await trio.sleep(wait * random.uniform(0.5, 1))
                wait = min(wait * 2, MAX_RETRY_SECONDS)

    async def _answer_nudges(self) -> None:
        while True:
            with trio.move_on_after(self._remote.sync or float("inf")):
                await self._nudged.wait()
            self._nudged = trio.Event()
            try:
                await self.sync(0)
            except SyncError as e:
                self._failed(str(e))

    def _failed(self, problem: str) -> None:
        if self.status.problem != problem:
            self._log.say("error", f"sync with {self._remote.url} failed: {problem}")
            self._emit("sync.failed", {"url": self._remote.url, "error": problem})
        self.status.problem = problem

    def _succeeded(self) -> None:
        if self.status.problem:
            self._log.say("info", f"sync with {self._remote.url} works again")
            self._emit("sync.recovered", {"url": self._remote.url})
        self.status = Status(time.time())

    async def sync(self, hold: int) -> None:
        """Bring the replica up to date; with `hold` seconds, wait that long for a change.

        Raises SyncError.
        """
        await self._sync_feed(hold)
        self._succeeded()

    async def _sync_feed(self, hold: int) -> None:
        """Fetch every page before applying one: half a reset would refuse good tokens."""
        mark = self.database.table.mark
        source, since, tip = mark.get("source", ""), mark.get("revision", 0), mark.get("tip", "")
        changes: list[Change] = []
        reset, more = False, True
        while more:
            place = f"since={since}&source={quote(source)}&tip={quote(tip)}"
            target = f"/api/v1/changes?{place}&wait={hold}"
            status, body = await self._get(target, hold + ANSWER_SECONDS)
            self._listed = status == 404
            if self._listed:
                await self._sync_list()
                return
            self._check(status, body)
            try:
                feed = parse_feed(body)
            except ValueError as e:
                raise SyncError(f"the answer cannot be read: {e}") from None
            changes = [*([] if feed.reset else changes), *feed.changes]
            source, since, tip = feed.source, feed.revision, feed.tip
            more, hold = feed.more, 0
            reset = reset or feed.reset
        if reset and self.database.table.entries and all(c.policy is None for c in changes):
            raise SyncError(
                "the central server has another database now, without a token in it; the tokens of"
                " before stay in force. If that was meant, end this proxy and delete"
                f" {self.database.path}"
            )
        async with self._lock:
            mark = self.database.table.mark
            known = mark.get("source") == source and mark.get("revision", 0) >= since
            if reset or not known:  # else the other task brought it already
                new = {"source": source, "revision": since, "tip": tip}
                await self._apply(changes, new, replace=reset)

    async def _sync_list(self) -> None:
        status, body = await self._get("/api/v1/tokens", ANSWER_SECONDS)
        self._check(status, body)
        try:
            found = parse_list(body)
        except ValueError as e:
            raise SyncError(f"the answer cannot be read: {e}") from None
        async with self._lock:
            here = self.database.table.entries
            there = {change.hash for change in found}
            changes = [c for c in found if not self._holds(c)]
            changes += [Change(hash_, None) for hash_ in here if hash_ not in there]
            if changes:
                await self._apply(changes, {"source": "list", "revision": 0}, replace=False)

    def _holds(self, change: Change) -> bool:
        entry = self.database.table.entries.get(change.hash)
        return (
            entry is not None
            and entry.expires_at == change.expires_at
            and self.database.policy_text(entry) == change.policy
        )

    async def _apply(self, changes: list[Change], mark: dict[str, Any], *, replace: bool) -> None:
        rows: list[tuple[str, str, dict[str, Any]]] = []
        for change in changes:
            if change.policy is None:
                rows.append((table.DELETE, change.hash, {}))
            else:
                times = change.created_at, change.expires_at
                names = change.name, change.account
                entry = table.Entry(change.hash, 0, change.policy, *times, *names)
                rows.append((table.CREATE, change.hash, entry.fields()))
        rows.append((table.MARK, "", mark))
        try:
            await trio.to_thread.run_sync(self._write, rows, replace)
        except (Failed, Invalid) as e:
            raise SyncError(f"the replica cannot be written: {e}") from None

    def _write(self, rows: list[tuple[str, str, dict[str, Any]]], replace: bool) -> None:
        if replace:
            self.database.replace_all(rows)
            return
        with self.database.writing() as writer:
            writer.changes += rows

    async def _get(self, target: str, seconds: float) -> tuple[int, bytes]:
        headers = [
            (b"authorization", b"Bearer " + self._remote.api_key.reveal().encode()),
            (FINGERPRINT_HEADER.encode(), self._fingerprint.encode()),
        ]
        with trio.move_on_after(seconds):
            try:
                with await self._client.call(self._origin, "GET", target, headers) as call:
                    return call.answer.status, await call.read_all(MAX_FEED_BYTES)
            except (Unreachable, Broken) as e:
                raise SyncError(str(e)) from None
            except Exception as e:
                self._log.say("error", f"sync failed: {e!r}", error=e)
                raise SyncError(f"internal error: {e!r}") from e
        raise SyncError(f"no answer within {seconds:.0f} s")

    def _check(self, status: int, body: bytes) -> None:
        if status == 200:
            return
        reasons = {
            401: "the central server wants an API key: set remote.api_key",
            403: "the central server refuses remote.api_key: it must be its --api-key",
            409: _error_text(body),
        }
        raise SyncError(reasons.get(status, f"the central server answered {status}"))


def _error_text(body: bytes) -> str:
    try:
        return str(strictjson.loads(body)["error"])
    except (strictjson.BadJSON, KeyError, TypeError):
        return "the central server refuses this proxy (409)"
