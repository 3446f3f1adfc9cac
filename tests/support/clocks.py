"""Passing minutes of a mock clock in no time."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio
from trio.testing import MockClock, wait_all_tasks_blocked

STEP_SECONDS = 0.5
CUSHION_SECONDS = 0.002  # of real time, in which sockets may speak


@asynccontextmanager
async def hurried(clock: MockClock) -> AsyncIterator[None]:
    """While the block runs, the clock jumps whenever nobody has anything to do.

    It is coarser than `autojump_threshold` and faster: that one stops at every deadline, of which
    servers have many.
    """

    async def jump() -> None:
        while True:
            await wait_all_tasks_blocked(CUSHION_SECONDS)
            clock.jump(STEP_SECONDS)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(jump)
        yield
        nursery.cancel_scope.cancel()
