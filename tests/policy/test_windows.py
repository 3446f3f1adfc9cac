"""Rate windows: what they hold, when they are free again, what they count."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.policy.limit_cases import (
    admitted,
    ask,
    counted,
    denied,
    fall_back,
    most_within,
    one_rule,
)
from tokenomics.policy.counts import Account
from tokenomics.policy.limits import (
    Bill,
    Denied,
    Lease,
    Want,
    settle,
)

# Windows


@settings(max_examples=50, deadline=None)
@given(
    gaps=st.lists(st.sampled_from([0, 1, 3, 9, 500, 9_990]), min_size=20, max_size=120),
    limit=st.integers(1, 8),
)
def test_sliding_window_never_holds_more_whatever_the_steps(gaps: list[int], limit: int) -> None:
    # Milliseconds: many gaps are shorter than the 10 ms in which the window keeps its history.
    account, times = Account(), []
    for now in itertools.accumulate(gaps):
        got = ask(account, one_rule(requests=limit), Want(0, 0), now / 1000)
        if isinstance(got, Lease):
            times.append(now)
    assert most_within(times, 10_000) <= limit


@settings(max_examples=100, deadline=None)
@given(
    quarters=st.lists(st.integers(0, 20), min_size=3, max_size=20),
    limit=st.integers(1, 3),
    fixed=st.booleans(),
)
def test_who_waits_as_told_is_admitted(quarters: list[int], limit: int, fixed: bool) -> None:
    account, rate, now = Account(), one_rule(requests=limit, fixed=fixed), 0.0
    for gap in quarters:
        now += gap / 4
        got = ask(account, rate, Want(0, 0), now)
        if isinstance(got, Denied):
            assert got.retry_after is not None
            assert 0 < got.retry_after <= 10
            early = now + got.retry_after - 0.125
            denied(ask(account, rate, Want(0, 0), early))
            admitted(ask(account, rate, Want(0, 0), now + got.retry_after))
            return


@pytest.mark.parametrize(("fixed", "at"), [(False, 14.0), (True, 10.0)], ids=["sliding", "fixed"])
def test_a_window_is_free_again_exactly_when_it_ends(fixed: bool, at: float) -> None:
    account, rate = Account(), one_rule(requests=1, fixed=fixed)
    admitted(ask(account, rate, Want(0, 0), 4.0))
    denied(ask(account, rate, Want(0, 0), at - 0.25))
    admitted(ask(account, rate, Want(0, 0), at))


@pytest.mark.parametrize("fixed", [False, True], ids=["sliding", "fixed"])
def test_a_clock_that_steps_back_frees_nothing(fixed: bool) -> None:
    account, rate = Account(), one_rule(requests=2, fixed=fixed)
    admitted(ask(account, rate, Want(0, 0), 100.0))
    admitted(ask(account, rate, Want(0, 0), 50.0))
    for now in (50.0, 100.0, 105.0):
        denied(ask(account, rate, Want(0, 0), now))


def test_a_fixed_window_holds_its_first_instant() -> None:
    account, rate = Account(), one_rule(requests=1, fixed=True)
    admitted(ask(account, rate, Want(0, 0), 10.0))
    denied(ask(account, rate, Want(0, 0), 10.0))
    denied(ask(account, rate, Want(0, 0), 19.75))


def test_settling_gives_back_what_was_not_used() -> None:
    account, rate = Account(), one_rule(tokens=100)
    lease = admitted(ask(account, rate, Want(40, 60), 0.0))
    denied(ask(account, rate, Want(1, 0), 1.0))
    settle(account, lease, Bill(10), 0.0)
    assert admitted(ask(account, rate, Want(40, 60), 1.0)).cap == 50


def test_settling_late_leaves_the_next_window_alone() -> None:
    account, rate = Account(), one_rule(tokens=100)
    old = admitted(ask(account, rate, Want(100, 0), 0.0))
    admitted(ask(account, rate, Want(60, 0), 20.0))
    settle(account, old, Bill(0), 0.0)
    denied(ask(account, rate, Want(60, 0), 21.0))


def test_a_changed_limit_holds_at_once_for_what_was_counted() -> None:
    account = Account()
    for _ in range(3):
        admitted(ask(account, one_rule(requests=5), Want(0, 0), 0.0))
    refused = denied(ask(account, one_rule(requests=2), Want(0, 0), 1.0))
    assert (refused.limit, refused.used) == (2, 3)


@pytest.mark.parametrize("fixed", [False, True], ids=["sliding", "fixed"])
def test_a_bill_for_what_is_not_held_revives_no_window(fixed: bool) -> None:
    """What left the window stays outside when a lease that could not move is settled later."""
    account, rate = Account(), one_rule(tokens=100, fixed=fixed)
    lease = admitted(ask(account, rate, Want(10, 10), 1.0))
    settle(account, admitted(ask(account, rate, Want(60, 0), 1.0)), Bill(60), 1.0)
    denied(fall_back(account, lease, rate, Want(101, 0), 1.0))
    settle(account, lease, Bill(5), 25.0)
    history = counted(account, rate.each[0])
    history.expire(25.0)
    assert history.total == 5
