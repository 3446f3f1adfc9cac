"""Several workers on one machine: a parent that has what there is once, and processes that serve.

The parent owns the listening sockets, the accounts' journal, the replica of the centre's tokens and
the webhook queues; it starts workers, starts anew those that end, and gives back what they held.
The workers accept on the same sockets, count in the shared accounts (`usage/shared.py`), and speak
with the parent over a line. A worker obeys its parent alone: it ignores the signals that a terminal
or systemd sends to all, and drains when the line closes, whatever became of the parent.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import trio

from tokenomics.cli import node
from tokenomics.cli.https import Https
from tokenomics.cli.proxy import (
    Follower,
    ProxySetup,
    Share,
    announce,
    follow_tokens,
    make_client,
    redis_usage,
    run_proxy,
    usage_file,
)
from tokenomics.cli.reload import Node, Reading, Reloads
from tokenomics.config.settings import Webhook
from tokenomics.errors import Failed
from tokenomics.follow import follow
from tokenomics.line import Line, Message
from tokenomics.net.client import Client
from tokenomics.net.resolver import Resolver
from tokenomics.net.server import Server
from tokenomics.replica import Replica, Status
from tokenomics.usage import Usage
from tokenomics.usage.share import Share as OwnShare
from tokenomics.usage.shared import ParentUsage, SharedUsage, create

VARIABLE = "TOKENOMICS_WORKER"  # how a worker is told what it inherits, as JSON
STATUS_SECONDS = 1.0  # how often workers are told how the sync stands
FIRST_RESTART_SECONDS = 0.1  # doubles while a worker ends soon after its start
MAX_RESTART_SECONDS = 10.0
SOON_SECONDS = 30.0
LAST_SECONDS = 5.0  # beyond the drain, before a worker is killed


@dataclass(frozen=True, slots=True)
class Inherited:
    """What a worker has from its parent: its number of how many, and descriptors of its end of the
    line, of the shared accounts, and of (listening socket, whether it speaks TLS)."""

    number: int
    of: int
    line: int
    accounts: int
    listeners: tuple[tuple[int, bool], ...]

    def text(self) -> str:
        """For VARIABLE."""
        return json.dumps([self.number, self.of, self.line, self.accounts, self.listeners])

    @classmethod
    def read(cls, text: str) -> Inherited:
        """What `text` said."""
        number, of, line, accounts, listeners = json.loads(text)
        return cls(number, of, line, accounts, tuple((fd, tls) for fd, tls in listeners))


# A worker's side.


class _LentEvents:
    """Events are the parent's to deliver."""

    def __init__(self, line: Line, hooks: Sequence[Webhook]) -> None:
        self._line = line
        self._hooks = hooks

    def __bool__(self) -> bool:
        return bool(self._hooks)

    def emit(self, type_: str, data: dict[str, Any]) -> None:
        if self._hooks:
            self._line.send({"event": type_, "data": data})

    def retarget(self, hooks: Sequence[Webhook]) -> None:
        self._hooks = hooks


class _LentSync:
    """The parent follows the centre, and says how it stands."""

    def __init__(self, line: Line) -> None:
        self._line = line
        self._synced = False
        self.status = Status()

    def has_tokens(self) -> bool:
        return self._synced

    def nudge(self) -> None:
        self._line.send({"nudge": True})

    def hear(self, said: Message) -> None:
        """The parent says how it stands."""
        self._synced = said["has_tokens"]
        self.status = Status(said["synced_at"], said["problem"])


