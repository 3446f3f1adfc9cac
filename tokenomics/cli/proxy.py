"""A proxy put together: what it keeps over reloads, what a machine has once, and the application.

One process that serves alone has all of it. Where several workers serve (`cli/workers.py`), their
parent has what there is once: the `Share`.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import trio

import tokenomics.policy.schema  # noqa: F401  read now: the first request may find no descriptor
from tokenomics.central import emit_token_event
from tokenomics.cli import node, outgoing
from tokenomics.cli.https import Https
from tokenomics.cli.reload import Node, Reading, Reloads, make_limits
from tokenomics.config.settings import Config
from tokenomics.config.sources import provider_key
from tokenomics.echo.app import echo_app
from tokenomics.follow import follow
from tokenomics.gateway.app import ProxyApp
from tokenomics.gateway.identity import TokenBook
from tokenomics.gateway.keyring import Keyring
from tokenomics.gateway.reporting import Reporter
from tokenomics.gateway.road import Gateway
from tokenomics.gateway.upstream import Upstream
from tokenomics.logs import Log, RequestLog
from tokenomics.memory import MemoryWriter
from tokenomics.net.client import Client, Dial
from tokenomics.net.connection import Limits
from tokenomics.net.origin import Origin
from tokenomics.net.resolver import Resolver
from tokenomics.net.server import Server
from tokenomics.net.wire import SocketWire, Wire
from tokenomics.policy.breaker import Breakers
from tokenomics.replica import Replica, Sync
from tokenomics.store.database import Database
from tokenomics.store.table import Record
from tokenomics.tokens import Secret, key_fingerprint
from tokenomics.usage import Usage
from tokenomics.usage.process import ProcessUsage
from tokenomics.usage.redis import RedisUsage
from tokenomics.usage.share import Share as OwnShare
from tokenomics.webhooks import Emitter, Webhooks


@dataclass(frozen=True, slots=True)
class ProxySetup:
    """What a proxy is made from. `env` is where provider keys and HTTP proxies are looked up."""

    config: Config
    env: dict[str, str]
    hash_key: bytes
    encryption_key: Secret
    log: Log


@dataclass(frozen=True, slots=True)
class Share:
    """What a machine has once, as one process sees it: who counts, who tells of events, who follows
    the centre (None: there is none), and the token databases. `jobs` run while the process serves,
    inside of `held`."""

    usage: Usage
    events: Emitter
    sync: Sync | None
    databases: tuple[Database, ...]
    jobs: tuple[node.Job, ...]
    held: contextlib.AbstractContextManager[None]


MakeShare = Callable[[ProxySetup, Client, list[node.Listener], Https | None], Share]


def usage_file(config: Config) -> Path:
    """Where budgets and rates are kept: beside the token database."""
    path = config.storage.db_path
    return path.with_name(path.name + ".usage")


def own_share(
    setup: ProxySetup, client: Client, listeners: list[node.Listener], https: Https | None
) -> Share:
    """Everything in this process. Raises Invalid or Failed."""
    follower = follow_tokens(setup, client)
    own, usage, counting = make_usage(setup, follower.events)
    jobs: list[node.Job] = [*counting, *follower.jobs]
    jobs.append(partial(announce, setup, listeners, follower.events))
    if https is not None:
        jobs.append(partial(https.run, setup.log))
    return Share(
        usage, follower.events, follower.replica, follower.databases, tuple(jobs), own.open()
    )


def make_usage(
    setup: ProxySetup, events: Emitter
) -> tuple[ProcessUsage, Usage, tuple[node.Job, ...]]:
    """Who owns the usage file, who counts, and their jobs: this process, or Redis with what this
    process remembers."""
    path, session = usage_file(setup.config), setup.config.session
    if session.backend == "memory":
        alone = ProcessUsage(path, lambda m: setup.log.say("warn", m))
        return alone, alone, (alone.run,)
    share = OwnShare(path, lambda m: setup.log.say("warn", m))
    shared = redis_usage(setup, share, events)
    return share, shared, (share.run, shared.run)


def redis_usage(setup: ProxySetup, share: OwnShare, events: Emitter) -> RedisUsage:
    """Counting in Redis, which is said to be away and back in the log and by an event."""

    def tell(up: bool, why: str) -> None:
        if up:
            events.emit("limits.recovered", {"backend": "redis"})
        else:
            on_error = setup.config.session.redis.on_error
            data = {"backend": "redis", "error": why, "on_error": on_error}
            events.emit("limits.unavailable", data)

    return RedisUsage(setup.config.session.redis, share, setup.log.say, tell)


@dataclass(frozen=True, slots=True)
class Follower:
    """What follows the centre and tells of events: one on a machine."""

    events: Webhooks
    replica: Replica | None
    databases: tuple[Database, ...]
    jobs: tuple[node.Job, ...]


def follow_tokens(setup: ProxySetup, client: Client) -> Follower:
    """Make a Follower. Raises Invalid or Failed."""
    config, log = setup.config, setup.log
    database = node.open_database(node.place_of(config, setup.encryption_key), log)
    webhooks = Webhooks(config.events.webhooks, client, log)
    replica = _make_replica(setup, client, webhooks)
    jobs: list[node.Job] = [webhooks.run]
    jobs.append(partial(follow, database, _announcer(webhooks, replica), log))
    if replica is None:
        return Follower(webhooks, None, (database,), tuple(jobs))
    return Follower(webhooks, replica, (database, replica.database), (*jobs, replica.run))


async def run_proxy(
    setup: ProxySetup,
    listeners: list[node.Listener],
    https: Https | None = None,
    reloads: Reloads | None = None,
    make_share: MakeShare = own_share,
    *,
    task_status: trio.TaskStatus[Server] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Run a proxy on listeners until it is drained or cancelled. Raises ToolError.

    `https` is what the TLS ones among them show, `reloads` the config that may change.
    """
    log = setup.log
    async with trio.open_nursery() as echo_nursery:
        client = make_client(setup, {"builtin": echo_dialer(echo_nursery, log)})
        share = make_share(setup, client, listeners, https)
        memory, requests = MemoryWriter(log), RequestLog(log)
        breakers = Breakers()

        def make_app(reading: Reading, ca_file: Path | None) -> ProxyApp:
            config = reading.config
            reporter = Reporter(log, requests, config.logging, share.events, memory)
            book = TokenBook(share.databases, setup.hash_key)
            breakers.hurry(trio.current_time())
            gateway = make_gateway(reading, client, share.usage, book, reporter, breakers)
            receiver = config.remote.webhook
            password = config.admin.auth.password
            return ProxyApp(
                gateway, share.sync, receiver, password, ca_file, lambda: server.draining
            )

        app = make_app(Reading(setup.config, setup.env), https.ca_file if https else None)
        server = Server(app, make_limits(setup.config.server), log.say)
        running = Node(client, Resolver(), share.events, https, log, server, make_app)
        jobs = [client.run, memory.run, requests.run, *share.jobs]
        if reloads is not None:
            jobs.append(partial(reloads.run, running))
        try:
            with share.held:
                await node.run_node(
                    server, listeners, jobs, running.resolver, task_status=task_status
                )
        finally:
            client.close()
            echo_nursery.cancel_scope.cancel()


