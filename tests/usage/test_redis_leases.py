"""Accounts in a real Redis: what becomes of leases, and limits over several proxies at once."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from tests.support.http import until
from tests.support.redis import RedisServer, needs_redis, redis_server
from tests.usage.homes import ALL, NOW, A
from tests.usage.redis_home import (
    BY_THE_CLOCK,
    Proxy,
    counted,
    proxies,
    set_clock,
    settings_of,
    until_counted,
)
from tokenomics.config.settings import Seconds
from tokenomics.policy.limits import Bill, Denied, Lease, Want
from tokenomics.policy.meters import COST, REQUESTS, Limit, Limits
from tokenomics.usage.redis import LEASE_SECONDS, PROXIES

pytestmark = needs_redis

LAPSED = NOW + LEASE_SECONDS + 1
MONEY = Limit("money", "money/cost", COST, 1000)
FOUR = Limits(4, [ALL])


@asynccontextmanager
async def by_the_clock(folder: Path, count: int = 1) -> AsyncIterator[tuple[RedisServer, ...]]:
    """A server and proxies whose leases go by a clock that the test sets."""
    async with redis_server() as server:
        await set_clock(server, NOW)
        them = [
            Proxy(settings_of(server), folder / f"usage{number}", script=BY_THE_CLOCK)
            for number in range(count)
        ]
        async with proxies(*them):
            for proxy in them:
                await proxy.up()
            yield (server, *them)  # type: ignore[misc]


# Leases that lapse


async def test_what_a_dead_proxy_held_is_free_once_its_lease_has_lapsed(tmp_path: Path) -> None:
    async with by_the_clock(tmp_path, 2) as (server, dead, other):
        await dead.lease(Want(500, 500), Limits(1, [ALL]))
        dead.running.cancel()
        assert (await other.denied(Want(1, 0), Limits(1, [ALL]))).code == "too_many_parallel"
        assert (await other.denied(Want(1, 0))).code == "rate_limit_exceeded"
        await set_clock(server, LAPSED)
        await other.usage.trial(A, Limits(1, [ALL]), Want(1, 0))  # who only looks lets it lapse too
        assert await counted(server) == {"running": (0, 0)}
        await other.lease(Want(500, 500), Limits(1, [ALL]))
        assert await counted(server) == {"running": (1, 0), "all": (1000, 1000)}


async def test_a_late_settlement_of_a_lapsed_lease_is_charged_once(tmp_path: Path) -> None:
    async with by_the_clock(tmp_path, 2) as (server, late, other):
        lease = await late.lease(Want(100, 100))
        await set_clock(server, LAPSED)
        await other.spend(5)
        await late.end(lease, 150)
        assert await counted(server) == {"running": (0, 0), "all": (155, 0)}
        with pytest.raises(RuntimeError):
            await late.end(lease, 150)


async def test_a_settlement_is_charged_however_long_ago_its_lease_was_forgotten(
    tmp_path: Path,
) -> None:
    async with by_the_clock(tmp_path) as (server, proxy):
        lease = await proxy.lease(Want(100, 100))
        for later in (LAPSED, LAPSED + 4000):
            await set_clock(server, later)
            await proxy.spend(5)
        assert await server.do("HLEN", f"tokenomics:{{{A}}}:leases") == ":0"
        await proxy.end(lease, 150)
        assert await counted(server) == {"running": (0, 0), "all": (160, 0)}


async def test_a_stream_whose_lease_lapsed_takes_what_it_had_when_it_goes_on(
    tmp_path: Path,
) -> None:
    async with by_the_clock(tmp_path) as (server, proxy):
        lease = await proxy.lease(Want(100, 500, step=50))
        await set_clock(server, LAPSED)
        assert await proxy.usage.extend(A, lease, 30) == 30
        assert lease.output == 80
        assert await counted(server) == {"running": (1, 0), "all": (180, 180)}
        await proxy.end(lease, 170)
        assert await counted(server) == {"running": (0, 0), "all": (170, 0)}


async def test_a_stream_whose_lease_lapsed_ends_where_others_took_its_room(tmp_path: Path) -> None:
    async with by_the_clock(tmp_path) as (server, proxy):
        lease = await proxy.lease(Want(100, 500, step=50))
        await set_clock(server, LAPSED)
        other = await proxy.lease(Want(800, 30))
        assert await proxy.usage.extend(A, lease, 30) == 20, "180 of 1000 would be free"
        await proxy.end(other, 830)
        await proxy.end(lease, 150)
        await set_clock(server, LAPSED)
        assert await counted(server) == {"running": (0, 0), "all": (980, 0)}
        lease = await proxy.lease(Want(5, 15, step=5))
        await set_clock(server, LAPSED + LEASE_SECONDS + 1)
        await proxy.spend(15)
        assert await proxy.usage.extend(A, lease, 5) == 0
        assert await counted(server) == {"running": (0, 0), "all": (995, 0)}
        await proxy.end(lease, 10)
        assert await counted(server) == {"running": (0, 0), "all": (1005, 0)}


async def test_a_lapsed_lease_that_moves_runs_again(tmp_path: Path) -> None:
    async with by_the_clock(tmp_path) as (server, proxy):
        lease = await proxy.lease(Want(100, 100), FOUR)
        await set_clock(server, LAPSED)
        await proxy.spend(5)
        want = Want(10, 10, input_cost=3, output_cost=2)
        assert await proxy.usage.move(A, lease, Limits(4, [MONEY]), want) is None
        assert await counted(server) == {
            "running": (1, 0),
            "all": (5, 0),
            "money/cost": (23, 23),
        }
        await proxy.end(lease, 20)
        assert await counted(server) == {
            "running": (0, 0),
            "all": (5, 0),
            "money/cost": (20, 0),
        }


async def test_a_lease_that_is_renewed_does_not_lapse(tmp_path: Path) -> None:
    """By Redis's own clock, over several times the life of a lease."""
    async with redis_server() as server:
        proxy = Proxy(settings_of(server), tmp_path / "usage", lease_seconds=0.4)
        async with proxies(proxy):
            await proxy.up()
            lease = await proxy.lease(Want(100, 100))
            begun = trio.current_time()
            while trio.current_time() < begun + 1.0:
                assert await counted(server) == {"running": (1, 0), "all": (200, 200)}
                await trio.sleep(0.02)
            await proxy.end(lease, 150)
        assert await counted(server) == {"running": (0, 0), "all": (150, 0)}


