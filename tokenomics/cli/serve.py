"""Run the proxy in the foreground.

Clients send it their wrapper token; it applies the token's policy and calls the provider with the
real key. Ports and everything else come from the config (`tokenomics docs configuration`); SIGHUP
reads it anew, and cuts nothing that runs (`tokenomics docs reload`).

examples:
  tokenomics serve
  tokenomics serve --http-port 8081 --https-port 0
  tokenomics serve --workers 4
  tokenomics --config /etc/tokenomics/config.yaml serve
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import trio

from tokenomics.cli import node, outgoing
from tokenomics.cli.context import Context
from tokenomics.cli.https import Https
from tokenomics.cli.proxy import ProxySetup, run_proxy
from tokenomics.cli.reload import FIXED_FOR_SERVE, Reading, Reloads, read_again
from tokenomics.cli.workers import VARIABLE, Inherited, Parent, divided, run_worker
from tokenomics.config.settings import Config
from tokenomics.errors import Failed, UsageError

MAX_WORKERS = 64


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("--host", help="address to listen on (default: all interfaces)")
    parser.add_argument("--http-port", type=int, help="port for HTTP, 0 for none")
    parser.add_argument("--https-port", type=int, help="port for HTTPS, 0 for none")
    parser.add_argument("--workers", type=int, help="processes that serve (default: 1)")


def run(context: Context, args: argparse.Namespace) -> int:
    """Run until a signal. Raises ToolError."""
    for option, port in (("--http-port", args.http_port), ("--https-port", args.https_port)):
        if port is not None and not 0 <= port <= 65535:
            raise UsageError(f"{option} {port}: a port is from 1 to 65535, 0 for none")
    context.set_flag("server.host", args.host)
    context.set_flag("server.http_port", args.http_port)
    context.set_flag("server.https_port", args.https_port)
    context.set_flag("server.workers", args.workers)
    config = context.config
    if not 1 <= config.server.workers <= MAX_WORKERS:
        raise UsageError(f"server.workers {config.server.workers}: from 1 to {MAX_WORKERS}")
    log = node.make_log(config, debug=os.environ.get("TOKENOMICS_DEBUG") == "1")
    outgoing.check(config, context.env)
    setup = ProxySetup(config, context.env, context.hash_key(), context.encryption_key(), log)
    inherited = os.environ.pop(VARIABLE, None)
    if inherited is not None:
        _be_worker(setup, Inherited.read(inherited), partial(read_again, context))
        return 0
    listeners, https = open_listeners(config)
    started = Reading(config, context.env)
    reloads = Reloads(started, partial(read_again, context), FIXED_FOR_SERVE)
    if config.server.workers > 1:
        trio.run(Parent(setup, listeners, https, config.server.workers).run, reloads)
    else:
        main = partial(run_proxy, setup, listeners, https, reloads)
        trio.run(node.run_until_signalled, main, reloads, log)
    return 0


def _be_worker(setup: ProxySetup, inherited: Inherited, read: Callable[[], Reading]) -> None:
    """The same command, started by a parent."""

    def read_part() -> Reading:
        return divided(read(), inherited.of)

    started = divided(Reading(setup.config, setup.env), inherited.of)
    https = Https(setup.config.server.tls) if any(tls for _, tls in inherited.listeners) else None
    reloads = Reloads(started, read_part, FIXED_FOR_SERVE)
    run_worker(replace(setup, config=started.config), inherited, https, reloads)


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
