"""Sending events to webhook targets: one queue and one task per target, in order.

A target that is slow or down delays nobody else. Delivery is retried with backoff; an answer of 4xx
(except 408 and 429) is final. The queue is bounded and in memory: what a full queue or a restart
loses is counted and said.
"""

from __future__ import annotations

import contextlib
import random
import time
import uuid
from collections.abc import Sequence
from typing import Any, Protocol
from urllib.parse import urlsplit

import trio

from tokenomics.config.settings import Webhook
from tokenomics.events import TYPES, Event, headers, matches
from tokenomics.logs import Log
from tokenomics.net.client import Broken, Client, Unreachable
from tokenomics.net.origin import Origin, parse_origin

QUEUE_EVENTS = 1000
FIRST_RETRY_SECONDS = 0.5
MAX_RETRY_SECONDS = 60.0
GIVE_UP_SECONDS = 3 * 86400.0
MAX_ANSWER = 1 << 20  # bytes of an answer that are read to keep the connection
DRAIN_SECONDS = 2.0


class _Target:
    """One webhook: its queue and where it goes."""

    def __init__(self, hook: Webhook) -> None:
        self.take(hook)
        self.scope = trio.CancelScope()  # of its task
        self.started = False
        self.send, self.receive = trio.open_memory_channel[Event](QUEUE_EVENTS)
        self.dropped = 0
        self.failing = False

    def take(self, hook: Webhook) -> None:
        """Go by other settings from the next attempt on."""
        self.hook = hook
        self.origin: Origin = parse_origin(hook.url, insecure=hook.insecure, ca_file=hook.ca_file)


class Emitter(Protocol):
    """Takes events, and sees to it that they are delivered."""

    def __bool__(self) -> bool:
        """Whether anybody wants events."""

    def emit(self, type_: str, data: dict[str, Any]) -> None:
        """An event happened. Never waits."""

    def retarget(self, hooks: Sequence[Webhook]) -> None:
        """Have other targets from now on."""


class Webhooks:
    """All targets. `emit` never waits."""

    def __init__(self, hooks: Sequence[Webhook], client: Client, log: Log) -> None:
        self._targets = [_Target(hook) for hook in hooks]
        self._client = client
        self._log = log
        self._changed = trio.Event()

    def retarget(self, hooks: Sequence[Webhook]) -> None:
        """Have other targets from now on. One whose URL stays keeps its queue; one that goes has as
        long as at the end of the process to take what is queued for it."""
        before = list(self._targets)
        self._targets = []
        for hook in hooks:
            target = next((t for t in before if t.hook.url == hook.url), None)
            if target is None:
                target = _Target(hook)
            else:
                before.remove(target)
                target.take(hook)
            self._targets.append(target)
        for target in before:
            target.scope.cancel()
        self._changed.set()

    def __bool__(self) -> bool:
        """Whether there is a target at all."""
        return bool(self._targets)

    def emit(self, type_: str, data: dict[str, Any]) -> None:
        """Hand an event to every target that wants it. The type is one of `events.TYPES`."""
        assert type_ in TYPES, type_
        wanted = [t for t in self._targets if matches(t.hook.events, type_)]
        if not wanted:
            return
        event = Event(f"evt_{uuid.uuid4().hex}", type_, time.time(), data)
        for target in wanted:
            try:
                target.send.send_nowait(event)
            except trio.WouldBlock:
                target.dropped += 1
                if target.dropped == 1 or target.dropped % QUEUE_EVENTS == 0:
                    self._log.say(
                        "warn",
                        f"webhook {target.origin.authority}: queue full, events dropped",
                        dropped=target.dropped,
                    )

    async def run(self) -> None:
        """Deliver until cancelled; then give what is queued a moment to go out."""
        async with trio.open_nursery() as nursery:
            while True:
                for target in self._targets:
                    if not target.started:
                        target.started = True
                        nursery.start_soon(self._serve, target)
                await self._changed.wait()
                self._changed = trio.Event()

    async def _serve(self, target: _Target) -> None:
        with target.scope:
            await self._work(target)

    async def _work(self, target: _Target) -> None:
        pending: list[Event] = []
        try:
            async for event in target.receive:
                pending = [event]
                await self._deliver(target, event)
                pending = []
        finally:
            with trio.move_on_after(DRAIN_SECONDS, shield=True):
                await trio.lowlevel.checkpoint()  # what is cancelled beside us says server.stop
                with contextlib.suppress(trio.WouldBlock):
                    while True:
                        pending.append(target.receive.receive_nowait())
                while pending and not (await self._post(target, pending[0]))[0]:
                    pending.pop(0)
            if pending:
                self._log.say(
                    "warn", f"webhook {target.origin.authority}: events lost", lost=len(pending)
                )

    async def _deliver(self, target: _Target, event: Event) -> None:
        """Try until the target takes it, refuses it for good, or three days have passed."""
        deadline = trio.current_time() + GIVE_UP_SECONDS
        wait = FIRST_RETRY_SECONDS
        while True:
            problem, final = await self._post(target, event)
            if not problem:
                if target.failing:
                    self._log.say("info", f"webhook {target.origin.authority}: delivering again")
                target.failing = False
                return
            if not target.failing or final:
                self._log.say(
                    "warn", f"webhook {target.origin.authority}: {problem}", event=event.type
                )
            target.failing = True
            if final or trio.current_time() > deadline:
                return
            await trio.sleep(wait * random.uniform(0.5, 1))
            wait = min(wait * 2, MAX_RETRY_SECONDS)

    async def _post(self, target: _Target, event: Event) -> tuple[str, bool]:
        """(what went wrong or "", whether trying again is useless)."""
        try:
            return await self._send(target, event)
        except Exception as e:  # noqa: BLE001  outer door: a bug loses one event, not the process
            self._log.say("error", f"webhook {target.origin.authority}: {e!r}", error=e)
            return f"internal error: {e!r}", True

    async def _send(self, target: _Target, event: Event) -> tuple[str, bool]:
        hook, body = target.hook, event.body()
        fields = headers(
            event,
            body,
            secret=hook.secret.reveal(),
            signing_key=hook.signing_key.reveal(),
            now=time.time(),
        )
        raw = [(name.encode(), value.encode()) for name, value in fields]
        query = urlsplit(hook.url).query
        path = f"?{query}" if query else "" if target.origin.path else "/"
        with trio.move_on_after(hook.timeout):
            try:
                with await self._client.call(target.origin, "POST", path, raw, body) as call:
                    await call.read_all(MAX_ANSWER)
                    status = call.answer.status
            except (Unreachable, Broken) as e:
                return f"no delivery: {e}", False
            if 200 <= status < 300:
                return "", False
            return f"answered {status}", 400 <= status < 500 and status not in (408, 429)
        return f"no answer within {hook.timeout:g} s", False