# Answers that are lost


async def test_a_settlement_whose_answer_was_lost_is_charged_once(tmp_path: Path) -> None:
    async with redis_server() as server:
        proxy = Proxy(settings_of(server), tmp_path / "usage")
        async with proxies(proxy):
            await proxy.up()
            lease = await proxy.lease(Want(100, 100))
            server.pause()
            await proxy.end(lease, 150)
            assert proxy.has_said("no answer within") == 1
            server.resume()  # now it does what it was asked for
            await proxy.up(2)
            assert await counted(server) == {"running": (0, 0), "all": (150, 0)}


async def test_an_admission_whose_answer_was_lost_holds_nothing(tmp_path: Path) -> None:
    async with redis_server() as server:
        proxy = Proxy(settings_of(server), tmp_path / "usage")
        async with proxies(proxy):
            await proxy.up()
            server.pause()
            lease = await proxy.lease(Want(100, 100))
            assert lease.id == "", "it is counted here"
            server.resume()
            await proxy.up(2)
            await until_counted(server)
            await proxy.end(lease, 150)
            await until_counted(server, all=(150, 0))


async def test_a_move_whose_answer_was_lost_holds_nothing_in_the_end(tmp_path: Path) -> None:
    async with redis_server() as server:
        proxy = Proxy(settings_of(server), tmp_path / "usage")
        async with proxies(proxy):
            await proxy.up()
            lease = await proxy.lease(Want(100, 100), FOUR)
            server.pause()
            want = Want(10, 10, input_cost=3, output_cost=2)
            assert await proxy.usage.move(A, lease, Limits(4, [MONEY]), want) is None
            server.resume()
            await proxy.up(2)
            assert (await counted(server))["money/cost"] == (23, 23)
            await proxy.end(lease, 20)
            assert await counted(server) == {"running": (0, 0), "money/cost": (20, 0)}


async def test_a_cancelled_admission_takes_nothing_that_nobody_knows(tmp_path: Path) -> None:
    async with redis_server() as server:
        proxy = Proxy(settings_of(server), tmp_path / "usage")
        async with proxies(proxy):
            await proxy.up()
            got: list[Lease | Denied] = []

            async def ask() -> None:
                got.append(await proxy.ask(Want(100, 100)))

            async with trio.open_nursery() as nursery:
                nursery.start_soon(ask)
                await trio.lowlevel.checkpoint()
                nursery.cancel_scope.cancel()
            held = 200 if got else 0
            assert (await counted(server)).get("all", (0, 0)) == (held, held)


