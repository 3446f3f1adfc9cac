"""One task that ends waits which last too long, and hears of peers that hung up.

A cancel scope per wait costs more than the parsing of what it waits for. So a wire carries its
deadline as a plain number, and all of them are looked at together, every TICK_SECONDS. A peer that
closes while nobody reads from it is told by one epoll set in which each socket is registered once.
"""

from __future__ import annotations

import select
from collections.abc import Callable

import trio

from tokenomics.net.wire import Wire

# How late a deadline may be noticed. 10,000 wires cost about 0.5 ms a look.
TICK_SECONDS = 0.1
# Edge-triggered and without EPOLLIN: the arrival of data wakes nobody here.
_HANGUPS = select.EPOLLRDHUP | select.EPOLLET

OnHangup = Callable[[int], None]


class Watch:
    """Watches wires while `run` runs. One per server and one per client, which own it. `now` is
    trio's clock, by which deadlines are set."""

    def __init__(self) -> None:
        self._wires: set[Wire] = set()
        self._hangups: dict[int, OnHangup] = {}
        self.now: Callable[[], float] = trio.current_time
        self._epoll = select.epoll()

    def add(self, wire: Wire, on_hangup: OnHangup | None = None) -> None:
        """Watch a wire's deadline. `on_hangup` is called with epoll's events when its peer resets
        or ends its sending, once per change, also for what happened before."""
        self._wires.add(wire)
        if on_hangup is not None:
            fd = wire.sock.fileno()
            self._epoll.register(fd, _HANGUPS)
            self._hangups[fd] = on_hangup

    def remove(self, wire: Wire) -> None:
        """Forget a wire; call it before the wire is closed, since its number is used again."""
        self._wires.discard(wire)
        fd = wire.sock.fileno()
        if self._hangups.pop(fd, None) is not None:
            self._epoll.unregister(fd)

    def __len__(self) -> int:
        return len(self._wires)

    async def run(self) -> None:
        """Watch for ever; once."""
        self.now = trio.lowlevel.current_clock().current_time  # the same at a third of the price
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._hear_hangups)
                while True:
                    await trio.sleep(TICK_SECONDS)
                    now = self.now()
                    for wire in [w for w in self._wires if w.deadline < now]:
                        wire.expire()
        finally:
            self._epoll.close()

    async def _hear_hangups(self) -> None:
        while True:
            await trio.lowlevel.wait_readable(self._epoll)
            for fd, events in self._epoll.poll(0):
                on_hangup = self._hangups.get(fd)
                if on_hangup is not None:
                    on_hangup(events)
