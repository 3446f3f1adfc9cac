"""What one request takes, and why it is denied: tables. `test_limits_machine` has the whole."""

from __future__ import annotations

import pytest

from tests.policy.limit_cases import (
    BUDGET,
    HOUR,
    MONEY,
    TOTAL,
    admitted,
    ask,
    counted,
    denied,
    fall_back,
    held,
    one_rule,
    spent,
    total,
)
from tokenomics.policy.counts import Account
from tokenomics.policy.limits import (
    DEFAULT_OUTPUT,
    LEAST_OUTPUT,
    Bill,
    Crossing,
    Lease,
    Want,
    extend,
    settle,
)
from tokenomics.policy.meters import TOKENS, Limit, Limits

# Budgets and leases


@pytest.mark.parametrize(
    ("want", "output", "cap"),
    [
        (Want(100, 200), 200, None),
        (Want(100, 900), 900, None),
        (Want(100, 901), 900, 900),
        (Want(100, None), 900, 900),
        (Want(1000, 0), 0, None),
        (Want(984, None), 16, 16),
        (Want(100, 901, step=50), 50, 900),
        (Want(100, 40, step=50), 40, None),
        (Want(100, 200, enough=50), 200, None),
        (Want(100, 200, input_cost=100, output_cost=3), 200, None),
        (Want(100, 200, input_cost=100, output_cost=5), 180, 180),
        (Want(100, 200, input_cost=1000, output_cost=0), 200, None),
    ],
    ids=str,
)
def test_what_is_held_and_what_the_provider_may_make(
    want: Want, output: int, cap: int | None
) -> None:
    account = Account()
    lease = admitted(ask(account, Limits(each=[TOTAL, MONEY]), want, 0.0))
    assert (lease.output, lease.cap, lease.bounded) == (output, cap, True)
    cost = want.input_cost + want.output_cost * output
    by_limit = {TOTAL.key: want.input + output, MONEY.key: cost}
    assert held(account) == {key: amount for key, amount in by_limit.items() if amount}


@pytest.mark.parametrize(
    ("want", "name"),
    [
        (Want(985, None), "total"),
        (Want(985, 16), "total"),
        (Want(1001, 0), "total"),
        (Want(1, 0, input_cost=1001), "total cost"),
        (Want(1, 16, input_cost=985, output_cost=1), "total cost"),
        (Want(1, None, output_cost=63), "total cost"),
    ],
    ids=str,
)
def test_what_does_not_fit_a_budget_is_denied_without_a_time(want: Want, name: str) -> None:
    got = denied(ask(Account(), Limits(each=[TOTAL, MONEY]), want, 0.0))
    assert (got.code, got.limit, got.used) == ("insufficient_quota", 1000, 0)
    assert (got.retry_after, got.resets_at) == (None, None)
    assert f"budget {name!r}" in got.message


def test_a_budget_per_period_says_when_it_begins_anew() -> None:
    account, limits = Account(), Limits(each=[HOUR])
    settle(account, admitted(ask(account, limits, Want(40, 60), 7300.0)), Bill(100), 7300.0)
    got = denied(ask(account, limits, Want(1, 0), 10799.0))
    assert (got.code, got.resets_at) == ("insufficient_quota", 10800.0)
    admitted(ask(account, limits, Want(1, 0), 10800.0))


def test_a_request_that_outlasts_a_period_counts_where_it_began() -> None:
    account, limits = Account(), Limits(each=[HOUR])
    lease = admitted(ask(account, limits, Want(10, 80, step=20), 3599.0))
    assert admitted(ask(account, limits, Want(40, 60), 3600.0)).cap is None
    assert extend(account, lease, 100, 3601.0) == 70
    assert held(account) == {"hour/UTC/tokens@0": 100, "hour/UTC/tokens@3600": 100}
    settle(account, lease, Bill(95), 3602.0)
    assert sorted(spent(account).values()) == [95]


def test_without_budgets_and_token_windows_nothing_bounds_the_output() -> None:
    lease = admitted(ask(Account(), one_rule(requests=1), Want(5, None), 0.0))
    assert (lease.cap, lease.bounded) == (None, False)


# Streams


def test_a_stream_holds_more_as_it_flows_and_no_more_than_there_is() -> None:
    account = Account()
    lease = admitted(ask(account, BUDGET, Want(100, None, step=300), 0.0))
    assert (lease.output, lease.cap) == (300, 900)
    assert [extend(account, lease, 400, 0.0) for _ in range(3)] == [400, 200, 0]
    assert (lease.output, held(account)) == (900, {TOTAL.key: 1000})
    settle(account, lease, Bill(700), 0.0)
    assert (held(account), spent(account)) == ({}, {TOTAL.key: 700})


def test_a_stream_begins_with_what_others_leave() -> None:
    account = Account()
    running = admitted(ask(account, BUDGET, Want(100, 800), 0.0))
    stream = admitted(ask(account, BUDGET, Want(50, None, step=300), 0.0))
    assert (stream.output, stream.cap) == (50, 50)
    settle(account, running, Bill(10), 0.0)
    assert extend(account, stream, 10**6, 0.0) == 890


