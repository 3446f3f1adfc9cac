"""Connections to Redis that break at any moment: no reply goes astray, nothing is left behind."""

from __future__ import annotations

import os
import random

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from tests.net.redis_clients import SHORT, Told, connected, settings_of
from tests.support.http import until
from tests.support.redis import RedisServer, needs_redis, redis_server
from tokenomics.net.redis import Away
from tokenomics.net.resp import Reply

pytestmark = needs_redis
TASKS = 30
ROUNDS = 40
MOST_STEPS = 100  # of the scheduler: a connection is made and asked in less
ODDS = {"cancelled": 0.1, "big": 0.1}


async def ask_at_random(told: Told, name: int, seen: dict[str, int]) -> None:
    """Ask again and again for something of one's own, and leave at times before it comes."""
    dice = random.Random(name)
    for i in range(ROUNDS):
        text = f"{name}-{i}" * (20_000 if dice.random() < ODDS["big"] else 1)
        with trio.CancelScope() as scope:
            if dice.random() < ODDS["cancelled"]:
                scope.deadline = trio.current_time() + dice.random() / 1000
            try:
                reply = await told.client.call("ECHO", text)
            except Away:
                seen["away"] += 1
                await until(lambda: told.client.connected, "a connection")
                continue
            assert reply == text.encode(), "a reply of somebody else"
            seen["answered"] += 1


async def break_at_random(server: RedisServer, told: Told) -> None:
    """End connections, and stop the server for a moment, for ever."""
    dice = random.Random(1)
    while True:
        ups = sum(said == "up" for said in told.said)
        if dice.random() < 0.7:
            await server.do("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        else:
            server.pause()
            await until(lambda: not told.client.connected, "a connection given up")
            server.resume()
        await told.up(ups + 1)


async def test_no_reply_goes_to_somebody_else() -> None:
    async with connected(timeout=SHORT) as (server, told):
        seen = {"answered": 0, "away": 0}
        async with trio.open_nursery() as breaking:
            breaking.start_soon(break_at_random, server, told)
            async with trio.open_nursery() as asking:
                for name in range(TASKS):
                    asking.start_soon(ask_at_random, told, name, seen)
            breaking.cancel_scope.cancel()
        server.resume()
    assert min(seen.values()) > 0, seen


async def test_a_client_stopped_at_any_step_leaves_nothing() -> None:
    async with redis_server() as server:
        before = len(os.listdir("/proc/self/fd"))
        for steps in range(MOST_STEPS):
            told = Told(settings_of(server), 0.0)
            async with trio.open_nursery() as asking, trio.open_nursery() as running:
                running.start_soon(told.client.run)
                for _ in range(steps):
                    await trio.lowlevel.checkpoint()
                asking.start_soon(ask_once, told)
                running.cancel_scope.cancel()
            with pytest.raises(Away):
                await told.client.call("PING")
        assert len(os.listdir("/proc/self/fd")) == before
        while await server.clients("tokenomics"):
            await trio.lowlevel.checkpoint()


async def ask_once(told: Told) -> None:
    try:
        assert await told.client.call("ECHO", "a") == b"a"
    except Away:
        pass


async def test_a_process_that_stood_still_does_not_blame_the_server(mock_clock: MockClock) -> None:
    mock_clock.rate = 1.0
    async with connected(timeout=5) as (server, told):
        found: list[Reply] = []

        async def ask() -> None:
            found.append(await told.client.call("ECHO", "a"))

        server.pause()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask)
            await trio.testing.wait_all_tasks_blocked()
            mock_clock.jump(20.0)
            await trio.testing.wait_all_tasks_blocked()
            server.resume()
        assert found == [b"a"]
        assert told.said == ["up"]
