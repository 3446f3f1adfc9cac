"""Counting in a real Redis: the law that one process keeps, over several, whatever happens."""

from __future__ import annotations

import copy
import os
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import trio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.policy.limit_sizes import BILLS, SIZES, WANTS, policy_of
from tests.store.stores import hash_of
from tests.support.http import until
from tests.support.redis import RedisServer, lasting_redis, needs_redis, redis_server
from tests.usage.redis_homes import A, Counting, counting, settings_of, three
from tokenomics.errors import Refusal
from tokenomics.policy import limits as law
from tokenomics.policy.counts import Account
from tokenomics.policy.limits import Bill, Denied, Lease, Want
from tokenomics.policy.meters import REQUESTS, TOKENS, Limit, Limits, limits_of
from tokenomics.policy.model import Policy
from tokenomics.usage.redis_calls import look_at

pytestmark = needs_redis

TOTAL = Limits(0, [Limit("total", "total", TOKENS, 1000)])
RATE = Limits(0, [Limit("rate", "requests/60/sliding", REQUESTS, 60, 60.0)])
FIVE = Limits(5)


async def stands(server: RedisServer, limits: Limits, account: str = A) -> tuple[int, int, int]:
    """(requests that run, what the first limit counts, what of it is held) in Redis."""
    (look,) = await look_at(settings_of(server), [(account, limits.due(time.time()))])
    return look.running, *look.counted[0]


# The same law


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    """One server for all examples, each of which has an account of its own."""
    with lasting_redis() as lasting:
        yield lasting


STEP = st.one_of(
    st.tuples(st.just("admit"), st.integers(0, 2), WANTS),
    st.tuples(st.just("trial"), st.integers(0, 2), WANTS),
    st.tuples(st.just("extend"), st.integers(0, 2), st.integers(0, 40)),
    st.tuples(st.just("settle"), st.integers(0, 2), BILLS),
    st.tuples(st.just("move"), st.integers(0, 2), WANTS),
)


def unhurried(policy: Policy) -> Policy:
    """The same with windows that outlast any example."""
    rules = [replace(rule, window=rule.window * 1e7) for rule in policy.rate_limit.rules]
    return replace(policy, rate_limit=replace(policy.rate_limit, rules=tuple(rules)))


def told(answer: Any) -> Any:
    """What an answer says, but for waits, which are by two clocks."""
    if isinstance(answer, Denied):
        return answer.code, answer.unit, answer.limit, answer.used, answer.resets_at
    if isinstance(answer, Lease):
        totals = sorted((due.key, total) for due, total in answer.standing)
        return answer.output, answer.cap, answer.bounded, totals
    return answer


async def lead_both(
    folder: Path, server: RedisServer, policy: Policy, steps: list[Any], name: str
) -> None:
    account = Account()
    each = [limits_of(policy, entry) for entry in policy.entries]
    leases: list[tuple[Lease, Lease]] = []
    async with counting(settings_of(server), folder) as proxy:
        for what, number, value in steps:
            now, limits = time.time(), each[number]
            dues = limits.due(now)
            if what in ("admit", "trial"):
                step = getattr(proxy.usage, what)
                theirs = await step(name, limits, value)
                counts = copy.deepcopy(account) if what == "trial" else account
                ours = law.admit(counts, limits.parallel, dues, value, now)
                if limits and what == "admit" and isinstance(ours, Lease):
                    assert isinstance(theirs, Lease)
                    leases.append((ours, theirs))
            elif leases:
                own, other = leases.pop(number % len(leases))
                if what == "settle":
                    ours = law.settle(account, own, value, now)
                    theirs = await proxy.usage.settle(name, other, value)
                elif what == "extend":
                    ours = law.extend(account, own, value, now)
                    theirs = await proxy.usage.extend(name, other, value)
                else:
                    ours = law.move(account, own, dues, value, now)
                    theirs = await proxy.usage.move(name, other, limits, value)
                    assert ours is not None or told(own) == told(other)
                if what != "settle":
                    leases.append((own, other))
            else:
                continue
            if limits and what == "trial" and isinstance(ours, Lease):
                assert (theirs.output, theirs.cap) == (ours.output, ours.cap)
            elif limits:
                assert told(theirs) == told(ours), what
        for own, other in leases:
            law.settle(account, own, Bill(), time.time())
            await proxy.usage.settle(name, other, Bill())
    every = Limits(0, [limit for limits in each for limit in limits.each])
    dues = every.due(time.time())
    (look,) = await look_at(settings_of(server), [(name, dues)])
    ours = [(int(account.history(due, 0).total), int(account.history(due, 0).held)) for due in dues]
    assert (look.running, list(look.counted)) == (0, ours)