def test_a_stream_needs_the_least_output() -> None:
    account = Account()
    admitted(ask(account, BUDGET, Want(100, 800), 0.0))
    got = denied(ask(account, BUDGET, Want(85, None, step=300), 0.0))
    assert (got.code, got.retry_after) == ("rate_limit_exceeded", 1.0)
    assert admitted(ask(account, BUDGET, Want(84, None, step=300), 0.0)).output == LEAST_OUTPUT


def test_a_stream_is_bounded_by_the_tightest_limit_and_each_counts_its_part() -> None:
    account = Account()
    limits = Limits(each=[*one_rule(requests=5, tokens=500).each, TOTAL, MONEY])
    want = Want(10, None, step=20, input_cost=100, output_cost=7)
    lease = admitted(ask(account, limits, want, 0.0))
    assert lease.cap == (1000 - 100) // 7 == 128
    assert extend(account, lease, 1000, 5.0) == 108
    assert held(account) == {TOTAL.key: 138, MONEY.key: 996}
    assert [counted(account, limit).total for limit in limits.each[:2]] == [1, 138]


def test_a_bill_is_counted_in_a_window_where_it_was_held() -> None:
    account, rate = Account(), one_rule(tokens=100)
    lease = admitted(ask(account, rate, Want(10, 80, step=20), 0.0))
    assert extend(account, lease, 50, 6.0) == 50
    settle(account, lease, Bill(50), 7.0)  # 30 of it at 0, 20 at 6
    assert admitted(ask(account, rate, Want(60, None), 10.0)).cap == 20


def test_who_cannot_extend_is_content_with_enough() -> None:
    account = Account()
    admitted(ask(account, BUDGET, Want(100, 800), 0.0))
    assert denied(ask(account, BUDGET, Want(10, 200), 0.0)).retry_after == 1.0
    denied(ask(account, BUDGET, Want(10, 200, enough=91), 0.0))
    lease = admitted(ask(account, BUDGET, Want(10, 200, enough=90), 0.0))
    assert (lease.output, lease.cap) == (90, 90)


# What is settled bounds the answer, what is held has to be waited for


def with_some_held(limits: Limits) -> tuple[Account, Lease]:
    """An account of 1000 tokens, 500 of them settled and 300 held by a running request."""
    account = Account()
    settle(account, admitted(ask(account, limits, Want(1, 1), 0.0)), Bill(500), 0.0)
    return account, admitted(ask(account, limits, Want(100, 200), 0.0))


@pytest.mark.parametrize(
    ("limits", "code", "retry_after"),
    [
        (BUDGET, "insufficient_quota", None),
        (one_rule(tokens=1000), "rate_limit_exceeded", 9.0),
    ],
    ids=["budget", "window"],
)
def test_what_running_requests_hold_neither_lowers_the_cap_nor_counts_as_spent(
    limits: Limits, code: str, retry_after: float | None
) -> None:
    account, running = with_some_held(limits)
    for want in (Want(100, None), Want(100, 101), Want(201, 0), Want(484, None)):
        busy = denied(ask(account, limits, want, 1.0))
        assert (busy.code, busy.retry_after) == ("rate_limit_exceeded", 1.0)
        assert (busy.limit, busy.used, busy.input) == (1000, 800, want.input)
        assert "running requests" in busy.message
    for want in (Want(485, None), Want(501, 0)):  # does not fit beside what is settled
        over = denied(ask(account, limits, want, 1.0))
        assert (over.code, over.retry_after) == (code, retry_after)
    fits = admitted(ask(account, limits, Want(100, 100), 1.0))
    assert fits.cap is None
    for lease in (running, fits):
        settle(account, lease, Bill(), 1.0)
    assert admitted(ask(account, limits, Want(100, None), 1.0)).cap == 400


@pytest.mark.parametrize("want", [Want(101, 0), Want(90, None), Want(1, None, 7)], ids=str)
def test_what_is_larger_than_a_whole_window_is_told_that_waiting_does_not_help(want: Want) -> None:
    got = denied(ask(Account(), one_rule(tokens=100), want, 0.0))
    assert (got.code, got.retry_after) == ("rate_limit_exceeded", None)
    assert "larger than the whole window" in got.message


@pytest.mark.parametrize(
    ("want", "output"),
    [(Want(10, None, 3), 3 * DEFAULT_OUTPUT), (Want(10, 90, 3), 90), (Want(10, None), 16384)],
    ids=str,
)
def test_who_names_no_cap_is_held_one_for_each_choice(want: Want, output: int) -> None:
    assert admitted(ask(Account(), total(10**6), want, 0.0)).output == output


def test_each_choice_needs_the_least_output() -> None:
    limits = total(100 + 3 * LEAST_OUTPUT)
    assert admitted(ask(Account(), limits, Want(100, None, 3), 0.0)).cap == 48
    refused = denied(ask(Account(), limits, Want(101, None, 3), 0.0))
    assert refused.code == "insufficient_quota"
    assert admitted(ask(Account(), limits, Want(101, 3, 3), 0.0)).cap is None


