"""Requests over three proxies while proxies and their Redis come and go: the sums are right."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from pathlib import Path

import trio

from tests.support.redis import RedisServer, needs_redis, redis_server
from tests.usage.homes import A
from tests.usage.redis_home import Proxy, proxies, settings_of, until_counted
from tokenomics.policy.limits import Bill, Lease, Want
from tokenomics.policy.meters import COST, TOKENS, Limit, Limits

LIMITS = Limits(1000, [Limit("all", "all", TOKENS, 10**9), Limit("cost", "cost", COST, 10**12)])
OTHER = Limits(1000, [Limit("other", "other", TOKENS, 10**9)])


@dataclass
class Provider:
    """What requests have really cost, by the budget that bears it."""

    spent: dict[str, int] = field(default_factory=lambda: {"all": 0, "cost": 0, "other": 0})
    requests: int = 0

    async def serve(self, proxy: Proxy, dice: random.Random) -> None:
        """One request: it may grow, move, and take its time."""
        want = Want(dice.randrange(50), 500, step=20, output_cost=2)
        lease = await proxy.ask(want, LIMITS)
        assert isinstance(lease, Lease), lease
        bill = Bill(dice.randrange(600), dice.randrange(900))
        moved = False
        for _ in range(dice.randrange(4)):
            await trio.sleep(dice.random() / 50)
            await proxy.usage.extend(A, lease, dice.randrange(1, 40))
        if dice.random() < 0.3:
            moved = await proxy.usage.move(A, lease, OTHER, want) is None
        moved = moved and bool(lease.holds) and lease.holds[0].due.key == "other"
        await proxy.usage.settle(A, lease, bill)
        self.requests += 1
        if moved:
            self.spent["other"] += bill.tokens
        else:
            self.spent["all"] += bill.tokens
            self.spent["cost"] += bill.cost


async def break_at_random(server: RedisServer, dice: random.Random) -> None:
    """Each keeps what Redis had answered."""
    for _ in range(4):
        await trio.sleep(dice.random() / 3)
        kind = dice.randrange(5)
        if kind == 0:
            await server.restart()
        elif kind == 1:
            server.pause()
            await trio.sleep(0.3)
            server.resume()
        elif kind == 2:
            await server.do("CLIENT", "KILL", "TYPE", "normal")
        elif kind == 3:
            await server.do("CONFIG", "SET", "maxmemory", "1")
            await trio.sleep(0.1)
            await server.do("CONFIG", "SET", "maxmemory", "0")
        else:
            await server.do("SCRIPT", "FLUSH")


@needs_redis
async def test_what_requests_cost_is_charged_once_whatever_becomes_of_redis(
    tmp_path: Path,
) -> None:
    seed = random.randrange(10**6)
    print(f"seed {seed}")  # shown where it fails
    dice, provider, over = random.Random(seed), Provider(), trio.Event()

    async def client(proxy: Proxy) -> None:
        while not over.is_set():
            await provider.serve(proxy, dice)

    async with redis_server(appendonly=True) as server:
        them = [
            Proxy(
                settings_of(server, on_error="local" if number else "open"),
                tmp_path / f"usage{number}",
                lease_seconds=12,
            )
            for number in range(3)
        ]
        async with proxies(*them):
            for proxy in them:
                await proxy.up()
            async with trio.open_nursery() as nursery:
                for proxy in them:
                    for _ in range(4):
                        nursery.start_soon(client, proxy)
                await break_at_random(server, dice)
                over.set()
            total = {key: (spent, 0) for key, spent in provider.spent.items() if spent}
            await until_counted(server, A, **total)
    assert provider.requests > 50
