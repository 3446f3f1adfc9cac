"""Run the proxy in the foreground.

Clients send it their wrapper token; it applies the token's policy and calls the provider with the
real key. Ports and everything else come from the config (`tokenomics docs configuration`).

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
from dataclasses import dataclass
from pathlib import Path

import trio

from tokenomics.central import emit_token_event
from tokenomics.cli import node
from tokenomics.cli.context import Context
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
    """What a proxy is made from. `env` is where provider keys are looked up."""

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
    setup = ProxySetup(config, context.env, context.hash_key(), context.encryption_key(), log)
    listeners, ca_file = open_listeners(config)

    async def main(*, task_status: trio.TaskStatus[Server]) -> None:
        await run_proxy(setup, listeners, ca_file, task_status=task_status)

    trio.run(node.run_until_signalled, main, config.server.drain, log)
    return 0


def open_listeners(config: Config) -> tuple[list[node.Listener], Path | None]:
    """The listeners of the config, and the own CA's file. Raises Failed or Invalid."""
    server = config.server
    listeners: list[node.Listener] = []
    ca_file = None
    if server.http_port:
        option = "--http-port or server.http_port"
        listeners.append((node.listen(server.host, server.http_port, option), None))
    if server.https_port and server.tls.enabled:
        context, ca_file = node.tls_files(config)
        option = "--https-port or server.https_port"
        listeners.append((node.listen(server.host, server.https_port, option), context))
    if not listeners:
        raise Failed("nothing to listen on: set server.http_port or server.https_port")
    return listeners, ca_file


async def run_proxy(
    setup: ProxySetup,
    listeners: list[node.Listener],
    ca_file: Path | None,
    *,
    task_status: trio.TaskStatus[Server] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Run a proxy on listeners until it is drained or cancelled. Raises ToolError."""
    config, log = setup.config, setup.log
    database = node.open_database(node.place_of(config, setup.encryption_key), log)
    path = config.storage.db_path
    usage = ProcessUsage(path.with_name(path.name + ".usage"), lambda m: log.say("warn", m))
    async with trio.open_nursery() as echo_nursery:
        client = Client({"builtin": _echo_dialer(echo_nursery, log)})
        webhooks = Webhooks(config.events.webhooks, client, log)
        memory = MemoryWriter(log)
        replica = _make_replica(setup, client, webhooks)
        requests = RequestLog(log)
        reporter = Reporter(log, requests, config.logging, webhooks, memory)
        gateway = _make_gateway(setup, database, replica, client, usage, reporter)
        app = ProxyApp(gateway, replica, config.remote.webhook, ca_file, lambda: server.draining)
        server = Server(app, node.make_limits(config.server), log.say)
        jobs = [
            client.run,
            webhooks.run,
            memory.run,
            requests.run,
            usage.run,
            *([replica.run] if replica else []),
            lambda: follow(database, _announcer(webhooks, replica), log),
            lambda: _announce(setup, listeners, webhooks),
        ]
        try:
            with usage.open():
                await node.run_node(server, listeners, jobs, task_status=task_status)
        finally:
            client.close()
            echo_nursery.cancel_scope.cancel()


def _make_replica(setup: ProxySetup, client: Client, webhooks: Webhooks) -> Replica | None:
    remote = setup.config.remote
    if not remote.url:
        return None
    place = node.place_of(setup.config, setup.encryption_key, ".replica")
    database = node.open_database(place, setup.log)
    fingerprint = key_fingerprint(setup.hash_key)
    return Replica(database, client, remote, fingerprint, setup.log, webhooks.emit)


def _make_gateway(
    setup: ProxySetup,
    database: Database,
    replica: Replica | None,
    client: Client,
    usage: ProcessUsage,
    reporter: Reporter,
) -> Gateway:
    config = setup.config
    databases = [database, replica.database] if replica else [database]
    return Gateway(
        site=Site(
            build_providers(config.providers), config.server.upstream_url, config.default_provider
        ),
        book=TokenBook(databases, setup.hash_key),
        usage=usage,
        upstream=Upstream(client, lambda name: provider_key(name, setup.env)),
        reporter=reporter,
    )


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
