"""The two times that limits are measured by."""

from __future__ import annotations

import time


class Clock:
    """`steady` for windows: it runs evenly, whoever sets the machine's clock. `wall` for periods
    that people mean by a date. Both are epoch seconds. Processes of one machine that are given one
    `offset` (seconds between them and the machine's monotonic clock) agree."""

    def __init__(self, offset: float | None = None) -> None:
        self.offset = time.time() - time.monotonic() if offset is None else offset

    def steady(self) -> float:
        """Epoch seconds as they were when the clock was made, and what has passed since."""
        return time.monotonic() + self.offset

    def wall(self) -> float:
        """Epoch seconds as the machine has them."""
        return time.time()
