"""Clients of Redis for tests: what each said of its connections, and the servers they ask."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
import trio

from tests.support.http import until
from tests.support.redis import RedisServer, redis_server
from tokenomics.config.settings import Redis, Seconds
from tokenomics.net.redis import Away, RedisClient, Script

WORD = "open" + "sesame"  # stands for a password
SHORT = Seconds(0.2)  # a timeout for servers that don't answer
TEST_SECONDS = 30.0
INCREASE = Script("return {redis.call('INCRBY', KEYS[1], ARGV[1]), ARGV[2]}")


@dataclass
class Told:
    """A client, and what it said of its connections: `up`, or the reason why it is not."""

    settings: Redis
    jitter: float
    said: list[str] = field(default_factory=list)
    run: trio.CancelScope = field(default_factory=trio.CancelScope)

    def __post_init__(self) -> None:
        self.client = RedisClient(
            self.settings,
            lambda: self.said.append("up"),
            self.said.append,
            jitter=lambda: self.jitter,
        )

    async def keep_up(self) -> None:
        """Run it until `run` is cancelled."""
        with self.run:
            await self.client.run()

    async def until(self, said: str, count: int = 1) -> None:
        """Wait until it has said so, so many times."""
        await until(lambda: sum(said in line for line in self.said) >= count, f"{said!r}")

    async def up(self, count: int = 1) -> None:
        """Wait until it has had so many connections."""
        await self.until("up", count)


@asynccontextmanager
async def client_of(settings: Redis, jitter: float = 0.0) -> AsyncIterator[Told]:
    """A client that runs, and with no jitter tries again without a pause."""
    told = Told(settings, jitter)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(told.keep_up)
        with trio.fail_after(TEST_SECONDS):
            yield told
        nursery.cancel_scope.cancel()


def settings_of(server: RedisServer, **more: Any) -> Redis:
    """How to reach a server."""
    return replace(Redis(addr=server.addr, timeout=Seconds(5)), **more)


@asynccontextmanager
async def connected(*lines: str, timeout: float = 5.0) -> AsyncIterator[tuple[RedisServer, Told]]:
    """A server, and a client that has a connection to it."""
    async with (
        redis_server(*lines) as server,
        client_of(settings_of(server, timeout=Seconds(timeout))) as told,
    ):
        await told.up()
        yield server, told


async def fails(told: Told, reason: str) -> None:
    """Ask, and be told that there is nobody to ask."""
    with pytest.raises(Away) as caught:
        await told.client.call("PING")
    assert reason in caught.value.reason
