"""What an account counts in, what a journal keeps of it, and what it forgets."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tokenomics.policy.counts import Account, Window
from tokenomics.policy.limits import Bill, Denied, Lease, Want, admit, move, settle
from tokenomics.policy.meters import TOKENS, Limit, Limits

WINDOW = Limit("tokens in 10 s", "tokens/10/sliding", TOKENS, 100, 10.0)
TOTAL = Limit("total", "total", TOKENS, 1000)
HOUR = Limit("hour", "hour/UTC/tokens", TOKENS, 1000, period="hour")
DAY = Limit("day", "day/UTC/tokens", TOKENS, 1000, period="day")


def ask(account: Account, limits: Limits, want: Want, wall: float, now: float) -> Lease | Denied:
    return admit(account, limits.parallel, limits.due(wall), want, now)


def spend(account: Account, limits: Limits, tokens: int, wall: float, now: float) -> Lease:
    lease = ask(account, limits, Want(tokens, 0), wall, now)
    assert isinstance(lease, Lease)
    settle(account, lease, Bill(tokens), now)
    return lease


def again(account: Account, now: float) -> Account:
    """What a process that starts at `now` reads of it."""
    return Account.load(json.loads(json.dumps(account.dump())), now)


def budgets(account: Account) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = account.dump()["budgets"]
    return found


def test_a_windows_steps_tell_what_is_held_and_a_journal_keeps_the_rest() -> None:
    window = Window(10.0, fixed=False)
    ticket = window.add(30, 1.0, held=30)
    assert window.add(5, 1.001) is ticket
    assert ticket == [1.001, 35, 1.0, 30]
    account = Account(windows={"w": window})
    assert account.dump()["windows"] == {"w": [10.0, False, [[1.001, 35, 1.0]]]}
    window.settle(ticket, 30, 7)
    assert (ticket, window.total, window.held) == ([1.001, 12, 1.0, 0], 12, 0)
    window.expire(20.0)
    window.settle(ticket, 30, 7)
    assert (window.total, window.held) == (0, 0)


def test_after_a_restart_windows_keep_what_was_reserved() -> None:
    account, limits = Account(), Limits(1, [WINDOW, TOTAL])
    assert isinstance(ask(account, limits, Want(40, 60), 0.0, 0.0), Lease)
    account = again(account, 1.0)
    assert (account.dump()["held"], account.parallel) == ({}, 0)
    refused = ask(account, limits, Want(1, 0), 9.0, 9.0)
    assert isinstance(refused, Denied)
    assert (refused.used, refused.retry_after) == (100, 1.0)
    assert isinstance(ask(account, limits, Want(1, 0), 10.0, 10.0), Lease)


def test_what_was_counted_in_the_future_counts_from_now() -> None:
    account, limits = Account(), Limits(each=[WINDOW])
    spend(account, limits, 100, 5000.0, 5000.0)
    account = again(account, 1000.0)
    refused = ask(account, limits, Want(1, 0), 1004.0, 1004.0)
    assert isinstance(refused, Denied)
    assert refused.retry_after == 6.0
    assert isinstance(ask(account, limits, Want(1, 0), 1010.0, 1010.0), Lease)


def test_a_journal_keeps_budgets_of_all_periods() -> None:
    account, limits = Account(), Limits(each=[TOTAL, HOUR])
    spend(account, limits, 5, 3000.0, 3000.0)
    kept = {"total": [5, None], "hour/UTC/tokens@0": [5, 3600.0]}
    assert budgets(account) == budgets(again(account, 9000.0)) == kept


def test_a_budget_whose_period_is_over_is_forgotten_for_the_next_one() -> None:
    account, limits = Account(), Limits(each=[TOTAL, HOUR])
    for hour in range(5):
        now = 3600.0 * hour
        spend(account, limits, 5, now, now)
        account = again(account, now + 60)
    assert budgets(account) == {
        "total": [25, None],
        "hour/UTC/tokens@14400": [5, 18000.0],
    }


def test_a_budget_whose_period_is_over_is_kept_while_it_holds() -> None:
    account, limits = Account(), Limits(each=[HOUR])
    lease = ask(account, limits, Want(10, 20), 3599.0, 3599.0)
    assert isinstance(lease, Lease)
    spend(account, limits, 1, 3600.0, 3600.0)
    settle(account, lease, Bill(25), 3601.0)
    assert budgets(account)["hour/UTC/tokens@0"] == [25, 3600.0]


# The wall's clock is set while requests are counted


def test_a_wall_that_goes_ahead_and_back_loses_nothing() -> None:
    account, limits = Account(), Limits(each=[HOUR])
    spend(account, limits, 400, 1000.0, 1000.0)
    spend(account, limits, 900, 4600.0, 1001.0)
    refused = ask(account, limits, Want(601, 0), 1002.0, 1002.0)
    assert isinstance(refused, Denied)
    assert refused.used == 400


@pytest.mark.parametrize("each", [(HOUR, DAY), (DAY, HOUR)], ids=["hour-first", "day-first"])
def test_a_wall_that_is_set_back_takes_no_budget_from_under_a_request(
    each: tuple[Limit, ...],
) -> None:
    """By the steady clock the hour is over; by the wall it is not, and the request counts in it."""
    account = Account()
    spend(account, Limits(each=[HOUR]), 100, 1000.0, 1000.0)
    lease = ask(account, Limits(each=each), Want(10, 20), 1100.0, 4700.0)
    assert isinstance(lease, Lease)
    assert sorted(account.dump()["held"].values()) == [30, 30]
    settle(account, lease, Bill(25), 4701.0)
    assert budgets(account) == {
        "hour/UTC/tokens@0": [125, 3600.0],
        "day/UTC/tokens@0": [25, 86400.0],
    }


def test_a_wall_that_is_set_back_takes_no_budget_from_under_a_move() -> None:
    account = Account()
    lease = ask(account, Limits(each=[HOUR]), Want(10, 20), 1100.0, 4700.0)
    assert isinstance(lease, Lease)
    limits = Limits(each=[HOUR, DAY])
    assert move(account, lease, limits.due(1100.0), Want(10, 20), 4700.0) is None
    settle(account, lease, Bill(25), 4701.0)
    assert [row[0] for row in budgets(account).values()] == [25, 25]
