"""What the tests of counting in Redis share: proxies that count in one server."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import trio

from tests.store.stores import hash_of
from tests.support.http import until
from tests.support.redis import RedisServer, redis_server
from tokenomics.config.settings import Redis, Seconds
from tokenomics.policy.limits import Bill, Denied, Lease, Want
from tokenomics.policy.meters import Limits
from tokenomics.usage.redis import RedisUsage
from tokenomics.usage.share import Share

A = hash_of(1)


@dataclass
class Counting:
    """One proxy's counting, and what it said."""

    usage: RedisUsage
    share: Share
    scope: trio.CancelScope
    said: list[str] = field(default_factory=list)
    told: list[bool] = field(default_factory=list)

    async def admit(self, limits: Limits, want: Want) -> Lease:
        got = await self.usage.admit(A, limits, want)
        assert isinstance(got, Lease), got
        return got

    async def denied(self, limits: Limits, want: Want) -> Denied:
        got = await self.usage.admit(A, limits, want)
        assert isinstance(got, Denied), got
        return got

    async def spend(self, limits: Limits, tokens: int) -> None:
        """One request from beginning to end."""
        await self.usage.settle(A, await self.admit(limits, Want(tokens, 0)), Bill(tokens))

    async def is_there(self) -> None:
        await until(lambda: self.told[-1:] == [True], "the return of Redis")

    async def is_away(self) -> None:
        await until(lambda: self.told[-1:] == [False], "the loss of Redis")


def settings_of(server: RedisServer, on_error: str = "local", timeout: float = 0.5) -> Redis:
    return Redis(addr=server.addr, on_error=on_error, timeout=Seconds(timeout))


@asynccontextmanager
async def counting(
    settings: Redis, folder: Path, number: int = 0, lease: float = 3.0
) -> AsyncIterator[Counting]:
    """A proxy that counts in Redis while the block runs."""
    share = Share(folder / f"{number}.usage", pytest.fail)
    said: list[str] = []
    told: list[bool] = []
    usage = RedisUsage(
        settings,
        share,
        lambda level, message: said.append(f"{level}: {message}"),
        lambda up, _why: told.append(up),
        lease_seconds=lease,
    )
    async with trio.open_nursery() as nursery:
        nursery.start_soon(usage.run)
        yield Counting(usage, share, nursery.cancel_scope, said, told)
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def three(folder: Path) -> AsyncIterator[list[Counting]]:
    """Three proxies and a Redis."""
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(redis_server())
        settings = settings_of(server)
        yield [
            await stack.enter_async_context(counting(settings, folder, number))
            for number in range(3)
        ]
