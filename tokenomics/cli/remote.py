"""Run the central config server: it owns the token database and tells every proxy of changes.

The API key is what proxies send (their remote.api_key); it is taken from --api-key, else from
TOKENOMICS_REMOTE_KEY. SIGHUP reads the config anew (`tokenomics docs reload`).

examples:
  tokenomics remote --addr :9090 --api-key "$TOKENOMICS_REMOTE_KEY"
  tokenomics remote --addr 127.0.0.1:9090 --tls
"""

from __future__ import annotations

import argparse
import os
from dataclasses import dataclass, field
from functools import partial

import trio

from tokenomics.central import Central
from tokenomics.cli import node, outgoing
from tokenomics.cli.context import Context
from tokenomics.cli.https import Https
from tokenomics.cli.reload import FIXED, Node, Reading, Reloads, make_limits, read_again
from tokenomics.config.settings import Config
from tokenomics.errors import UsageError
from tokenomics.logs import Log
from tokenomics.net.client import Client
from tokenomics.net.resolver import Resolver
from tokenomics.net.server import Server
from tokenomics.tokens import Secret, key_fingerprint
from tokenomics.webhooks import Webhooks

API_KEY_VARIABLE = "TOKENOMICS_REMOTE_KEY"


@dataclass(frozen=True, slots=True)
class CentralSetup:
    """What a central server is made from."""

    config: Config
    hash_key: bytes
    encryption_key: Secret
    api_key: Secret
    log: Log
    env: dict[str, str] = field(default_factory=dict)  # where HTTP proxies are looked up


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("--addr", default=":9090", help="HOST:PORT; :9090 means all interfaces")
    parser.add_argument("--api-key", help=f"what proxies must send (else ${API_KEY_VARIABLE})")
    parser.add_argument("--tls", action="store_true", help="serve HTTPS with server.tls")


def run(context: Context, args: argparse.Namespace) -> int:
    """Run until a signal. Raises ToolError."""
    host, port = _address(args.addr)
    api_key = args.api_key or context.env.get(API_KEY_VARIABLE, "")
    if not api_key:
        raise UsageError(f"remote needs --api-key or {API_KEY_VARIABLE}: proxies must not be open")
    config = context.config
    log = node.make_log(config, debug=os.environ.get("TOKENOMICS_DEBUG") == "1")
    outgoing.check(config, context.env)
    key, encryption = context.hash_key(), context.encryption_key()
    setup = CentralSetup(config, key, encryption, Secret(api_key), log, context.env)
    https = Https(config.server.tls) if args.tls else None
    listener = (node.listen(host, port, "--addr"), https.context if https else None)
    log.say("info", f"central server on {'https' if https else 'http'}://{host or '*'}:{port}")
    keys = () if args.api_key else (API_KEY_VARIABLE,)
    started = Reading(config, context.env)
    reloads = Reloads(started, partial(read_again, context), FIXED, keys)
    main = partial(run_central, setup, [listener], https, reloads)
    trio.run(node.run_until_signalled, main, reloads, log)
    return 0


def _address(text: str) -> tuple[str, int]:
    host, colon, port = text.rpartition(":")
    if not colon or not (port.isascii() and port.isdigit()) or not 0 < int(port) < 65536:
        raise UsageError(f"--addr {text}: write HOST:PORT, or :9090 for all interfaces")
    return host.strip("[]"), int(port)


async def run_central(
    setup: CentralSetup,
    listeners: list[node.Listener],
    https: Https | None = None,
    reloads: Reloads | None = None,
    *,
    task_status: trio.TaskStatus[Server] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Run a central server on listeners until it is drained or cancelled.

    `https` is what the TLS ones among them show, `reloads` the config that may change.
    """
    config, log = setup.config, setup.log
    database = node.open_database(node.place_of(config, setup.encryption_key), log)
    proxies = outgoing.make_proxies(setup.env)
    client = Client(proxies=proxies, limits=outgoing.make_pool_limits(config.upstream))
    webhooks = Webhooks(config.events.webhooks, client, log)
    fingerprint = key_fingerprint(setup.hash_key)
    central = Central(database, setup.api_key, fingerprint, webhooks, log)
    server = Server(central.app, make_limits(config.server), log.say, central.end)
    running = Node(client, Resolver(), webhooks, https, log, server, lambda *_: central.app)
    jobs: list[node.Job] = [client.run, webhooks.run, central.run]
    if https is not None:
        jobs.append(partial(https.run, log))
    if reloads is not None:
        jobs.append(partial(reloads.run, running))
    try:
        await node.run_node(server, listeners, jobs, running.resolver, task_status=task_status)
    finally:
        client.close()