def divided(reading: Reading, workers: int) -> Reading:
    """A reading as one of several workers goes by it: it has its part of what bounds a machine."""
    config = reading.config
    server, upstream = config.server, config.upstream
    config = replace(
        config,
        server=replace(server, max_connections=-(-server.max_connections // workers)),
        upstream=replace(upstream, max_connections=-(-upstream.max_connections // workers)),
    )
    return replace(reading, config=config)


def run_worker(
    setup: ProxySetup, inherited: Inherited, https: Https | None, reloads: Reloads
) -> None:
    """Be a worker until the parent says otherwise, or is gone."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    trio.run(_work, setup, inherited, https, reloads)


async def _work(
    setup: ProxySetup, inherited: Inherited, https: Https | None, reloads: Reloads
) -> None:
    node.raise_file_limit()
    node.say_unraisable(setup.log)
    line = Line(socket.socket(fileno=inherited.line))
    lent_sync = _LentSync(line) if setup.config.remote.url else None

    def make_share(
        setup: ProxySetup, _client: Client, _listeners: list[node.Listener], _https: Https | None
    ) -> Share:
        databases = [
            node.open_database(node.place_of(setup.config, setup.encryption_key), setup.log)
        ]
        if lent_sync is not None:
            place = node.place_of(setup.config, setup.encryption_key, ".replica")
            databases.append(node.open_database(place, setup.log))
        events = _LentEvents(line, setup.config.events.webhooks)
        usage: Usage = SharedUsage(inherited.accounts, inherited.number, inherited.of)
        jobs: list[node.Job] = [
            partial(follow, d, lambda _records: None, setup.log) for d in databases
        ]
        if setup.config.session.backend == "redis":
            # What it remembers is in memory only: the usage file has one owner, the parent.
            own = OwnShare(usage_file(setup.config), lambda m: setup.log.say("warn", m))
            usage = shared = redis_usage(setup, own, events)
            jobs.append(shared.run)
        return Share(
            usage=usage,
            events=events,
            sync=lent_sync,
            databases=tuple(databases),
            jobs=tuple(jobs),
            held=contextlib.nullcontext(),
        )

    async with trio.open_nursery() as nursery:
        main = partial(run_proxy, make_share=make_share)
        listeners = _inherited_listeners(inherited, https)
        async with trio.open_nursery() as running:
            server: Server = await running.start(main, setup, listeners, https, reloads)

            def hear(said: Message) -> None:
                if "drain" in said:
                    nursery.start_soon(server.drain, said["drain"])
                elif "reload" in said:
                    reloads.ask()
                elif lent_sync is not None:
                    lent_sync.hear(said)

            line.send({"ready": True})
            nursery.start_soon(_until_alone, line, hear, server, reloads)
        nursery.cancel_scope.cancel()


async def _until_alone(
    line: Line, hear: Callable[[Message], None], server: Server, reloads: Reloads
) -> None:
    """Listen to the parent. When it is gone, whatever the reason, so are we soon."""
    await line.run(hear)
    if not server.draining:
        await server.drain(reloads.config.server.drain)


def _inherited_listeners(inherited: Inherited, https: Https | None) -> list[node.Listener]:
    return [
        (socket.socket(fileno=fd), https.context if tls and https else None)
        for fd, tls in inherited.listeners
    ]


# The parent's side.


@dataclass(slots=True)
class _Worker:
    """A worker as its parent sees it."""

    line: Line
    process: subprocess.Popen[bytes]


class Parent:
    """Owns the workers. `run` is its life."""

    def __init__(
        self, setup: ProxySetup, listeners: list[node.Listener], https: Https | None, count: int
    ) -> None:
        self._setup = setup
        self._log = setup.log
        self._listeners = listeners
        self._https = https
        self._count = count
        self._accounts = create(count)
        self._workers: dict[int, _Worker] = {}
        self._once_ready = False  # some worker has begun to serve
        self._ending = False

    async def run(self, reloads: Reloads) -> None:
        """Serve by workers until a signal. Raises ToolError."""
        setup = self._setup
        client = make_client(setup)
        follower = follow_tokens(setup, client)
        usage = ParentUsage(usage_file(setup.config), self._accounts, self._count, self._warn)
        running = Node(
            client, Resolver(), follower.events, self._https, self._log, applied=self._tell_reload
        )
        jobs: list[node.Job] = [client.run, usage.run, *follower.jobs]
        jobs.append(partial(announce, setup, self._listeners, follower.events))
        jobs.append(partial(reloads.run, running))
        if self._https is not None:
            jobs.append(partial(self._https.run, self._log, self._tell_reload))
        if follower.replica is not None:
            jobs.append(partial(self._tell_sync, follower.replica))
        hear = partial(self._hear, follower)
        trio.socket.set_custom_hostname_resolver(running.resolver)
        try:
            with usage.open():
                await self._serve(jobs, hear, usage, reloads)
        finally:
            client.close()

    async def _serve(
        self,
        jobs: Sequence[node.Job],
        hear: Callable[[int, Message], None],
        usage: ParentUsage,
        reloads: Reloads,
    ) -> None:
        async with trio.open_nursery() as nursery:
            async with trio.open_nursery() as keeping:
                for number in range(self._count):
                    keeping.start_soon(self._keep, number, hear, usage, reloads)
                nursery.start_soon(self._obey, reloads)
                for job in jobs:
                    nursery.start_soon(job)
            nursery.cancel_scope.cancel()

    async def _keep(
        self,
        number: int,
        hear: Callable[[int, Message], None],
        usage: ParentUsage,
        reloads: Reloads,
    ) -> None:
        """Keep one worker running. Raises Failed if none can even start: one that gives up by
        itself before any was ready has said why, and the others would."""
        wait = FIRST_RESTART_SECONDS
        while not self._ending:
            begun = trio.current_time()
            worker = self._start(number)
            self._workers[number] = worker
            try:
                await worker.line.run(partial(hear, number))
                status = await self._buried(worker, reloads)
            finally:
                del self._workers[number]
                worker.process.kill()
                usage.release(number)
            if self._ending:
                return
            if status > 0 and not self._once_ready:
                raise Failed(f"worker {number} could not start (status {status}); see above")
            self._log.say("error", f"worker {number} ended (status {status}); starting it anew")
            wait = FIRST_RESTART_SECONDS if trio.current_time() - begun > SOON_SECONDS else wait
            await trio.sleep(wait)
            wait = min(wait * 2, MAX_RESTART_SECONDS)

    def _start(self, number: int) -> _Worker:
        ours, theirs = socket.socketpair()
        sockets = tuple((sock.fileno(), tls is not None) for sock, tls in self._listeners)
        inherited = Inherited(number, self._count, theirs.fileno(), self._accounts, sockets)
        with theirs:
            process = subprocess.Popen(
                [sys.executable, *sys.orig_argv[1:]],
                env={**os.environ, VARIABLE: inherited.text()},
                pass_fds=(theirs.fileno(), self._accounts, *(fd for fd, _ in sockets)),
                stdin=subprocess.DEVNULL,
            )
        return _Worker(Line(ours), process)

    async def _buried(self, worker: _Worker, reloads: Reloads) -> int:
        """The exit status of a worker whose line has closed: it ends soon, or is killed."""
        bound = reloads.config.server.drain + LAST_SECONDS
        with trio.move_on_after(bound):
            return await trio.to_thread.run_sync(worker.process.wait, abandon_on_cancel=True)
        self._log.say("error", f"a worker did not end within {bound:g} s and is killed")
        worker.process.kill()
        return await trio.to_thread.run_sync(worker.process.wait)

    def _hear(self, follower: Follower, number: int, said: Message) -> None:
        if "event" in said:
            follower.events.emit(said["event"], said["data"])
        elif "nudge" in said and follower.replica is not None:
            follower.replica.nudge()
        elif "ready" in said:
            self._once_ready = True

    def _tell(self, message: Message) -> None:
        for worker in self._workers.values():
            worker.line.send(message)

    def _tell_reload(self) -> None:
        self._tell({"reload": True})

    async def _tell_sync(self, replica: Replica) -> None:
        while True:
            status = replica.status
            self._tell(
                {
                    "has_tokens": replica.has_tokens(),
                    "synced_at": status.synced_at,
                    "problem": status.problem,
                }
            )
            await trio.sleep(STATUS_SECONDS)

    async def _obey(self, reloads: Reloads) -> None:
        """SIGTERM and SIGINT drain, a second one ends at once; SIGHUP reloads."""
        with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGHUP) as signals:
            async for number in signals:
                if number == signal.SIGHUP:
                    reloads.ask()
                    continue
                seconds = 0.0 if self._ending else reloads.config.server.drain
                how = "ending at once" if self._ending else "draining"
                self._log.say("info", f"{signal.Signals(number).name}: {how}")
                self._ending = True
                self._tell({"drain": seconds})

    def _warn(self, message: str) -> None:
        self._log.say("warn", message)