def make_client(setup: ProxySetup, dialers: dict[str, Dial] | None = None) -> Client:
    """The client to everything outside. Raises Invalid."""
    proxies = outgoing.make_proxies(setup.env)
    return Client(dialers, proxies, outgoing.make_pool_limits(setup.config.upstream))


def make_gateway(
    reading: Reading,
    client: Client,
    usage: Usage,
    book: TokenBook,
    reporter: Reporter,
    breakers: Breakers,
) -> Gateway:
    """What a reload makes anew. Raises Invalid."""
    config = reading.config
    patience = outgoing.make_patience(config.upstream)
    read_key = partial(provider_key, env=reading.env)
    keys = Keyring(read_key, breakers, reporter.provider_changed)
    return Gateway(
        site=node.make_site(config),
        book=book,
        usage=usage,
        upstream=Upstream(client, keys, patience),
        reporter=reporter,
    )


def _make_replica(setup: ProxySetup, client: Client, webhooks: Webhooks) -> Replica | None:
    remote = setup.config.remote
    if not remote.url:
        return None
    place = node.place_of(setup.config, setup.encryption_key, ".replica")
    database = node.open_database(place, setup.log)
    fingerprint = key_fingerprint(setup.hash_key)
    return Replica(database, client, remote, fingerprint, setup.log, webhooks.emit)


def echo_dialer(nursery: trio.Nursery, log: Log) -> Dial:
    """Connections to the built-in provider: a socket pair each, served in the caller's nursery."""
    server = Server(echo_app, Limits(), log.say)
    nursery.start_soon(server.watch.run)  # a call that is given up ends here too

    async def dial(_origin: Origin) -> Wire:
        ours, theirs = socket.socketpair()
        nursery.start_soon(server.serve_socket, theirs)
        return SocketWire(ours)

    return dial


def _announcer(webhooks: Webhooks, replica: Replica | None) -> Callable[[list[Record]], None]:
    """Without a centre this proxy owns its tokens, and says what becomes of them."""

    def took(records: list[Record]) -> None:
        if replica is None:
            for record in records:
                emit_token_event(webhooks, record)

    return took


async def announce(setup: ProxySetup, listeners: list[node.Listener], events: Emitter) -> None:
    """Say that serving has begun, and at the end that it is over."""
    config = setup.config
    host = config.server.host or "localhost"
    urls = [
        f"{'https' if tls else 'http'}://{host}:{sock.getsockname()[1]}" for sock, tls in listeners
    ]
    setup.log.say("info", f"serving on {', '.join(urls)}")
    events.emit(
        "server.start",
        {
            "http_port": config.server.http_port,
            "https_port": config.server.https_port,
            "tls": config.server.tls.enabled,
            "upstream": config.server.upstream_url,
        },
    )
    try:
        await trio.sleep_forever()
    finally:
        events.emit("server.stop", {})
