"""Asking Redis 6 or newer, or Valkey, over one connection for all tasks of a process.

Without a connection a call fails at once: nobody waits for one. `run` makes it anew as often as it
is lost, and says when it is up and down; all tasks are in its nursery. What goes on in a connection
is in `redis_link`.
"""

from __future__ import annotations

import hashlib
import random
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import trio

from tokenomics.config.settings import Redis
from tokenomics.net.dial import Dialer, Unreachable
from tokenomics.net.origin import DIRECT, Origin
from tokenomics.net.proxies import Proxies
from tokenomics.net.redis_address import Address, parse_address
from tokenomics.net.redis_link import ELSEWHERE, Away, Link, Lost
from tokenomics.net.resp import Reply, ReplyError, encode
from tokenomics.net.wire import SocketWire, Wire

__all__ = ["Away", "RedisClient", "RedisError", "Script", "Word", "pause"]

# For TCP, and for TLS. More than `timeout`, which is about a server that runs: one that is down
# for good costs nobody anything, and one behind a slow name server is reached at last.
CONNECT_SECONDS = 2.0
FIRST_PAUSE_SECONDS = 0.05  # doubles with each try, with full jitter
MAX_PAUSE_SECONDS = 5.0
NAME = "tokenomics"  # of our connections, in CLIENT LIST

Word = bytes | str | int


class RedisError(Exception):
    """Redis answered, and says no; `kind` is the first word of what it says, such as OOM."""

    def __init__(self, error: ReplyError) -> None:
        super().__init__(error.message)
        self.kind = error.kind


@dataclass(frozen=True, slots=True)
class Script:
    """A Lua script, which a server that has seen it knows by its digest."""

    text: str
    sha1: str = field(init=False)

    def __post_init__(self) -> None:
        digest = hashlib.sha1(self.text.encode(), usedforsecurity=False).hexdigest()
        object.__setattr__(self, "sha1", digest)


