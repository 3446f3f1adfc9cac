"""What `serve` and `remote` share: listeners, background work, signals, drain."""

from __future__ import annotations

import errno
import resource
import signal
import socket
import ssl
import sys
import time
from collections.abc import Awaitable, Callable, Sequence

import trio

from tokenomics.cli.reload import Reloads
from tokenomics.config.providers import build_providers, price_book
from tokenomics.config.settings import Config
from tokenomics.errors import Failed
from tokenomics.logs import Log
from tokenomics.net.resolver import Resolver
from tokenomics.net.server import Server, bind
from tokenomics.policy.route import Site
from tokenomics.store.database import Database, Place
from tokenomics.tokens import Secret

UNRAISABLE_PER_MINUTE = 5

Listener = tuple[socket.socket, ssl.SSLContext | None]
Job = Callable[[], Awaitable[None]]


def make_site(config: Config) -> Site:
    """What this installation brings to a policy. Raises Invalid."""
    providers = build_providers(config.providers)
    url, default = config.server.upstream_url, config.default_provider
    return Site(providers, url, default, price_book(providers))


def make_log(config: Config, *, debug: bool) -> Log:
    """The process's log. On a terminal diagnostics are text: a person reads them."""
    text = sys.stderr.isatty()
    return Log(config.logging.level, config.logging.format, debug=debug, text_diagnostics=text)


def listen(host: str, port: int, option: str) -> socket.socket:
    """A listening socket. Raises Failed, naming the setting to change."""
    try:
        return bind(host, port)
    except (OSError, OverflowError) as e:
        where = f"{host or 'all interfaces'} port {port}"
        taken = isinstance(e, OSError) and e.errno == errno.EADDRINUSE
        why = "another program listens there" if taken else getattr(e, "strerror", None) or str(e)
        raise Failed(f"cannot listen on {where}: {why}; choose another with {option}") from None


def raise_file_limit() -> None:
    """Let the process open as many files as it may: two for each request that is under way."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def say_unraisable(log: Log) -> None:
    """What fails where nothing can be raised is said in a line, a few times a minute at most: a
    client can cause it, with a server name that is no text."""
    said: list[float] = []

    def hook(unraisable: sys.UnraisableHookArgs) -> None:
        now = time.monotonic()
        said[:] = [then for then in said if now - then < 60]
        if len(said) < UNRAISABLE_PER_MINUTE:
            said.append(now)
            kind = unraisable.exc_type.__name__
            log.say("warn", f"ignored: {kind} where nothing can be raised")

    sys.unraisablehook = hook


def place_of(config: Config, key: Secret, suffix: str = "") -> Place:
    """The token database of the config, or a file that stands beside it."""
    path = config.storage.db_path
    variable = config.security.encryption_key_env
    return Place(path.with_name(path.name + suffix), key, variable)


def open_database(place: Place, log: Log) -> Database:
    """A database whose repairs are logged. Raises Invalid or Failed."""
    return Database(place, lambda message: log.say("warn", message))


async def run_node(
    server: Server,
    listeners: Sequence[Listener],
    jobs: Sequence[Job],
    resolver: Resolver,
    *,
    task_status: trio.TaskStatus[Server] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve with jobs beside, until the server is drained or this is cancelled. A job that fails
    ends the node. `resolver` looks names up from now on."""
    trio.socket.set_custom_hostname_resolver(resolver)
    async with trio.open_nursery() as nursery:
        for job in jobs:
            nursery.start_soon(job)
        async with trio.open_nursery() as serving:
            await serving.start(server.serve, list(listeners))
            task_status.started(server)
        nursery.cancel_scope.cancel()


async def obey_signals(server: Server, reloads: Reloads, log: Log) -> None:
    """SIGTERM and SIGINT drain, a second one ends at once."""
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async with trio.open_nursery() as nursery:
            async for number in signals:
                if server.draining:
                    log.say("warn", "second signal: ending at once")
                    nursery.start_soon(server.drain, 0)
                else:
                    log.say("info", f"{signal.Signals(number).name}: draining")
                    nursery.start_soon(server.drain, reloads.config.server.drain)


async def _obey_hangups(reloads: Reloads, *, task_status: trio.TaskStatus[None]) -> None:
    with trio.open_signal_receiver(signal.SIGHUP) as signals:
        task_status.started()
        async for _ in signals:
            reloads.ask()


async def run_until_signalled(
    run: Callable[..., Awaitable[None]], reloads: Reloads, log: Log
) -> None:
    """Run a node in the foreground of a process. SIGHUP reloads its config; while it starts, that
    is put off."""
    raise_file_limit()
    say_unraisable(log)
    async with trio.open_nursery() as nursery:
        await nursery.start(_obey_hangups, reloads)
        async with trio.open_nursery() as running:
            server: Server = await running.start(run)
            nursery.start_soon(obey_signals, server, reloads, log)
        nursery.cancel_scope.cancel()
