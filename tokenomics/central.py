"""The central config server: the token database over REST, and events when it changes.

Commands write the database file; this process follows it, wakes the proxies that hold a change
request open, and pushes `token.*` events to the webhook targets.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs

import trio

from tokenomics import strictjson
from tokenomics.errors import Failed, Invalid
from tokenomics.follow import follow
from tokenomics.logs import Log
from tokenomics.net.connection import Reply, Request
from tokenomics.net.heads import RequestHead
from tokenomics.replica import FINGERPRINT_HEADER
from tokenomics.store.database import Database
from tokenomics.store.feed import changes_since, follows, token_object
from tokenomics.store.table import CREATE, DELETE, UPDATE, Record
from tokenomics.tokens import EVENT_HASH_DIGITS, HASH_DIGITS, Secret, same
from tokenomics.units import rfc3339
from tokenomics.webhooks import Webhooks

MAX_WAIT_SECONDS = 60  # a held-open request is answered by then, changed or not
_TOKEN_EVENTS = {CREATE: "token.created", UPDATE: "token.updated", DELETE: "token.deleted"}
_JSON = [(b"content-type", b"application/json")]


class Central:
    """The `remote` application."""

    def __init__(
        self, database: Database, api_key: Secret, fingerprint: str, webhooks: Webhooks, log: Log
    ) -> None:
        self._database = database
        self._api_key = api_key
        self._fingerprint = fingerprint
        self._webhooks = webhooks
        self._log = log
        self._changed = trio.Event()
        self._ending = False

    def end(self) -> None:
        """The server drains: answer the requests that are held open."""
        self._ending = True
        self._changed.set()

    async def run(self) -> None:
        """Follow the database for ever."""
        await follow(self._database, self._took, self._log)

    def _took(self, records: list[Record]) -> None:
        self._changed.set()
        self._changed = trio.Event()
        for record in records:
            emit_token_event(self._webhooks, record)

    async def app(self, request: Request, reply: Reply) -> None:
        """Answer one request."""
        head = request.head
        if head.path == "/health":
            await reply.send(200, _JSON, b'{"status":"ok"}')
            return
        status, body = await self._answer(head)
        await reply.send(status, _JSON, strictjson.dumps(body))

    async def _answer(self, head: RequestHead) -> tuple[int, Any]:
        refused = self._authorize(head)
        if refused:
            return refused
        path = head.path.rstrip("/")
        if not path.startswith(("/api/v1/tokens", "/api/v1/changes")):
            return 404, {"error": "not found"}
        if head.method not in ("GET", "HEAD"):
            return 405, {"error": "method not allowed"}
        try:
            if path == "/api/v1/changes":
                return await self._changes(head)
            if path == "/api/v1/tokens":
                entries = self._database.table.entries.values()
                return 200, [token_object(self._database, entry) for entry in entries]
            return self._token(path.removeprefix("/api/v1/tokens/"))
        except (Invalid, Failed) as e:
            self._log.say("error", f"request failed: {e}")
            return 500, {"error": "the token database cannot be read; see the server's log"}

    def _authorize(self, head: RequestHead) -> tuple[int, Any] | None:
        scheme, _, key = (head.get(b"authorization") or "").partition(" ")
        if scheme.lower() != "bearer" or not key:
            return 401, {"error": "missing authorization"}
        if not same(key.strip(), self._api_key.reveal()):
            return 403, {"error": "invalid api key"}
        theirs = head.get(FINGERPRINT_HEADER.encode())
        if theirs is not None and not same(theirs, self._fingerprint):
            self._log.say(
                "error",
                "a proxy hashes tokens with another key than this server: none would match;"
                " set the same TOKENOMICS_HASH_KEY on both",
                fingerprint=self._fingerprint,
                theirs=theirs,
            )
            return 409, {
                "error": "the hash keys differ: set the same TOKENOMICS_HASH_KEY on the central"
                f" server (fingerprint {self._fingerprint}) and on this proxy ({theirs})"
            }
        return None

    def _token(self, hash_: str) -> tuple[int, Any]:
        if not hash_:
            return 400, {"error": "missing token hash"}
        entry = self._database.table.entries.get(hash_) if len(hash_) == HASH_DIGITS else None
        if entry is None:
            return 404, {"error": "not found"}
        return 200, token_object(self._database, entry)

    async def _changes(self, head: RequestHead) -> tuple[int, Any]:
        query = parse_qs(head.query)

        def number(name: str) -> int:
            text = query.get(name, ["0"])[0]
            return int(text) if text.isascii() and text.isdigit() and len(text) < 16 else -1

        since, wait = number("since"), number("wait")
        source, tip = query.get("source", [""])[0], query.get("tip", [""])[0]
        if since < 0 or wait < 0:
            return 400, {"error": "since and wait must be whole numbers"}
        with trio.move_on_after(min(wait, MAX_WAIT_SECONDS)):
            while (
                follows(self._database, source, since, tip)
                and since == self._database.table.revision
                and not self._ending
            ):
                await self._changed.wait()
        return 200, changes_since(self._database, source, since, tip)


def emit_token_event(webhooks: Webhooks, record: Record) -> None:
    """The `token.*` event of a database record; data as the original sends it."""
    data: dict[str, Any] = {"token_hash": record.hash[:EVENT_HASH_DIGITS]}
    if record.op in (CREATE, UPDATE):
        expires = record.fields["expires"]
        data["expires_at"] = rfc3339(expires) if expires else ""
    if record.op in _TOKEN_EVENTS:
        webhooks.emit(_TOKEN_EVENTS[record.op], data)
