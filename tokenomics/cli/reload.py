"""Reloading the config of a running node: what SIGHUP does.

Everything is read, judged and built first; a fault anywhere leaves all as it is. Then it is put in
place without waiting in between, so no request sees half of it: `Server.app` is the one assignment
by which new requests get a new application. Requests under way go on with the old one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path

import trio

from tokenomics.cli.context import Context
from tokenomics.cli.https import Https, Loaded
from tokenomics.cli.outgoing import check, make_pool_limits, make_proxies
from tokenomics.config.settings import Config, rows
from tokenomics.config.settings import Server as ServerSettings
from tokenomics.errors import Invalid, ToolError
from tokenomics.logs import Log
from tokenomics.net.client import Client
from tokenomics.net.connection import App, Limits
from tokenomics.net.heads import HeadJudge
from tokenomics.net.resolver import Resolver
from tokenomics.net.server import Server
from tokenomics.net.tls import client_context
from tokenomics.webhooks import Emitter

# Settings that are wired when a node starts; one that ends in a dot stands for its whole group.
FIXED = ("dir", "storage.", "security.")
FIXED_FOR_SERVE = (
    *FIXED,
    *("server.host", "server.http_port", "server.https_port", "server.tls.enabled", "session."),
    "server.workers",
    *("remote.url", "remote.api_key", "remote.sync", "remote.insecure", "remote.ca_file"),
)


@dataclass(frozen=True, slots=True)
class Reading:
    """A config and the environment it was read with."""

    config: Config
    env: dict[str, str]
    warnings: tuple[str, ...] = ()


def read_again(context: Context) -> Reading:
    """What the files and the flags of a command say now. Raises Invalid or NotFound."""
    built, env = context.read()
    return Reading(built.config, env, built.warnings)


@dataclass(frozen=True, slots=True)
class Node:
    """What of a node stays, and takes what is new. `make_app` is given the reading and the own CA,
    and raises Invalid; a node that only looks after others that serve has neither it nor a server.
    `applied` is called when all is in place."""

    client: Client
    resolver: Resolver
    events: Emitter
    https: Https | None
    log: Log
    server: Server | None = None
    make_app: Callable[[Reading, Path | None], App] | None = None
    applied: Callable[[], None] = lambda: None


class Reloads:
    """Reloads one after the other: asking while one runs causes one more after it.

    `fixed` are settings, `keys` environment variables, of which a change needs a restart.
    """

    def __init__(
        self,
        started: Reading,
        read: Callable[[], Reading],
        fixed: Sequence[str] = FIXED,
        keys: Sequence[str] = (),
    ) -> None:
        security = started.config.security
        self._started = started
        self._current = started
        self._read = read
        self._fixed = tuple(fixed)
        self._keys = (security.hash_key_env, security.encryption_key_env, *keys)
        self._asked = trio.Event()

    @property
    def config(self) -> Config:
        """The config in force, but for what needs a restart."""
        return self._current.config

    def ask(self) -> None:
        """Reload soon."""
        self._asked.set()

    async def run(self, node: Node) -> None:
        """Reload whenever asked, for ever."""
        while True:
            await self._asked.wait()
            self._asked = trio.Event()
            try:
                await self._reload(node)
            except ToolError as e:
                faults = "; ".join(str(e).splitlines())
                node.log.say("error", f"reload refused, the running config stays: {faults}")
            except Exception as e:  # noqa: BLE001  outer door: a bug must not end what runs
                node.log.say("error", f"reload failed, the running config stays: {e!r}", error=e)

    async def _reload(self, node: Node) -> None:
        reading = await trio.to_thread.run_sync(self._read)
        loaded = await trio.to_thread.run_sync(judge, reading, node.https)
        put_in_place(node, reading, loaded)
        before, self._current = self._current, reading
        self._tell(node.log, before)

    def _tell(self, log: Log, before: Reading) -> None:
        """Say what was applied and what was not: names only, values may be secrets."""
        started, now = self._started, self._current
        for warning in now.warnings:
            log.say("warn", warning)
        waiting = [n for n in changes(started.config, now.config) if self._is_fixed(n)]
        waiting += [n for n in self._keys if started.env.get(n, "") != now.env.get(n, "")]
        if waiting:
            log.say("warn", f"needs a restart: {', '.join(waiting)}")
        changed = [n for n in changes(before.config, now.config) if not self._is_fixed(n)]
        number = f"{len(changed)} setting{'' if len(changed) == 1 else 's'} changed"
        names = f": {', '.join(changed)}" if changed else ""
        log.say("info", f"reloaded: {number}{names}; keys and files read again")

    def _is_fixed(self, name: str) -> bool:
        return any(name == f or (f.endswith(".") and name.startswith(f)) for f in self._fixed)


def judge(reading: Reading, https: Https | None) -> Loaded | None:
    """Look at all that a reading names, and load the certificates. Raises Invalid with every
    fault."""
    faults: list[str] = []
    loaded = None
    try:
        check(reading.config, reading.env)
    except ToolError as e:
        faults.append(str(e))
    if https is not None:
        try:
            loaded = https.read(reading.config.server.tls)
        except ToolError as e:
            faults.append(str(e))
    if faults:
        raise Invalid("\n".join(faults))
    return loaded


def put_in_place(node: Node, reading: Reading, loaded: Loaded | None) -> None:
    """Apply what was judged. What can fail stands first; nothing here waits. Raises Invalid."""
    config = reading.config
    app = None
    if node.make_app is not None:
        app = node.make_app(reading, loaded.ca_file if loaded else None)
    proxies, pool_limits = make_proxies(reading.env), make_pool_limits(config.upstream)
    client_context.cache_clear()
    node.resolver.forget()
    node.client.refresh(proxies, pool_limits)
    node.events.retarget(config.events.webhooks)
    node.log.level, node.log.format = config.logging.level, config.logging.format
    if node.https is not None and loaded is not None:
        node.https.use(loaded)
    if node.server is not None and app is not None:
        node.server.limits = make_limits(config.server)
        node.server.judge = HeadJudge()  # its heads remember what was derived from them
        node.server.app = app
    node.applied()


def make_limits(settings: ServerSettings) -> Limits:
    """The connection limits of the config."""
    return Limits(
        max_head=settings.max_head,
        max_body=settings.max_body,
        head_timeout=settings.head_timeout,
        keep_alive=settings.keep_alive,
        stall=settings.stall,
        max_connections=settings.max_connections,
    )


def changes(before: Config, after: Config) -> list[str]:
    """The names of the settings that differ, as far as they have an effect; each provider's."""
    out: list[str] = []
    for row in rows():
        value = attrgetter(row.key)
        if row.inert or value(before) == value(after):
            continue
        if row.key == "providers":
            out += [f"providers.{name}" for name in _differing(value(before), value(after))]
        else:
            out.append(row.key)
    return out


def _differing(before: dict[str, object], after: dict[str, object]) -> Iterable[str]:
    names = dict.fromkeys([*before, *after])
    return [name for name in names if before.get(name, ...) != after.get(name, ...)]
