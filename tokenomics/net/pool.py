"""Which idle connection serves a request, and which are closed. Pure: it holds, others act."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

T = TypeVar("T")

# Below the idle time of the providers' front ends (60 s and more), so that we close first.
IDLE_SECONDS = 45.0
MAX_IDLE_PER_ORIGIN = 256


@dataclass(slots=True)
class Pool(Generic[T]):
    """Idle connections by origin, newest last. The newest is used first: the others may age out."""

    fit: Callable[[T], bool]
    _idle: dict[str, deque[tuple[float, T]]] = field(default_factory=dict)

    def take(self, origin: str, now: float) -> tuple[T | None, list[T]]:
        """(a connection to use or None, connections to close)."""
        closing: list[T] = []
        idle = self._idle.get(origin)
        while idle:
            since, connection = idle.pop()
            if now - since < IDLE_SECONDS and self.fit(connection):
                return connection, closing
            closing.append(connection)
        return None, closing

    def put(self, origin: str, connection: T, now: float) -> list[T]:
        """Keep a connection; the connections to close for it are returned."""
        idle = self._idle.setdefault(origin, deque())
        idle.append((now, connection))
        closing = []
        while idle and (now - idle[0][0] >= IDLE_SECONDS or len(idle) > MAX_IDLE_PER_ORIGIN):
            closing.append(idle.popleft()[1])
        return closing

    def clear(self) -> list[T]:
        """Forget all; they are to be closed."""
        everything = [c for idle in self._idle.values() for _, c in idle]
        self._idle.clear()
        return everything
