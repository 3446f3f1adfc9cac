"""DNS results kept briefly, for trio's happy eyeballs: `trio.open_tcp_stream` asks the resolver
that is installed with `trio.socket.set_custom_hostname_resolver`, once in each `trio.run`.

A look-up belongs to its name and not to the task that asked first: it runs in a thread of its own
until it ends, and whoever asks for the same meanwhile waits with the others. So cancelling a task
loses nothing, and a name whose servers are silent holds one thread, not one for each attempt.

- Up to TTL_SECONDS a result is given as it is.
- After that the name is looked up again. The last good result is given if that fails or is not
  there within SLOW_SECONDS: an outage of DNS must not take a running proxy down.
- After STALE_SECONDS a result is of no use.

Numeric addresses do not come here: trio answers those by itself. DNS's own times to live are not
known to getaddrinfo and play no part.
"""

from __future__ import annotations

import contextlib
import math
import socket
from collections.abc import Callable
from typing import Literal

import trio

TTL_SECONDS = 30.0  # providers move their front ends by DNS, and take a minute or more for it
STALE_SECONDS = 300.0  # after a result was fetched; a longer outage is for a person to see
SLOW_SECONDS = (
    1.0  # a DNS server that is up answers in a fraction; glibc gives up after 10 and more
)
MAX_NAMES = 1024  # results kept; as many as origins are (see `parse_origin`)
# Threads at a time. Names are looked up one thread each, so only silent servers bring it this far.
MAX_LOOKUPS = 128

Host = bytes | str | None
Port = bytes | str | int | None
IPv4Entry = tuple[
    Literal[socket.AddressFamily.AF_INET], socket.SocketKind, int, str, tuple[str, int]
]
IPv6Entry = tuple[
    Literal[socket.AddressFamily.AF_INET6],
    socket.SocketKind,
    int,
    str,
    tuple[str, int, int, int] | tuple[int, bytes],
]
Found = list[IPv4Entry | IPv6Entry]
Question = tuple[Host, Port, int, int, int, int]
LookUp = Callable[[Host, Port, int, int, int, int], Found]


class _Pending:
    """A look-up under way."""

    __slots__ = ("done", "error", "found", "since")

    def __init__(self, since: float) -> None:
        self.since = since
        self.done = trio.Event()
        self.found: Found = []
        self.error: Exception | None = None

    async def wait(self) -> Found:
        """What was found. Raises what the look-up raised."""
        await self.done.wait()
        if self.error is not None:
            raise self.error.with_traceback(None)  # of several tasks: traces would pile up
        return self.found


class Resolver(trio.abc.HostnameResolver):
    """One for each `trio.run`. `look_up` is called in threads, as `socket.getaddrinfo` is."""

    def __init__(self, look_up: LookUp = socket.getaddrinfo) -> None:
        self._look_up = look_up
        # trio's default threads are for files and the database.
        self._limiter = trio.CapacityLimiter(MAX_LOOKUPS)
        # Both are changed in trio's thread only.
        self._kept: dict[Question, tuple[float, Found]] = {}  # when it was fetched; newest last
        self._pending: dict[Question, _Pending] = {}

    async def getaddrinfo(
        self,
        host: Host,
        port: Port,
        family: int = 0,
        type: int = 0,
        proto: int = 0,
        flags: int = 0,
    ) -> Found:
        """The addresses of a host, in a list of the caller's own: trio reorders it.

        Raises what the look-up raises (`socket.gaierror`), and EAI_AGAIN when MAX_LOOKUPS are
        under way; nothing while a result younger than STALE_SECONDS is kept.
        """
        question = (host, port, family, type, proto, flags)
        now = trio.current_time()
        since, found = self._kept.get(question, (-math.inf, []))
        if now - since < TTL_SECONDS:
            await trio.lowlevel.checkpoint()
        elif now - since >= STALE_SECONDS:
            found = await self._ask(question).wait()
        else:
            found = await self._refresh(question, found)
        return list(found)

    async def _refresh(self, question: Question, last: Found) -> Found:
        """A new result, or the last one."""
        try:
            pending = self._ask(question)
            with trio.move_on_at(pending.since + SLOW_SECONDS):
                return await pending.wait()
        except OSError:
            pass  # the next caller asks again
        return last

    def _ask(self, question: Question) -> _Pending:
        """The look-up of this question, started if there is none. Raises gaierror."""
        pending = self._pending.get(question)
        if pending is not None:
            return pending
        pending = _Pending(trio.current_time())
        try:
            self._limiter.acquire_on_behalf_of_nowait(pending)
        except trio.WouldBlock:
            reason = f"{MAX_LOOKUPS} look-ups are under way: the DNS servers do not answer"
            raise socket.gaierror(socket.EAI_AGAIN, reason) from None
        self._pending[question] = pending
        token = trio.lowlevel.current_trio_token()

        def work() -> None:
            try:
                pending.found = self._look_up(*question)
            except Exception as e:  # noqa: BLE001 - raised again in the tasks that wait
                pending.error = e
            with contextlib.suppress(trio.RunFinishedError):
                token.run_sync_soon(self._end, question, pending)

        # Not trio.to_thread.run_sync, which would tie the look-up to the task that asked first.
        trio.lowlevel.start_thread_soon(work, lambda _: None, f"look-up of {host_text(question)}")
        return pending

    def _end(self, question: Question, pending: _Pending) -> None:
        """Take over what a thread found."""
        self._limiter.release_on_behalf_of(pending)
        pending.done.set()
        if self._pending.get(question) is not pending:
            return  # forgotten meanwhile
        del self._pending[question]
        if pending.error is None:
            self._kept.pop(question, None)
            self._kept[question] = (trio.current_time(), pending.found)
            if len(self._kept) > MAX_NAMES:
                del self._kept[next(iter(self._kept))]

    async def getnameinfo(
        self, sockaddr: tuple[str, int] | tuple[str, int, int, int], flags: int
    ) -> tuple[str, str]:
        """The standard library's, in a thread; nothing is kept. A cancelled call leaves its thread
        behind. Raises `socket.gaierror`."""
        return await trio.to_thread.run_sync(
            socket.getnameinfo, sockaddr, flags, abandon_on_cancel=True, limiter=self._limiter
        )

    def forget(self) -> None:
        """Keep nothing of what was looked up so far, nor of what is being looked up now; who waits
        for that still gets it."""
        self._kept.clear()
        self._pending.clear()


def host_text(question: Question) -> str:
    """The host of a question, for people."""
    host = question[0]
    return host.decode("ascii", "replace") if isinstance(host, bytes) else str(host)