class RedisClient:
    """Asks one Redis. While `run` runs, it is kept connected.

    `on_up()` is called from `run` when it can be asked, `on_down(reason)` when it no longer can,
    and when an attempt to connect fails for another reason than the one before. No reason holds a
    password. The settings are those of a built config.
    """

    def __init__(
        self,
        settings: Redis,
        on_up: Callable[[], None],
        on_down: Callable[[str], None],
        *,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._settings = settings
        self._address: Address = parse_address(settings.addr)
        self._on_up = on_up
        self._on_down = on_down
        self._jitter = jitter
        self._dialer = Dialer(Proxies.from_env({}))
        self._link: Link | None = None
        self._reason = "not connected yet"

    @property
    def connected(self) -> bool:
        """Whether it can be asked."""
        return self._link is not None and not self._link.reason

    async def call(self, *words: Word) -> Reply:
        """The reply to a command; errors in a list are values in it.

        Raises Away, at once if there is no connection and after the settings' timeout if there is
        no answer; and RedisError if the reply is an error. What a call asked for that is cancelled
        or ends in Away may have been done, or may yet be.
        """
        await trio.lowlevel.checkpoint_if_cancelled()  # nothing is sent for one who is gone
        if self._link is None:
            raise Away(self._said(self._reason))
        try:
            reply = await self._link.ask(encode(*words))
        except Lost as e:
            raise Away(self._said(str(e))) from None
        if isinstance(reply, ReplyError):
            raise RedisError(reply)
        return reply

    async def script(self, script: Script, keys: Sequence[Word], args: Sequence[Word]) -> Reply:
        """What a script returns: asked for by its digest, and once by its text if the server does
        not know it (any more). Raises what `call` raises."""
        try:
            return await self.call("EVALSHA", script.sha1, len(keys), *keys, *args)
        except RedisError as e:
            if e.kind != "NOSCRIPT":
                raise
        return await self.call("EVAL", script.text, len(keys), *keys, *args)

    async def run(self) -> None:
        """Keep it connected for ever; once. Cancelled, it closes the connection, and who waits
        gets Away."""
        failures = 0
        told = ""  # the last reason that `on_down` was told
        while True:
            began = trio.current_time()
            was_up, hopeless = False, False
            try:
                was_up, reason = await self._connection()
            except Lost as e:
                reason, hopeless = str(e), e.hopeless
            self._reason = reason
            if was_up or told != reason:
                told = reason
                self._on_down(self._said(reason))
            # One that is lost soon after it was made is a failure, too.
            lasted = was_up and trio.current_time() - began > MAX_PAUSE_SECONDS
            failures = 0 if lasted else failures + 1
            await trio.sleep(pause(failures, self._jitter(), hopeless=hopeless))

    async def _connection(self) -> tuple[bool, str]:
        """Make a connection and keep it: whether it was up, and why it was lost. Raises Lost."""
        wire = await self._dial()
        link = Link(wire, self._settings.timeout)
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(link.read)
                nursery.start_soon(link.write)
                nursery.start_soon(link.watch)
                fault = await self._greet(link)
                if fault is None:
                    self._link = link
                    self._on_up()
                    await link.lost.wait()
                nursery.cancel_scope.cancel()
        finally:
            self._link = None
            link.drop("the client was stopped")
            self._reason = link.reason
            wire.close()
        if fault is not None:
            raise fault
        return True, link.reason

    async def _dial(self) -> Wire:
        """A connection on which nothing was said yet. Raises Lost."""
        address, tls, ca_file = self._address, self._settings.tls, self._settings.ca_file
        if address.path:
            return await _dial_unix(address.path)
        scheme = "https" if tls else "http"  # TLS or not; the rest of HTTP plays no part
        origin = Origin(scheme, address.host, address.port, ca_file=ca_file, proxy=DIRECT)
        try:
            return await self._dialer.dial(origin, CONNECT_SECONDS, CONNECT_SECONDS)
        except Unreachable as e:
            raise Lost(str(e).removeprefix(f"{origin.authority}: ")) from None

    async def _greet(self, link: Link) -> Lost | None:
        """Say who we are, and see whether it can be asked; else why not."""
        settings = self._settings
        login: list[Word] = []
        if settings.username or settings.password:
            login = ["AUTH", settings.username or "default", settings.password.reveal()]
        try:
            hello = await link.ask(encode("HELLO", 3, *login, "SETNAME", NAME))
            fault = _judge_hello(hello)
            if fault is None and settings.db:
                fault = _judge(await link.ask(encode("SELECT", settings.db)), "SELECT", b"OK")
            if fault is None:
                fault = _judge(await link.ask(encode("PING")), "PING", b"PONG")
        except Lost as e:
            return e
        return fault

    def _said(self, reason: str) -> str:
        return f"Redis at {self._address}: {reason}"


# How the answer to HELLO begins, what it means, and whether a person has to change something.
_REFUSALS = (
    ("WRONGPASS", "the user or the password is wrong (session.redis.username, password)", True),
    ("NOAUTH", "it wants a password (session.redis.password)", True),
    ("ERR unknown command", "it does not know HELLO: Redis 6 or newer is needed", True),
    ("NOPROTO", "it does not speak RESP3: Redis 6 or newer is needed", True),
    ("DENIED", "it is in protected mode, and takes nobody from another machine", True),
    ("ERR max number of clients", "it has as many clients as it takes", False),
)


def _judge_hello(reply: Reply) -> Lost | None:
    """What is wrong with the answer to HELLO. The server's words are not repeated: the old ones
    show a part of the command, and the password is in it."""
    if isinstance(reply, dict):
        role = reply.get(b"role")
        if role == b"master":
            return None
        return Lost(f"its role is {_shown(role)}: only a master takes writes")
    if not isinstance(reply, ReplyError):
        return Lost("it does not answer HELLO as Redis does", hopeless=True)
    for begins, meaning, hopeless in _REFUSALS:
        if reply.message.startswith(begins):
            return Lost(f"{reply.kind}: {meaning}", hopeless=hopeless)
    return Lost(f"{reply.kind}: it refuses HELLO", hopeless=reply.kind not in ELSEWHERE)


def _judge(reply: Reply, command: str, good: bytes) -> Lost | None:
    """What is wrong with the answer to another command. Who may not PING may do other things."""
    if reply == good or (command == "PING" and _is_no_permission(reply)):
        return None
    if isinstance(reply, ReplyError):
        return Lost(reply.message, hopeless=reply.kind not in ELSEWHERE)
    return Lost(f"it does not answer {command} as Redis does", hopeless=True)


def _is_no_permission(reply: Reply) -> bool:
    return isinstance(reply, ReplyError) and reply.kind == "NOPERM"


def _shown(role: Reply) -> str:
    return role.decode("ascii", "replace")[:16] if isinstance(role, bytes) else "unknown"


async def _dial_unix(path: str) -> Wire:
    try:
        stream = await trio.open_unix_socket(path)
    except OSError as e:
        raise Lost(e.strerror or str(e)) from None
    return SocketWire(socket.socket(fileno=stream.socket.detach()))


def pause(failures: int, jitter: float, *, hopeless: bool) -> float:
    """Seconds until the next attempt; `jitter` is a random number from 0 to 1. Where a person has
    to change something, half the longest pause at least: each attempt may be in a log."""
    if hopeless:
        return MAX_PAUSE_SECONDS * (1 + jitter) / 2
    doubled = FIRST_PAUSE_SECONDS * 2.0 ** min(failures - 1, 30)
    return min(doubled, MAX_PAUSE_SECONDS) * jitter
