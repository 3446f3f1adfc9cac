"""Which idle connection serves a request, and which are closed. Pure: it holds, others act."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class PoolLimits:
    """Bounds for each origin. `idle` in seconds is below the idle time of the providers' front
    ends (60 s and more), so that we close first. `max_open` counts connections in use too."""

    idle: float = 45.0
    max_idle: int = 256
    max_open: int = 1024


@dataclass(slots=True)
class Pool(Generic[T]):
    """Idle connections by origin, newest last. The newest is used first: the others may age out."""

    fit: Callable[[T], bool]
    limits: PoolLimits = PoolLimits()
    _idle: dict[str, deque[tuple[float, T]]] = field(default_factory=dict)
    _open: dict[str, int] = field(default_factory=dict)

    def take(self, origin: str, now: float) -> tuple[T | None, list[T]]:
        """(a connection to use or None, connections to close)."""
        closing: list[T] = []
        idle = self._idle.get(origin)
        while idle:
            since, connection = idle.pop()
            if now - since < self.limits.idle and self.fit(connection):
                return connection, closing
            closing.append(connection)
        return None, closing

    def put(self, origin: str, connection: T, now: float) -> list[T]:
        """Keep a connection; the connections to close for it are returned."""
        idle = self._idle.get(origin)
        if idle is None:
            idle = self._idle[origin] = deque()
        idle.append((now, connection))
        return [idle.popleft()[1]] if len(idle) > self.limits.max_idle else []

    def overdue(self, now: float) -> list[T]:
        """Forget those that idled too long; they are to be closed."""
        closing = []
        for idle in self._idle.values():
            while idle and now - idle[0][0] >= self.limits.idle:
                closing.append(idle.popleft()[1])
        return closing

    def clear(self) -> list[T]:
        """Forget all; they are to be closed."""
        everything = [c for idle in self._idle.values() for _, c in idle]
        self._idle.clear()
        return everything

    def has_room(self, origin: str) -> bool:
        """Whether one more connection may be opened."""
        return self._open.get(origin, 0) < self.limits.max_open

    def opened(self, origin: str) -> None:
        """A connection is being opened."""
        self._open[origin] = self._open.get(origin, 0) + 1

    def closed(self, origin: str) -> None:
        """A connection that was `opened` is closed, or came to nothing."""
        left = self._open[origin] - 1
        if left:
            self._open[origin] = left
        else:
            del self._open[origin]
