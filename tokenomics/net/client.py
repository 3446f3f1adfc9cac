"""The HTTP/1.1 client of the product: to providers, webhook targets and the central server.

`Client.call` gives a `Call` that owns one connection until it is left. A request goes out a second
time, on a fresh connection, only if a kept connection broke before one byte of an answer came.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable

import trio

from tokenomics.net.call import Broken, Call, Link, Patience, TimedOut
from tokenomics.net.dial import Dialer, Unreachable
from tokenomics.net.message import request_head
from tokenomics.net.origin import Origin
from tokenomics.net.pool import Pool, PoolLimits
from tokenomics.net.proxies import Proxies
from tokenomics.net.watch import Watch
from tokenomics.net.wire import Wire

SWEEP_SECONDS = 1.0  # how often idle connections are looked at

__all__ = ["Broken", "Call", "Client", "Crowded", "Dial", "Patience", "TimedOut", "Unreachable"]


class Crowded(Unreachable):
    """All connections that may be open to the peer are in use; it is not the peer's fault."""


Dial = Callable[[Origin], Awaitable[Wire]]


class Client:
    """Keeps connections. `dialers` serve schemes of their own (the built-in echo provider).

    While `run` runs, the deadlines of calls hold and idle connections are closed in time; without
    it, the caller's cancel scope is what bounds a call.
    """

    def __init__(
        self,
        dialers: dict[str, Dial] | None = None,
        proxies: Proxies | None = None,
        limits: PoolLimits | None = None,
    ) -> None:
        self._dialers = dialers or {}
        self._dialer = Dialer(proxies or Proxies.from_env({}))
        self._pool: Pool[Link] = Pool(lambda link: link.wire.is_quiet(), limits or PoolLimits())
        # By origin: calls that wait for one of its connections to be closed or kept.
        self._waiting: dict[str, trio.lowlevel.ParkingLot] = {}
        self._epoch = 0
        self.watch = Watch()

    async def run(self) -> None:
        """Hold calls to their deadlines, and close what idles too long, for ever."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.watch.run)
            while True:
                await trio.sleep(SWEEP_SECONDS)
                for link in self._pool.overdue(self.watch.now()):
                    self._close(link)

    async def call(
        self,
        origin: Origin,
        method: str,
        target: str,
        headers: list[tuple[bytes, bytes]],
        body: bytes = b"",
        patience: Patience | None = None,
    ) -> Call:
        """Send a request and read the answer's head. The caller closes the Call.

        `target` is below the origin's own path. Raises Unreachable, Broken or TimedOut.
        """
        fields = [(b"host", origin.authority.encode("ascii")), *headers]
        if body or method not in ("GET", "HEAD", "DELETE"):
            fields.append((b"content-length", b"%d" % len(body)))
        head = request_head(method, origin.path + target, fields)
        return await self.exchange(origin, method, head, body, patience or Patience())

    async def exchange(
        self,
        origin: Origin,
        method: str,
        head: bytes,
        body: bytes,
        patience: Patience,
        by: float = math.inf,
    ) -> Call:
        """The same for a request whose head stands already, Host and all, and for an answer that
        must begin by a time of trio's clock."""
        again = False
        while True:
            kept = None if again else self._kept(origin)
            link = kept or await self._fresh(origin, patience, by)
            call = Call(self, link, patience)
            try:
                await call.send(head, body)
                await call.read_head(method, by)
            except Broken as e:
                call.__exit__()
                if e.began or not link.used or isinstance(e, TimedOut):
                    raise
                again = True  # a kept connection that the peer closed under us
                continue
            except BaseException:
                call.__exit__()
                raise
            return call

    def _kept(self, origin: Origin) -> Link | None:
        link, closing = self._pool.take(origin.key, self.watch.now())
        for old in closing:
            self._close(old)
        if link is not None:
            link.used = True
        return link

    async def _fresh(self, origin: Origin, patience: Patience, by: float) -> Link:
        """A connection of one's own, once there is room for it. Raises Unreachable, TimedOut."""
        connect = min(patience.connect, by - self.watch.now())
        if connect <= 0:
            raise TimedOut("no time is left for a connection", began=False)
        with trio.move_on_after(connect):
            while not self._pool.has_room(origin.key):
                await self._waiting.setdefault(origin.key, trio.lowlevel.ParkingLot()).park()
                link = self._kept(origin)
                if link is not None:
                    return link
        if not self._pool.has_room(origin.key):
            limit = self._pool.limits.max_open
            raise Crowded(f"{origin.authority}: all {limit} connections are in use")
        self._pool.opened(origin.key)
        epoch = self._epoch
        try:
            dial_own = self._dialers.get(origin.scheme)
            if dial_own is not None:
                wire = await dial_own(origin)
            else:
                wire = await self._dialer.dial(origin, connect, patience.handshake)
        except BaseException:
            self._pool.closed(origin.key)
            self._wake(origin.key)
            raise
        self.watch.add(wire)
        return Link(wire, origin, epoch)

    def give_back(self, link: Link, reusable: bool) -> None:
        """Keep or close a connection that a Call is done with."""
        if reusable and link.epoch == self._epoch:
            closing = self._pool.put(link.origin.key, link, self.watch.now())
        else:
            closing = [link]
        for old in closing:
            self._close(old)
        if self._waiting:
            self._wake(link.origin.key)

    def _wake(self, key: str) -> None:
        """An origin may have room: let the call that waits longest look."""
        waiting = self._waiting.get(key)
        if waiting is not None:
            waiting.unpark()
            if not waiting:
                del self._waiting[key]

    def _close(self, link: Link) -> None:
        self._dialer.remember(link.origin, link.wire)
        self._pool.closed(link.origin.key)
        self.watch.remove(link.wire)
        link.wire.close()

    def refresh(self, proxies: Proxies, limits: PoolLimits) -> None:
        """Files and names may have changed: make connections anew from now on, through these
        proxies and in these limits. Those in use go on to the end of their call."""
        self._epoch += 1
        self._dialer.forget(proxies)
        self._pool.limits = limits
        self.close()
        for waiting in self._waiting.values():  # there may be more room now
            waiting.unpark_all()
        self._waiting.clear()

    def close(self) -> None:
        """Close the kept connections."""
        for link in self._pool.clear():
            self._close(link)