def test_one_budget_without_room_takes_nothing_of_the_others() -> None:
    account = Account()
    each = (*one_rule(requests=1, tokens=1000).each, TOTAL, *total(10, "tight").each)
    denied(ask(account, Limits(each=each), Want(50, 20), 0.0))
    assert (held(account), account.parallel) == ({}, 0)
    assert all(window.total == 0 for window in account.windows.values())


def test_parallel_is_exact_and_says_how_many_run() -> None:
    account, limits = Account(), Limits(2)
    first = admitted(ask(account, limits, Want(0, 0), 0.0))
    admitted(ask(account, limits, Want(0, 0), 0.0))
    got = denied(ask(account, limits, Want(0, 0), 0.0))
    assert (got.code, got.limit, got.used, got.retry_after) == ("too_many_parallel", 2, 2, 1.0)
    settle(account, first, Bill(), 0.0)
    admitted(ask(account, limits, Want(0, 0), 0.0))


# Settling and moving


def test_a_lease_is_settled_once() -> None:
    account = Account()
    lease = admitted(ask(account, BUDGET, Want(1, 1), 0.0))
    settle(account, lease, Bill(2), 0.0)
    with pytest.raises(RuntimeError, match="twice"):
        settle(account, lease, Bill(2), 0.0)
    assert spent(account) == {TOTAL.key: 2}
    assert account.parallel == 0


def test_a_bill_counts_tokens_and_cost_apart() -> None:
    account = Account()
    want = Want(10, 20, input_cost=10, output_cost=2)
    lease = admitted(ask(account, Limits(each=[TOTAL, MONEY]), want, 0.0))
    assert settle(account, lease, Bill(25, 77), 0.0) == []
    assert spent(account) == {TOTAL.key: 25, MONEY.key: 77}


def test_a_budget_warns_once_at_each_part_and_of_the_last_only() -> None:
    limit = Limit("total", "total", TOKENS, 100, warn_at=(0.5, 0.8, 1.0))
    account, told = Account(), []
    for bill in (49, 1, 1, 60):
        lease = admitted(ask(account, Limits(each=[limit]), Want(0, 0), 0.0))
        told.append(settle(account, lease, Bill(bill), 0.0))
    assert told == [[], [Crossing(limit, 0.5, 50)], [], [Crossing(limit, 1.0, 111)]]


def test_moving_a_lease_frees_what_it_leaves() -> None:
    account = Account()
    lease = admitted(ask(account, total(100, "a"), Want(60, 20), 0.0))
    assert fall_back(account, lease, total(100, "b"), Want(60, 30)) is None
    assert (held(account), lease.output) == ({"b/tokens": 90}, 30)
    settle(account, lease, Bill(7), 0.0)
    assert (spent(account), held(account)) == ({"b/tokens": 7}, {})


def test_a_lease_may_move_to_what_it_holds_itself() -> None:
    account = Account()
    lease = admitted(ask(account, BUDGET, Want(100, 900), 0.0))
    assert fall_back(account, lease, BUDGET, Want(50, 950)) is None
    assert held(account) == {TOTAL.key: 1000}


def test_a_moved_lease_is_one_request_still() -> None:
    account, limits = Account(), Limits(1, one_rule(requests=1, tokens=100).each)
    lease = admitted(ask(account, limits, Want(10, 10), 0.0))
    assert fall_back(account, lease, limits, Want(20, 20), 1.0) is None
    assert [counted(account, limit).total for limit in limits.each] == [1, 40]
    assert account.parallel == 1
    settle(account, lease, Bill(15), 2.0)
    assert [counted(account, limit).total for limit in limits.each] == [1, 15]
    assert account.parallel == 0


def test_after_a_move_that_does_not_fit_a_lease_holds_nothing_and_is_settled_once() -> None:
    account = Account()
    a, b = total(100, "a"), total(100, "b")
    settle(account, admitted(ask(account, b, Want(30, 0), 0.0)), Bill(30), 0.0)
    lease = admitted(ask(account, a, Want(60, 20), 0.0))
    both = Limits(each=[*a.each, *b.each])
    assert denied(fall_back(account, lease, both, Want(60, 20))).code == "insufficient_quota"
    assert (held(account), account.parallel) == ({}, 1)
    settle(account, lease, Bill(7), 0.0)
    assert spent(account) == {"a/tokens": 7, "b/tokens": 30}
    assert (held(account), account.parallel) == ({}, 0)
    with pytest.raises(RuntimeError, match="twice"):
        settle(account, lease, Bill(7), 0.0)


def test_a_lease_that_could_not_move_may_move_elsewhere() -> None:
    account = Account()
    lease = admitted(ask(account, total(100, "a"), Want(60, 20), 0.0))
    denied(fall_back(account, lease, total(10, "b"), Want(60, 20)))
    assert fall_back(account, lease, total(100, "c"), Want(60, 20)) is None
    settle(account, lease, Bill(70), 0.0)
    assert (spent(account), held(account)) == ({"c/tokens": 70}, {})
