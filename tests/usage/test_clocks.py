"""Clocks that jump: windows go by the steady one, periods by the wall's."""

from __future__ import annotations

import pytest

from tests.usage.homes import A, Home, SetClock, spend, spent
from tokenomics.policy.limits import Bill, Denied, Lease, Want
from tokenomics.policy.meters import REQUESTS, TOKENS, Limit, Limits
from tokenomics.usage.process import ProcessUsage

HOUR = 3600.0
NOON = 12 * HOUR
RATE = Limits(each=[Limit("rate", "requests/60/sliding", REQUESTS, 2, 60.0)])
HOURLY = Limits(each=[Limit("hour", "hour", TOKENS, 100, period="hour")])
BOTH = Limits(each=[*RATE.each, *HOURLY.each])


async def denied(usage: ProcessUsage, limits: Limits, tokens: int = 1) -> Denied:
    got = await usage.admit(A, limits, Want(tokens, 0))
    assert isinstance(got, Denied)
    return got


@pytest.mark.parametrize("jump", [-HOUR, HOUR, 400 * 24 * HOUR])
async def test_a_wall_that_jumps_while_serving_moves_no_window(home: Home, jump: float) -> None:
    clock = SetClock(NOON)
    usage = home.usage(clock)
    with usage.open():
        await spend(usage, A, 0, RATE)
        await spend(usage, A, 0, RATE)
        clock.wall_now += jump
        clock.steady_now += 59.0
        assert (await denied(usage, RATE)).retry_after == 1.0
        clock.steady_now += 1.0
        await spend(usage, A, 0, RATE)


async def test_a_wall_that_jumps_an_hour_ahead_begins_a_period_and_one_back_finds_the_old(
    home: Home,
) -> None:
    clock = SetClock(NOON + 60)
    usage = home.usage(clock)
    with usage.open():
        await spend(usage, A, 100, HOURLY)
        assert (await denied(usage, HOURLY)).resets_at == NOON + HOUR
        clock.wall_now += HOUR
        await spend(usage, A, 30, HOURLY)
        clock.wall_now -= HOUR
        assert (await denied(usage, HOURLY)).used == 100
    assert [row[0] for row in home.rows()[-1][1]["budgets"].values()] == [100, 30]


async def test_a_request_over_a_jump_is_settled_where_it_was_counted(home: Home) -> None:
    clock = SetClock(NOON + 60)
    usage = home.usage(clock)
    with usage.open():
        lease = await usage.admit(A, BOTH, Want(40, 60))
        assert isinstance(lease, Lease)
        clock.wall_now -= HOUR
        await spend(usage, A, 10, BOTH)
        await usage.settle(A, lease, Bill(70))
        assert spent(usage, A) == {f"hour@{NOON:.0f}": 70, f"hour@{NOON - HOUR:.0f}": 10}
        assert usage.account(A).dump()["held"] == {}


async def test_between_two_runs_a_window_from_the_future_counts_from_now(home: Home) -> None:
    usage = home.usage(SetClock(NOON + HOUR))
    with usage.open():
        await spend(usage, A, 0, RATE)
        await spend(usage, A, 0, RATE)
    clock = SetClock(NOON)
    usage = home.usage(clock)
    with usage.open():
        assert (await denied(usage, RATE)).retry_after == 60.0
        clock.steady_now += 60.0
        await spend(usage, A, 0, RATE)


async def test_between_two_runs_a_budget_is_that_of_the_walls_period(home: Home) -> None:
    """One of an hour to come is kept until then."""
    usage = home.usage(SetClock(NOON + HOUR))
    with usage.open():
        await spend(usage, A, 100, HOURLY)
    clock = SetClock(NOON)
    usage = home.usage(clock)
    with usage.open():
        await spend(usage, A, 30, HOURLY)
        clock.steady_now = clock.wall_now = NOON + HOUR
        assert (await denied(usage, HOURLY)).used == 100


async def test_budgets_of_ended_periods_survive_until_the_next_begins(home: Home) -> None:
    usage = home.usage(SetClock(NOON))
    with usage.open():
        await spend(usage, A, 100, HOURLY)
    clock = SetClock(NOON + 5 * HOUR)
    for tokens in (10, 20):
        usage = home.usage(clock)
        with usage.open():
            assert f"hour@{NOON:.0f}" in spent(usage, A) or tokens == 20
            await spend(usage, A, tokens, HOURLY)
    assert home.rows()[-1][1]["budgets"] == {"hour@61200": [30, NOON + 6 * HOUR]}


async def test_a_move_that_does_not_fit_leaves_a_lease_that_holds_nothing(home: Home) -> None:
    usage = home.usage()
    with usage.open():
        lease = await usage.admit(A, HOURLY, Want(40, 60))
        assert isinstance(lease, Lease)
        assert isinstance(await usage.move(A, lease, HOURLY, Want(101, 0)), Denied)
        assert usage.account(A).dump()["held"] == {}
        await usage.settle(A, lease, Bill(7))
        with pytest.raises(RuntimeError, match="twice"):
            await usage.settle(A, lease, Bill(7))
        assert list(spent(usage, A).values()) == [7]