async def test_requests_that_are_cancelled_with_it_are_settled(tmp_path: Path) -> None:
    async with redis_server() as server:
        proxy = Proxy(settings_of(server), tmp_path / "usage")

        async def request(number: int) -> None:
            lease = await proxy.lease(Want(100, 10))
            try:
                await trio.sleep_forever()
            finally:
                await proxy.end(lease, number)

        async with proxies(proxy), trio.open_nursery() as nursery:
            await proxy.up()
            for number in range(5):
                nursery.start_soon(request, number)
            await until_counted(server, running=(5, 0), all=(550, 550))
            proxy.running.cancel()
            nursery.cancel_scope.cancel()
        assert await counted(server) == {"running": (0, 0), "all": (10, 0)}


# Several proxies at once


async def at_once(tasks: int, each: int, one: Callable[[int], Awaitable[None]]) -> None:
    async def some(number: int) -> None:
        for _ in range(each):
            await one(number)

    async with trio.open_nursery() as nursery:
        for number in range(tasks):
            nursery.start_soon(some, number)


@asynccontextmanager
async def three(folder: Path) -> AsyncIterator[tuple[RedisServer, list[Proxy]]]:
    async with redis_server() as server:
        settings = settings_of(server, timeout=Seconds(5))
        them = [Proxy(settings, folder / f"usage{number}") for number in range(3)]
        async with proxies(*them):
            for proxy in them:
                await proxy.up()
            yield server, them


async def test_parallel_requests_are_counted_over_proxies(tmp_path: Path) -> None:
    running, most, passed = 0, 0, 0

    async def one(number: int) -> None:
        nonlocal running, most, passed
        got = await them[number % 3].ask(Want(1, 1), Limits(5, [ALL]))
        if isinstance(got, Lease):
            running, passed = running + 1, passed + 1
            most = max(most, running)
            await trio.lowlevel.checkpoint()
            running -= 1
            await them[number % 3].end(got, 1)

    async with three(tmp_path) as (server, them):
        await at_once(30, 10, one)
        assert await counted(server) == {"running": (0, 0), "all": (passed, 0)}
    assert most <= 5 <= passed


async def test_a_rate_and_a_budget_are_exact_over_proxies(tmp_path: Path) -> None:
    got: list[Lease | Denied] = []
    minute = Limit("minute", "requests/60/sliding", REQUESTS, 60, 60.0)

    async def one(number: int) -> None:
        limits = Limits(each=[minute] if number < 30 else [ALL])
        found = await them[number % 3].ask(Want(30, 10), limits)
        got.append(found)
        if isinstance(found, Lease):
            await them[number % 3].usage.settle(A, found, Bill(40))

    async with three(tmp_path) as (server, them):
        await at_once(60, 8, one)
        there = await counted(server)
        assert there["requests/60/sliding"] == (60, 0)
        assert there["all"][0] <= 1000
    passed = sum(isinstance(found, Lease) for found in got)
    assert passed == 60 + there["all"][0] // 40


async def test_more_calls_than_a_connection_takes_wait_for_their_turn(tmp_path: Path) -> None:
    got: list[Lease | Denied] = []

    async def one(number: int) -> None:
        got.append(await them[0].ask(Want(1, 0)))

    async with three(tmp_path) as (server, them):
        await at_once(1500, 1, one)
        assert sum(isinstance(found, Lease) for found in got) == 1000
        assert them[0].told == [], "it was never away"
        for found in got:
            if isinstance(found, Lease):
                await them[0].end(found, 0)
        assert await counted(server) == {"running": (0, 0)}


async def test_proxies_know_of_each_other(tmp_path: Path) -> None:
    async with redis_server() as server:
        them = [
            Proxy(settings_of(server), tmp_path / f"usage{number}", lease_seconds=0.6)
            for number in range(3)
        ]
        async with proxies(*them):
            await until(lambda: all(proxy.share.proxies == 3 for proxy in them), "three proxies")
            them[0].running.cancel()
            await until(lambda: them[1].share.proxies == them[2].share.proxies == 2, "two")
        assert await server.do("ZCARD", PROXIES) == ":2"
