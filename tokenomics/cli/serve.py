"""Run the proxy in the foreground.

Clients send it their wrapper token; it applies the token's policy and calls the provider with the
real key. Ports and everything else come from the config (`tokenomics docs configuration`); SIGHUP
reads it anew, and cuts nothing that runs (`tokenomics docs reload`).

examples:
  tokenomics serve
  tokenomics serve --http-port 8081 --https-port 0
  tokenomics --config /etc/tokenomics/config.yaml serve
"""

from __future__ import annotations

import argparse
import os
import socket
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import trio

from tokenomics.central import emit_token_event
from tokenomics.cli import node, outgoing
from tokenomics.cli.context import Context
from tokenomics.cli.https import Https
from tokenomics.cli.reload import (
    FIXED_FOR_SERVE,
    Node,
    Reading,
    Reloads,
    make_limits,
    read_again,
)
from tokenomics.config.providers import build_providers
from tokenomics.config.settings import Config
from tokenomics.config.sources import provider_key
from tokenomics.echo import echo_app
from tokenomics.errors import Failed, UsageError
from tokenomics.follow import follow
from tokenomics.gateway.app import ProxyApp
from tokenomics.gateway.identity import TokenBook
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
from tokenomics.policy.route import Site
from tokenomics.replica import Replica
from tokenomics.store.database import Database
from tokenomics.store.table import Record
from tokenomics.tokens import Secret, key_fingerprint
from tokenomics.usage.process import ProcessUsage
from tokenomics.webhooks import Webhooks


@dataclass(frozen=True, slots=True)
class ProxySetup:
    """What a proxy is made from. `env` is where provider keys and HTTP proxies are looked up."""

    config: Config
    env: dict[str, str]
    hash_key: bytes
    encryption_key: Secret
    log: Log


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("--host", help="address to listen on (default: all interfaces)")
    parser.add_argument("--http-port", type=int, help="port for HTTP, 0 for none")
    parser.add_argument("--https-port", type=int, help="port for HTTPS, 0 for none")


def run(context: Context, args: argparse.Namespace) -> int:
    """Run until a signal. Raises ToolError."""
    for option, port in (("--http-port", args.http_port), ("--https-port", args.https_port)):
        if port is not None and not 0 <= port <= 65535:
            raise UsageError(f"{option} {port}: a port is from 1 to 65535, 0 for none")
    context.set_flag("server.host", args.host)
    context.set_flag("server.http_port", args.http_port)
    context.set_flag("server.https_port", args.https_port)
    config = context.config
    log = node.make_log(config, debug=os.environ.get("TOKENOMICS_DEBUG") == "1")
    outgoing.check(config, context.env)
    setup = ProxySetup(config, context.env, context.hash_key(), context.encryption_key(), log)
    listeners, https = open_listeners(config)
    started = Reading(config, context.env)
    reloads = Reloads(started, partial(read_again, context), FIXED_FOR_SERVE)
    main = partial(run_proxy, setup, listeners, https, reloads)
    trio.run(node.run_until_signalled, main, reloads, log)
    return 0


def open_listeners(config: Config) -> tuple[list[node.Listener], Https | None]:
    """The listeners of the config, and what the HTTPS one shows. Raises Failed or Invalid."""
    server = config.server
    listeners: list[node.Listener] = []
    https = None
    if server.http_port:
        option = "--http-port or server.http_port"
        listeners.append((node.listen(server.host, server.http_port, option), None))
    if server.https_port and server.tls.enabled:
        https = Https(server.tls)
        option = "--https-port or server.https_port"
        listeners.append((node.listen(server.host, server.https_port, option), https.context))
    if not listeners:
        raise Failed("nothing to listen on: set server.http_port or server.https_port")
    return listeners, https


@dataclass(frozen=True, slots=True)
class Parts:
    """What a proxy keeps over reloads: connections, counts, queues, tokens."""

    client: Client
    databases: tuple[Database, ...]
    usage: ProcessUsage
    webhooks: Webhooks
    memory: MemoryWriter
    requests: RequestLog
    replica: Replica | None


