"""A Redis that goes away and comes back, in each way: who waits, what is said, what is charged."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from importlib import resources
from pathlib import Path
from typing import NamedTuple

import pytest
import trio

from tests.support.http import PATIENCE, until
from tests.support.redis import RedisServer, needs_redis, redis_server
from tests.usage.homes import A, B
from tests.usage.redis_home import (
    TIMEOUT,
    Proxy,
    counted,
    proxies,
    settings_of,
    until_counted,
)
from tokenomics.errors import Refusal
from tokenomics.policy.limits import Bill, Want
from tokenomics.policy.meters import TOKENS, Limit, Limits
from tokenomics.tokens import Secret
from tokenomics.usage.redis import EPOCH, OPEN_ID

pytestmark = needs_redis

ACCOUNTS = {"local": A, "closed": B, "open": "c" * 64}
LEASE_SECONDS = 12.0  # so that a Redis that refuses is soon asked again
SLACK = 0.5  # seconds; a machine has other things to do

Change = Callable[[RedisServer], Awaitable[None]]


def orders(*words: str) -> Change:
    async def give(server: RedisServer) -> None:
        await server.do(*words)

    return give


async def pause(server: RedisServer) -> None:
    server.pause()


async def resume(server: RedisServer) -> None:
    server.resume()


async def kill(server: RedisServer) -> None:
    server.kill()


async def start(server: RedisServer) -> None:
    await server.start()


async def start_empty(server: RedisServer) -> None:
    await server.restart(empty=True)


class Way(NamedTuple):
    """How it goes away and comes back, and what is said of it."""

    go: Change
    come: Change
    says: str


WAYS = {
    "killed": Way(kill, start, "Redis at"),
    "killed and emptied": Way(kill, start_empty, "Redis at"),
    "stopped": Way(pause, resume, "no answer within"),
    "full": Way(
        orders("CONFIG", "SET", "maxmemory", "1"),
        orders("CONFIG", "SET", "maxmemory", "0"),
        "Redis refuses: OOM",
    ),
    "a replica": Way(
        orders("REPLICAOF", "127.0.0.1", "1"), orders("REPLICAOF", "NO", "ONE"), "READONLY"
    ),
    "no scripts": Way(
        orders("ACL", "SETUSER", "default", "-evalsha"),
        orders("ACL", "SETUSER", "default", "+@all"),
        "Redis refuses: NOPERM",
    ),
    "no writing": Way(
        orders("ACL", "SETUSER", "default", "-set"),
        orders("ACL", "SETUSER", "default", "+@all"),
        "Redis refuses",
    ),
}


async def ask_without(proxy: Proxy, on_error: str) -> None:
    """A request while it is away: 50 tokens, if it may."""
    if on_error == "closed":
        with pytest.raises(Refusal, match="cannot count what the token uses"):
            await proxy.ask(Want(50, 0))
        return
    lease = await proxy.lease(Want(50, 0))
    assert lease.id == {"local": "", "open": OPEN_ID}[on_error]
    await proxy.end(lease, 50)


@pytest.mark.parametrize("name", WAYS)
async def test_it_goes_away_and_comes_back(name: str, tmp_path: Path) -> None:
    way = WAYS[name]
    async with redis_server(appendonly=True) as server:
        them = {
            on_error: Proxy(
                settings_of(server, on_error=on_error),
                tmp_path / on_error,
                lease_seconds=LEASE_SECONDS,
                account=account,
            )
            for on_error, account in ACCOUNTS.items()
        }
        async with proxies(*them.values()):
            running = {}
            for on_error, proxy in them.items():
                await proxy.up()
                await proxy.spend(100)
                running[on_error] = await proxy.lease(Want(20, 20))
            await way.go(server)
            for on_error, proxy in them.items():
                begun = trio.current_time()
                await ask_without(proxy, on_error)
                assert trio.current_time() - begun < TIMEOUT + SLACK
                begun = trio.current_time()
                await ask_without(proxy, on_error)
                await proxy.end(running[on_error], 30)
                assert trio.current_time() - begun < SLACK, "nobody tries again"
                assert proxy.has_said(way.says), proxy.said
            await way.come(server)
            for on_error, proxy in them.items():
                await proxy.up(2)
                spent = 130 if on_error == "closed" else 230
                await until_counted(server, proxy.account, all=(spent, 0))
                await proxy.spend(1)
                assert (await counted(server, proxy.account))["all"] == (spent + 1, 0)
                assert proxy.told == [False, True]
                assert proxy.has_said("until it is back") == 1
                assert proxy.has_said("counted in Redis") == 2


async def test_a_script_that_was_forgotten_is_sent_again(tmp_path: Path) -> None:
    async with redis_server() as server:
        proxy = Proxy(settings_of(server), tmp_path / "usage")
        async with proxies(proxy):
            await proxy.up()
            await proxy.spend(10)
            await server.do("SCRIPT", "FLUSH")
            await proxy.spend(10)
            assert await counted(server) == {"running": (0, 0), "all": (20, 0)}
            assert proxy.told == []


async def test_a_user_with_the_rights_that_the_docs_name_is_enough(tmp_path: Path) -> None:
    text = resources.files("tokenomics").joinpath("docs", "configuration.md").read_text()
    (rights,) = [line.split() for line in text.splitlines() if "~tokenomics:*" in line]
    word = "open" + "sesame"
    async with redis_server() as server:
        await server.do("ACL", "SETUSER", "limits", "on", f">{word}", *rights)
        settings = settings_of(server, username="limits", password=Secret(word))
        proxy = Proxy(settings, tmp_path / "usage", lease_seconds=0.3)
        rate = Limit("rate", "rate", TOKENS, 500, 0.05)
        async with proxies(proxy):
            await proxy.up()
            lease = await proxy.lease(Want(10, 10), Limits(4, [rate]))
            await proxy.spend(10)
            await until_renewed(server)
            await proxy.spend(10, Limits(4, [rate]))
            await proxy.end(lease, 15)
            assert proxy.told == []


async def until_renewed(server: RedisServer) -> None:
    """Wait until the lease that runs is to expire later."""
    lua = "local e = redis.call('ZRANGE', KEYS[1], 0, 0, 'WITHSCORES') return e[2]"
    ask = ("EVAL", lua, "1", f"tokenomics:{{{A}}}:expiry")
    before = float(await server.do(*ask))
    with trio.fail_after(PATIENCE):
        while float(await server.do(*ask)) <= before:  # noqa: ASYNC110  Redis has no Event
            await trio.sleep(0.005)


# At the start


@pytest.mark.parametrize("on_error", ["local", "closed", "open"])
async def test_a_wrong_password_is_said_at_the_start(on_error: str, tmp_path: Path) -> None:
    async with redis_server(password="right") as server:
        settings = settings_of(server, on_error=on_error, password=Secret("wrong"))
        proxy = Proxy(settings, tmp_path / "usage")
        async with proxies(proxy):
            await ask_without(proxy, on_error)
            assert proxy.told == [False]
            assert proxy.has_said("WRONGPASS") == 1
            assert "wrong," not in "".join(proxy.said)


async def test_at_the_start_a_server_that_says_nothing_is_waited_for_once(tmp_path: Path) -> None:
    async with redis_server() as server:
        server.pause()
        proxy = Proxy(settings_of(server), tmp_path / "usage")
        async with proxies(proxy):
            begun = trio.current_time()
            async with trio.open_nursery() as nursery:
                for _ in range(10):
                    nursery.start_soon(proxy.spend, 5)
            assert trio.current_time() - begun < TIMEOUT + SLACK
            begun = trio.current_time()
            await proxy.spend(5)
            assert trio.current_time() - begun < SLACK
            server.resume()
            await proxy.up()
            await until_counted(server, all=(55, 0))


# A database that was emptied


@asynccontextmanager
async def two(folder: Path) -> AsyncIterator[tuple[RedisServer, Proxy, Proxy]]:
    async with redis_server() as server:
        one, other = (
            Proxy(settings_of(server), folder / f"usage{number}", lease_seconds=LEASE_SECONDS)
            for number in range(2)
        )
        async with proxies(one, other):
            await one.up()
            await other.up()
            yield server, one, other


async def test_two_proxies_restore_what_both_remember_and_what_each_spent_alone(
    tmp_path: Path,
) -> None:
    async with two(tmp_path) as (server, one, other):
        await one.spend(100)
        await other.spend(20)  # so that it remembers 120
        server.kill()
        await one.away()
        await other.away()
        await one.spend(10)
        await other.spend(1)
        await server.start()
        await one.up(2)
        await other.up(2)
        await until_counted(server, all=(131, 0))


async def test_what_was_spent_before_another_proxy_restores_is_kept(tmp_path: Path) -> None:
    async with two(tmp_path) as (server, one, other):
        await one.spend(100)
        await other.spend(20)
        other.running.cancel()
        await server.restart()
        await one.up(2)
        await one.spend(7)
        assert (await counted(server))["all"] == (107, 0)
        other.running = trio.CancelScope()
        async with proxies(other):
            await other.up(2)
            await until_counted(server, all=(127, 0))


async def test_a_database_that_is_emptied_under_a_connection_is_restored(tmp_path: Path) -> None:
    async with two(tmp_path) as (server, one, other):
        await one.spend(100)
        lease = await one.lease(Want(20, 20))
        await server.do("FLUSHALL")
        await until_counted(server, all=(100, 0))
        assert await server.ask("GET", EPOCH) != "$-1"
        await one.end(lease, 30)
        await other.spend(1)
        await until_counted(server, all=(131, 0))
        assert one.told == other.told == []


async def test_what_a_proxy_remembers_outlives_it_with_the_name_of_its_database(
    tmp_path: Path,
) -> None:
    async with redis_server() as server:
        settings = settings_of(server)
        for spent in (100, 200):
            proxy = Proxy(settings, tmp_path / "usage")
            with proxy.share.open():
                async with proxies(proxy):
                    await proxy.up()
                    await proxy.spend(100)
                    assert (await counted(server))["all"] == (spent, 0), "nothing was restored"
        await server.restart()
        proxy = Proxy(settings, tmp_path / "usage")
        with proxy.share.open():
            async with proxies(proxy):
                await proxy.up()
                assert (await counted(server))["all"] == (200, 0)


# Each proxy's share


async def test_a_proxy_alone_enforces_its_share_of_what_was_left(tmp_path: Path) -> None:
    async with two(tmp_path) as (server, one, other):
        await until(lambda: one.share.proxies == 2, "two proxies")
        limits = Limits(4, [Limit("all", "all", TOKENS, 1000, warn_at=(0.1,))])
        await other.spend(200, limits)
        await one.spend(0, limits)  # so that it hears of them
        server.kill()
        await one.away()
        assert (await one.denied(Want(401, 0), limits)).limit == 600
        leases = [await one.lease(Want(200, 0), limits) for _ in range(2)]
        assert (await one.denied(Want(0, 0), limits)).code == "too_many_parallel"
        for lease in leases:
            assert await one.usage.settle(A, lease, Bill(200)) == [], "no part is warned of"
        assert (await one.denied(Want(1, 0), limits)).code == "insufficient_quota"
        await server.start()
        await one.up(2)
        await until_counted(server, all=(600, 0))
        assert (await one.lease(Want(300, 0))).id, "the other has spent nothing"