NUMBERS = iter(range(1000, 10**9))


@settings(
    max_examples=int(os.environ.get("TOKENOMICS_LIMITS_EXAMPLES", "60")),
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
@given(sizes=SIZES, steps=st.lists(STEP, max_size=25))
def test_redis_answers_as_one_process_does(
    server: RedisServer, tmp_path_factory: pytest.TempPathFactory, sizes: Any, steps: list[Any]
) -> None:
    folder = tmp_path_factory.getbasetemp()
    name = hash_of(next(NUMBERS))
    trio.run(lead_both, folder, server, unhurried(policy_of(sizes)), steps, name)


# Several proxies


async def test_a_rate_is_exact_over_three_proxies(tmp_path: Path) -> None:
    passed: list[Lease] = []

    async def ask(proxy: Counting) -> None:
        for _ in range(40):
            got = await proxy.usage.admit(A, RATE, Want(0, 0))
            if isinstance(got, Lease):
                passed.append(got)
            else:
                assert got.retry_after is not None
                assert 55 < got.retry_after <= 60

    async with three(tmp_path) as proxies, trio.open_nursery() as nursery:
        for proxy in proxies:
            nursery.start_soon(ask, proxy)
    assert len(passed) == 60


async def test_parallel_is_exact_over_three_proxies_and_no_place_is_lost(tmp_path: Path) -> None:
    running, most = 0, 0

    async def ask(proxy: Counting) -> None:
        nonlocal running, most
        for _ in range(30):
            got = await proxy.usage.admit(A, FIVE, Want(0, 0))
            if isinstance(got, Lease):
                running += 1
                most = max(most, running)
                await trio.lowlevel.checkpoint()
                running -= 1
                await proxy.usage.settle(A, got, Bill())

    async with three(tmp_path) as proxies:
        async with trio.open_nursery() as nursery:
            for proxy in proxies * 4:
                nursery.start_soon(ask, proxy)
        assert 0 < most <= 5
        kept = [await proxies[0].admit(FIVE, Want(0, 0)) for _ in range(5)]
        assert (await proxies[1].denied(FIVE, Want(0, 0))).code == "too_many_parallel"
        for lease in kept:
            await proxies[0].usage.settle(A, lease, Bill())


async def test_a_budget_is_spent_once_by_three_proxies(tmp_path: Path) -> None:
    spent = 0

    async def ask(proxy: Counting) -> None:
        nonlocal spent
        for _ in range(100):
            got = await proxy.usage.admit(A, TOTAL, Want(3, 4))
            if isinstance(got, Lease):
                await proxy.usage.settle(A, got, Bill(5))
                spent += 5

    async with three(tmp_path) as proxies, trio.open_nursery() as nursery:
        for proxy in proxies:
            nursery.start_soon(ask, proxy)
    assert 990 <= spent <= 1000


# Leases


async def test_what_a_dead_proxy_held_is_free_after_its_lease(tmp_path: Path) -> None:
    async with redis_server() as server:
        settings = settings_of(server)
        async with counting(settings, tmp_path, 1) as other:
            async with counting(settings, tmp_path, 0, lease=0.6) as dead:
                lost = await dead.admit(TOTAL, Want(400, 600))
            assert (await other.denied(TOTAL, Want(1, 0))).code == "rate_limit_exceeded"
            assert await stands(server, TOTAL) == (1, 1000, 1000)
            with trio.fail_after(5):
                while await stands(server, TOTAL) != (0, 0, 0):
                    await trio.lowlevel.checkpoint()
            # It was cut off only, and settles late: it is charged, once.
            for _ in range(2):
                again = replace(lost, open=True)
                await other.usage.settle(A, again, Bill(70))
            assert await stands(server, TOTAL) == (0, 70, 0)


async def test_a_long_stream_keeps_its_lease(tmp_path: Path) -> None:
    async with (
        redis_server() as server,
        counting(settings_of(server), tmp_path, lease=0.6) as proxy,
    ):
        lease = await proxy.admit(TOTAL, Want(10, 500, step=100))
        with trio.move_on_after(1.5):
            while True:
                assert await stands(server, TOTAL) == (1, 110, 110)
        assert await proxy.usage.extend(A, lease, 50) == 50
        assert await stands(server, TOTAL) == (1, 160, 160)


async def test_who_is_cancelled_while_asking_leaves_nothing_held(tmp_path: Path) -> None:
    async with redis_server() as server, counting(settings_of(server), tmp_path) as proxy:
        await proxy.spend(TOTAL, 1)
        for steps in range(12):

            async def ask() -> None:
                lease = await proxy.usage.admit(A, TOTAL, Want(1, 1))
                assert isinstance(lease, Lease)
                with trio.CancelScope(shield=True):
                    await proxy.usage.settle(A, lease, Bill(1))

            async with trio.open_nursery() as nursery:
                nursery.start_soon(ask)
                for _ in range(steps):
                    await trio.lowlevel.checkpoint()
                nursery.cancel_scope.cancel()
        running, _, held = await stands(server, TOTAL)
        assert (running, held) == (0, 0)


# Redis goes away and comes back


async def test_while_it_is_away_a_proxy_keeps_to_its_share(tmp_path: Path) -> None:
    async with redis_server(appendonly=True) as server:
        settings = settings_of(server)
        async with counting(settings, tmp_path, 0) as one, counting(settings, tmp_path, 1) as two:
            await one.spend(TOTAL, 200)
            await two.spend(TOTAL, 100)
            await one.spend(TOTAL, 0)  # hears of the other's
            await until(lambda: one.share.proxies == 2, "the other proxy")
            server.kill()
            await one.is_away()
            assert (await one.denied(TOTAL, Want(351, 0))).code == "insufficient_quota"
            lease = await one.admit(TOTAL, Want(350, 0))  # half of the 700 that were left
            assert (await one.denied(TOTAL, Want(1, 0))).code == "rate_limit_exceeded"
            await one.usage.settle(A, lease, Bill(300))
            await server.start()
            await one.is_there()
            await until(lambda: not one.usage.owes, "the settlement")
            assert await stands(server, TOTAL) == (0, 600, 0)
            assert len([line for line in one.said if line.startswith("error")]) == 1
            assert one.told == [False, True]


@pytest.mark.parametrize(("on_error", "passes"), [("closed", False), ("open", True)])
async def test_closed_refuses_and_open_admits(tmp_path: Path, on_error: str, passes: bool) -> None:
    async with (
        redis_server(appendonly=True) as server,
        counting(settings_of(server, on_error), tmp_path) as proxy,
    ):
        await proxy.spend(TOTAL, 900)
        server.kill()
        await proxy.is_away()
        if passes:
            lease = await proxy.admit(TOTAL, Want(500, 0))
            assert await proxy.usage.extend(A, lease, 99) == 99
            await proxy.usage.settle(A, lease, Bill(500))
        else:
            with pytest.raises(Refusal) as caught:
                await proxy.admit(TOTAL, Want(1, 0))
            assert caught.value.code == "limits_unavailable"
        await server.start()
        await proxy.is_there()
        await until(lambda: not proxy.usage.owes, "the settlement")
        assert await stands(server, TOTAL) == (0, 1400 if passes else 900, 0)


async def test_one_that_comes_back_empty_is_told_what_was_spent(tmp_path: Path) -> None:
    async with redis_server() as server:
        settings = settings_of(server)
        async with counting(settings, tmp_path, 0) as one, counting(settings, tmp_path, 1) as two:
            await one.spend(TOTAL, 200)
            await two.spend(TOTAL, 100)
            running = await two.admit(TOTAL, Want(50, 0))
            await server.restart(empty=True)
            await two.is_away()
            await one.is_there()
            await two.is_there()
            assert (await stands(server, TOTAL))[1] == 300
            await two.usage.settle(A, running, Bill(50))
            assert await stands(server, TOTAL) == (0, 350, 0)


async def test_a_lease_of_before_is_settled_after_it_came_back(tmp_path: Path) -> None:
    async with (
        redis_server(appendonly=True) as server,
        counting(settings_of(server), tmp_path) as proxy,
    ):
        lease = await proxy.admit(TOTAL, Want(500, 0))
        server.kill()
        await proxy.is_away()
        await proxy.usage.settle(A, lease, Bill(400))
        await server.start()
        await proxy.is_there()
        await until(lambda: not proxy.usage.owes, "the settlement")
        assert await stands(server, TOTAL) == (0, 400, 0)


async def test_one_that_stands_still_holds_up_nobody_longer_than_its_timeout(
    tmp_path: Path,
) -> None:
    async with (
        redis_server() as server,
        counting(settings_of(server, timeout=0.3), tmp_path) as proxy,
    ):
        await proxy.spend(TOTAL, 1)
        server.pause()
        begun = trio.current_time()
        await proxy.spend(TOTAL, 10)
        assert trio.current_time() - begun < 2
        begun = trio.current_time()
        for _ in range(20):
            await proxy.spend(TOTAL, 1)
        assert trio.current_time() - begun < 0.3
        server.resume()
        await proxy.is_there()
        await until(lambda: not proxy.usage.owes, "the settlement")
        assert await stands(server, TOTAL) == (0, 31, 0)


@pytest.mark.parametrize(
    ("orders", "back"),
    [
        ([("CONFIG", "SET", "maxmemory", "1")], [("CONFIG", "SET", "maxmemory", "0")]),
        ([("REPLICAOF", "127.0.0.1", "1")], [("REPLICAOF", "NO", "ONE")]),
        ([("ACL", "SETUSER", "default", "-evalsha")], [("ACL", "SETUSER", "default", "+@all")]),
    ],
    ids=["full", "read-only", "forbidden"],
)
async def test_one_that_refuses_is_as_good_as_away(
    tmp_path: Path, orders: list[tuple[str, ...]], back: list[tuple[str, ...]]
) -> None:
    async with redis_server() as server, counting(settings_of(server), tmp_path) as proxy:
        await proxy.spend(TOTAL, 100)
        for order in orders:
            await server.do(*order)
        await proxy.spend(TOTAL, 50)
        await proxy.is_away()
        assert (await proxy.denied(TOTAL, Want(851, 0))).code == "insufficient_quota"
        for order in back:
            await server.do(*order)
        await until(lambda: not proxy.usage.owes, "the settlement")
        assert await stands(server, TOTAL) == (0, 150, 0)


async def test_a_forgotten_script_is_sent_again(tmp_path: Path) -> None:
    async with redis_server() as server, counting(settings_of(server), tmp_path) as proxy:
        await proxy.spend(TOTAL, 1)
        await server.do("SCRIPT", "FLUSH")
        await proxy.spend(TOTAL, 1)
        assert await stands(server, TOTAL) == (0, 2, 0)
        assert proxy.told == []


async def test_a_wrong_password_is_said_and_nobody_waits(tmp_path: Path) -> None:
    async with (
        redis_server(password="right") as server,
        counting(settings_of(server), tmp_path) as proxy,
    ):
        await proxy.spend(TOTAL, 10)
        await proxy.is_away()
        begun = trio.current_time()
        for _ in range(20):
            await proxy.spend(TOTAL, 1)
        assert trio.current_time() - begun < 0.3
        assert "password" in proxy.said[0]
        assert "right" not in proxy.said[0]