async def run_proxy(
    setup: ProxySetup,
    listeners: list[node.Listener],
    https: Https | None = None,
    reloads: Reloads | None = None,
    *,
    task_status: trio.TaskStatus[Server] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Run a proxy on listeners until it is drained or cancelled. Raises ToolError.

    `https` is what the TLS ones among them show, `reloads` the config that may change.
    """
    log = setup.log
    async with trio.open_nursery() as echo_nursery:
        parts = _make_parts(setup, _echo_dialer(echo_nursery, log))

        def make_app(reading: Reading, ca_file: Path | None) -> ProxyApp:
            now = replace(setup, config=reading.config, env=reading.env)
            return _make_app(now, parts, ca_file, lambda: server.draining)

        app = make_app(Reading(setup.config, setup.env), https.ca_file if https else None)
        server = Server(app, make_limits(setup.config.server), log.say)
        running = Node(server, parts.client, Resolver(), parts.webhooks, https, log, make_app)
        jobs = _jobs(parts, log)
        jobs.append(partial(_announce, setup, listeners, parts.webhooks))
        if https is not None:
            jobs.append(partial(https.run, log))
        if reloads is not None:
            jobs.append(partial(reloads.run, running))
        try:
            with parts.usage.open():
                await node.run_node(
                    server, listeners, jobs, running.resolver, task_status=task_status
                )
        finally:
            parts.client.close()
            echo_nursery.cancel_scope.cancel()


def _make_parts(setup: ProxySetup, dial_echo: Dial) -> Parts:
    config, log = setup.config, setup.log
    database = node.open_database(node.place_of(config, setup.encryption_key), log)
    path = config.storage.db_path
    client = Client(
        {"builtin": dial_echo},
        outgoing.make_proxies(setup.env),
        outgoing.make_pool_limits(config.upstream),
    )
    webhooks = Webhooks(config.events.webhooks, client, log)
    replica = _make_replica(setup, client, webhooks)
    return Parts(
        client=client,
        databases=(database, replica.database) if replica else (database,),
        usage=ProcessUsage(path.with_name(path.name + ".usage"), lambda m: log.say("warn", m)),
        webhooks=webhooks,
        memory=MemoryWriter(log),
        requests=RequestLog(log),
        replica=replica,
    )


def _jobs(parts: Parts, log: Log) -> list[node.Job]:
    """What runs beside the server."""
    announcer = _announcer(parts.webhooks, parts.replica)
    return [
        parts.client.run,
        parts.webhooks.run,
        parts.memory.run,
        parts.requests.run,
        parts.usage.run,
        *([parts.replica.run] if parts.replica else []),
        partial(follow, parts.databases[0], announcer, log),
    ]


def _make_replica(setup: ProxySetup, client: Client, webhooks: Webhooks) -> Replica | None:
    remote = setup.config.remote
    if not remote.url:
        return None
    place = node.place_of(setup.config, setup.encryption_key, ".replica")
    database = node.open_database(place, setup.log)
    fingerprint = key_fingerprint(setup.hash_key)
    return Replica(database, client, remote, fingerprint, setup.log, webhooks.emit)


def _make_app(
    setup: ProxySetup, parts: Parts, ca_file: Path | None, draining: Callable[[], bool]
) -> ProxyApp:
    """Everything that a reload makes anew. Raises Invalid."""
    config = setup.config
    providers = build_providers(config.providers)
    patience = outgoing.make_patience(config.upstream)
    gateway = Gateway(
        site=Site(providers, config.server.upstream_url, config.default_provider),
        book=TokenBook(parts.databases, setup.hash_key),
        usage=parts.usage,
        upstream=Upstream(parts.client, lambda name: provider_key(name, setup.env), patience),
        reporter=Reporter(setup.log, parts.requests, config.logging, parts.webhooks, parts.memory),
    )
    return ProxyApp(gateway, parts.replica, config.remote.webhook, ca_file, draining)


def _echo_dialer(nursery: trio.Nursery, log: Log) -> Dial:
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


async def _announce(setup: ProxySetup, listeners: list[node.Listener], webhooks: Webhooks) -> None:
    config = setup.config
    host = config.server.host or "localhost"
    urls = [
        f"{'https' if tls else 'http'}://{host}:{sock.getsockname()[1]}" for sock, tls in listeners
    ]
    setup.log.say("info", f"serving on {', '.join(urls)}")
    webhooks.emit(
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
        webhooks.emit("server.stop", {})
