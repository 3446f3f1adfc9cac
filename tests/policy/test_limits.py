"""Budgets, windows and parallelism against a plain model that remembers everything."""

from __future__ import annotations

import itertools
import json
import math
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    multiple,
    rule,
)

from tokenomics.policy.counts import Account, Window
from tokenomics.policy.limits import (
    DEFAULT_OUTPUT,
    LEAST_OUTPUT,
    Denied,
    Lease,
    Want,
    admit,
    move,
    settle,
)
from tokenomics.policy.model import RateLimit, RateRule
from tokenomics.policy.route import Budget

NO_RATE = RateLimit()


def one_rule(requests: int = 0, tokens: int = 0, *, fixed: bool = False) -> RateLimit:
    """One rule over ten seconds."""
    return RateLimit((RateRule(requests, tokens, 10.0, "fixed" if fixed else "sliding"),))


def admitted(got: Lease | Denied) -> Lease:
    assert isinstance(got, Lease), got
    return got


def denied(got: Lease | Denied | None) -> Denied:
    assert isinstance(got, Denied), got
    return got


def most_within(times: list[float], length: float) -> int:
    """The most events that any half-open interval of `length` seconds holds."""
    return max((sum(t <= u < t + length for u in times) for t in times), default=0)


def wanted(want: Want) -> int:
    return DEFAULT_OUTPUT * want.choices if want.output is None else want.output


@dataclass(frozen=True)
class Verdict:
    """The expected error code, "" for admission; what waiting is for; and the room for output."""

    code: str
    waits_for: str
    room: float = 0


def waits_for(refused: Denied) -> str:
    if refused.retry_after is None:
        return "nothing"
    return "running requests" if "running" in refused.message else "the window"


@dataclass(eq=False)
class Entry:
    """One admitted request as the model remembers it, for ever."""

    time: float
    tokens: int
    budgets: tuple[Budget, ...]
    lease: Lease


class Limits(RuleBasedStateMachine):
    """The model keeps every request that was ever admitted and adds up from the beginning.

    The clock moves in steps far above a window's own, so that the sliding windows are exact.
    """

    leases = Bundle("leases")

    @initialize(
        budgets=st.tuples(*[st.integers(20, 300)] * 3),
        requests=st.tuples(*[st.integers(1, 6)] * 2),
        tokens=st.tuples(*[st.integers(20, 300)] * 2),
        parallel=st.integers(0, 4),
    )
    def start(
        self,
        budgets: tuple[int, int, int],
        requests: tuple[int, int],
        tokens: tuple[int, int],
        parallel: int,
    ) -> None:
        self.account = Account()
        self.now = 1000.0
        self.history: list[Entry] = []
        self.open: list[Entry] = []
        self.settled: dict[str, int] = {}
        self.budgets = [Budget(n, limit) for n, limit in zip("abc", budgets, strict=True)]
        self.rate = RateLimit(
            (
                RateRule(requests[0], tokens[0], 10.0, "sliding"),
                RateRule(requests[1], 0, 7.0, "fixed"),
                RateRule(0, tokens[1], 12.0, "fixed"),
            ),
            parallel,
        )

    # What the model says

    def counted(self, window: RateRule) -> list[Entry]:
        def holds(time: float) -> bool:
            if window.strategy == "fixed":
                return time // window.window == self.now // window.window
            return time > self.now - window.window

        return [entry for entry in self.history if holds(entry.time)]

    def used(self, budget: Budget) -> int:
        held = sum(e.tokens for e in self.open if budget in e.budgets)
        return self.settled.get(budget.name, 0) + held

    def verdict(self, budgets: tuple[Budget, ...], want: Want) -> Verdict:
        """What is settled bounds the answer; what is held has to be waited for."""
        output = wanted(want)
        least = min(LEAST_OUTPUT * want.choices, output)
        room = math.inf
        if self.rate.max_parallel and len(self.open) >= self.rate.max_parallel:
            return Verdict("too_many_parallel", "running requests")
        for window in self.rate.rules:
            entries = self.counted(window)
            if window.requests and len(entries) + 1 > window.requests:
                return Verdict("rate_limit_exceeded", "the window")
            if window.tokens:
                settled = sum(e.tokens for e in entries if e not in self.open)
                left = window.tokens - settled - want.input
                if left < least:
                    never = want.input + least > window.tokens
                    return Verdict("rate_limit_exceeded", "nothing" if never else "the window")
                room = min(room, left)
        for budget in budgets:
            left = budget.limit - self.settled.get(budget.name, 0) - want.input
            if left < least:
                return Verdict("insufficient_quota", "nothing")
            room = min(room, left)
        need = want.input + min(output, room)
        full = [w for w in self.rate.rules if w.tokens and self.total(w) + need > w.tokens]
        if full or any(self.used(budget) + need > budget.limit for budget in budgets):
            return Verdict("rate_limit_exceeded", "running requests")
        return Verdict("", "", room)

    def total(self, window: RateRule) -> int:
        return sum(entry.tokens for entry in self.counted(window))

    # What happens

    @rule(
        target=leases,
        chosen=st.sets(st.integers(0, 2)),
        want=st.builds(
            Want, st.integers(0, 60), st.none() | st.integers(0, 60), st.sampled_from([1, 1, 3])
        ),
    )
    def ask(self, chosen: set[int], want: Want) -> Any:
        budgets = tuple(self.budgets[i] for i in sorted(chosen))
        expected = self.verdict(budgets, want)
        before = self.account.dump()
        got = admit(self.account, self.rate, budgets, want, self.now)
        if isinstance(got, Denied):
            assert (got.code, waits_for(got)) == (expected.code, expected.waits_for)
            assert self.account.dump()["settled"] == before["settled"]
            return multiple()
        assert expected.code == ""
        output, room = wanted(want), expected.room
        assert got.bounded
        assert got.tokens == want.input + min(output, room)
        assert got.cap == (None if output <= room else room)
        entry = Entry(self.now, got.tokens, budgets, got)
        self.history.append(entry)
        self.open.append(entry)
        for budget in budgets:
            assert self.account.used(budget.name) <= budget.limit
        for window in self.rate.rules:
            assert not window.tokens or self.total(window) <= window.tokens
        return entry

    @rule(entry=consumes(leases), cost=st.integers(0, 130))
    def finish(self, entry: Entry, cost: int) -> None:
        if entry not in self.open:  # it died in a restart
            return
        settle(self.account, entry.lease, cost)
        self.open.remove(entry)
        entry.tokens = cost
        for budget in entry.budgets:
            self.settled[budget.name] = self.settled.get(budget.name, 0) + cost

    @rule(entry=leases, chosen=st.sets(st.integers(0, 2)))
    def fall_back(self, entry: Entry, chosen: set[int]) -> None:
        if entry not in self.open:
            return
        budgets = tuple(self.budgets[i] for i in sorted(chosen))
        own = {b.name: entry.tokens for b in entry.budgets}
        fits = all(b.limit - self.used(b) + own.get(b.name, 0) >= entry.tokens for b in budgets)
        got = move(self.account, entry.lease, budgets, Want(1, 1))
        assert (got is None) == fits
        if fits:
            entry.budgets = budgets

    @rule(quarters=st.integers(1, 60))
    def pass_time(self, quarters: int) -> None:
        self.now += quarters / 4

    @rule()
    def restart(self) -> None:
        """What was held is gone, what was counted stays."""
        self.account = Account.load(json.loads(json.dumps(self.account.dump())))
        self.open.clear()

    # What always holds

    @invariant()
    def counts_agree(self) -> None:
        assert self.account.parallel == len(self.open)
        assert {n: v for n, v in self.account.settled.items() if v} == {
            n: v for n, v in self.settled.items() if v
        }
        for budget in self.budgets:
            assert self.account.used(budget.name) == self.used(budget)
        if not any(e.tokens for e in self.open):
            assert self.account.held == {}

    @invariant()
    def windows_agree(self) -> None:
        """What a window counts and holds is what its requests do, to the token."""
        for window in self.rate.rules:
            key = f"tokens/{window.window:g}/{window.strategy}"
            counted = self.account.windows.get(key)
            if counted is not None:
                counted.expire(self.now)
                held = sum(e.tokens for e in self.counted(window) if e in self.open)
                assert (counted.total, counted.held) == (self.total(window), held)
                assert counted.total == sum(step[1] for step in counted.steps)
                assert counted.held == sum(step[3] for step in counted.steps)

    @invariant()
    def no_interval_holds_more(self) -> None:
        sliding = self.rate.rules[0]
        times = [entry.time for entry in self.history]
        assert most_within(times, sliding.window) <= sliding.requests

    def teardown(self) -> None:
        for entry in getattr(self, "open", []):
            settle(self.account, entry.lease, 0)
        if hasattr(self, "account"):
            assert self.account.held == {}
            assert self.account.parallel == 0


Limits.TestCase.settings = settings(max_examples=80, stateful_step_count=30, deadline=None)
TestLimits = Limits.TestCase


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
        got = admit(account, one_rule(requests=limit), (), Want(0, 0), now / 1000)
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
        got = admit(account, rate, (), Want(0, 0), now)
        if isinstance(got, Denied):
            assert got.retry_after is not None
            assert 0 < got.retry_after <= 10
            early = now + got.retry_after - 0.125
            denied(admit(account, rate, (), Want(0, 0), early))
            admitted(admit(account, rate, (), Want(0, 0), now + got.retry_after))
            return


@pytest.mark.parametrize(("fixed", "at"), [(False, 14.0), (True, 10.0)], ids=["sliding", "fixed"])
def test_a_window_is_free_again_exactly_when_it_ends(fixed: bool, at: float) -> None:
    account, rate = Account(), one_rule(requests=1, fixed=fixed)
    admitted(admit(account, rate, (), Want(0, 0), 4.0))
    denied(admit(account, rate, (), Want(0, 0), at - 0.25))
    admitted(admit(account, rate, (), Want(0, 0), at))


@pytest.mark.parametrize("fixed", [False, True], ids=["sliding", "fixed"])
def test_a_clock_that_steps_back_frees_nothing(fixed: bool) -> None:
    account, rate = Account(), one_rule(requests=2, fixed=fixed)
    admitted(admit(account, rate, (), Want(0, 0), 100.0))
    admitted(admit(account, rate, (), Want(0, 0), 50.0))
    for now in (50.0, 100.0, 105.0):
        denied(admit(account, rate, (), Want(0, 0), now))


def test_a_fixed_window_holds_its_first_instant() -> None:
    account, rate = Account(), one_rule(requests=1, fixed=True)
    admitted(admit(account, rate, (), Want(0, 0), 10.0))
    denied(admit(account, rate, (), Want(0, 0), 10.0))
    denied(admit(account, rate, (), Want(0, 0), 19.75))


def test_settling_gives_back_what_was_not_used() -> None:
    account, rate = Account(), one_rule(tokens=100)
    lease = admitted(admit(account, rate, (), Want(40, 60), 0.0))
    denied(admit(account, rate, (), Want(1, 0), 1.0))
    settle(account, lease, 10)
    assert admitted(admit(account, rate, (), Want(40, 60), 1.0)).cap == 50


def test_settling_late_leaves_the_next_window_alone() -> None:
    account, rate = Account(), one_rule(tokens=100)
    old = admitted(admit(account, rate, (), Want(100, 0), 0.0))
    admitted(admit(account, rate, (), Want(60, 0), 20.0))
    settle(account, old, 0)
    denied(admit(account, rate, (), Want(60, 0), 21.0))


def test_rules_of_one_shape_count_a_request_once() -> None:
    window = RateRule(3, 0, 10.0, "sliding")
    rate = RateLimit((window, RateRule(5, 0, 10.0, "sliding")))
    account = Account()
    got = [admit(account, rate, (), Want(0, 0), 0.0) for _ in range(5)]
    assert [isinstance(g, Lease) for g in got] == [True, True, True, False, False]


def test_windows_of_almost_the_same_length_are_kept_apart() -> None:
    rules = [RateRule(9, 0, seconds, "sliding") for seconds in (1209600.0, 1209601.0)]
    account = Account()
    admit(account, RateLimit(tuple(rules)), (), Want(0, 0), 0.0)
    assert sorted(w.length for w in account.windows.values()) == [1209600.0, 1209601.0]


def test_a_changed_limit_holds_at_once_for_what_was_counted() -> None:
    account = Account()
    for _ in range(3):
        admitted(admit(account, one_rule(requests=5), (), Want(0, 0), 0.0))
    refused = denied(admit(account, one_rule(requests=2), (), Want(0, 0), 1.0))
    assert (refused.limit, refused.used) == (2, 3)


# Budgets and leases

BUDGET = (Budget("total", 1000),)


@pytest.mark.parametrize(
    ("want", "held", "cap"),
    [
        (Want(100, 200), 300, None),
        (Want(100, 900), 1000, None),
        (Want(100, 901), 1000, 900),
        (Want(100, None), 1000, 900),
        (Want(1000, 0), 1000, None),
        (Want(984, None), 1000, 16),
    ],
    ids=["fits", "just-fits", "cut", "uncapped-is-cut", "no-output", "least-output"],
)
def test_what_is_held_and_what_the_provider_may_make(
    want: Want, held: int, cap: int | None
) -> None:
    lease = admitted(admit(Account(), NO_RATE, BUDGET, want, 0.0))
    assert (lease.tokens, lease.cap) == (held, cap)


@pytest.mark.parametrize(
    "want", [Want(985, None), Want(985, 16), Want(1001, 0)], ids=["uncapped", "capped", "input"]
)
def test_what_does_not_fit_a_budget_is_denied_without_a_time(want: Want) -> None:
    got = denied(admit(Account(), NO_RATE, BUDGET, want, 0.0))
    assert (got.code, got.limit, got.used, got.retry_after) == ("insufficient_quota", 1000, 0, None)
    assert "'total'" in got.message


def test_without_budgets_and_token_windows_no_output_is_held() -> None:
    lease = admitted(admit(Account(), one_rule(requests=1), (), Want(5, None), 0.0))
    assert (lease.tokens, lease.cap, lease.bounded) == (5, None, False)


@pytest.mark.parametrize(
    ("rate", "budgets"), [(NO_RATE, BUDGET), (one_rule(tokens=1000), ())], ids=["budget", "window"]
)
def test_what_counts_tokens_bounds_a_request(rate: RateLimit, budgets: tuple[Budget, ...]) -> None:
    lease = admitted(admit(Account(), rate, budgets, Want(5, 5), 0.0))
    assert (lease.tokens, lease.cap, lease.bounded) == (10, None, True)


# What is settled bounds the answer, what is held has to be waited for


def with_some_held(rate: RateLimit, budgets: tuple[Budget, ...]) -> tuple[Account, Lease]:
    """An account of 1000 tokens, 500 of them settled and 300 held by a running request."""
    account = Account()
    settle(account, admitted(admit(account, rate, budgets, Want(1, 1), 0.0)), 500)
    return account, admitted(admit(account, rate, budgets, Want(100, 200), 0.0))


@pytest.mark.parametrize(
    ("rate", "budgets", "code", "retry_after"),
    [
        (NO_RATE, BUDGET, "insufficient_quota", None),
        (one_rule(tokens=1000), (), "rate_limit_exceeded", 9.0),
    ],
    ids=["budget", "window"],
)
def test_what_running_requests_hold_neither_lowers_the_cap_nor_counts_as_spent(
    rate: RateLimit, budgets: tuple[Budget, ...], code: str, retry_after: float | None
) -> None:
    account, running = with_some_held(rate, budgets)
    for want in (Want(100, None), Want(100, 101), Want(201, 0), Want(484, None)):
        held = denied(admit(account, rate, budgets, want, 1.0))
        assert (held.code, held.retry_after) == ("rate_limit_exceeded", 1.0)
        assert (held.limit, held.used, held.input) == (1000, 800, want.input)
        assert "running requests" in held.message
    for want in (Want(485, None), Want(501, 0)):  # does not fit beside what is settled
        spent = denied(admit(account, rate, budgets, want, 1.0))
        assert (spent.code, spent.retry_after) == (code, retry_after)
    fits = admitted(admit(account, rate, budgets, Want(100, 100), 1.0))
    assert fits.cap is None
    for lease in (running, fits):
        settle(account, lease, 0)
    assert admitted(admit(account, rate, budgets, Want(100, None), 1.0)).cap == 400


@pytest.mark.parametrize("want", [Want(101, 0), Want(90, None), Want(1, None, 7)], ids=str)
def test_what_is_larger_than_a_whole_window_is_told_that_waiting_does_not_help(want: Want) -> None:
    got = denied(admit(Account(), one_rule(tokens=100), (), want, 0.0))
    assert (got.code, got.retry_after) == ("rate_limit_exceeded", None)
    assert "larger than the whole window" in got.message


@pytest.mark.parametrize(
    ("want", "held"),
    [
        (Want(10, None, 3), 10 + 3 * DEFAULT_OUTPUT),
        (Want(10, 90, 3), 100),
        (Want(10, None), 10 + DEFAULT_OUTPUT),
    ],
    ids=str,
)
def test_who_names_no_cap_is_held_one_for_each_choice(want: Want, held: int) -> None:
    budgets = (Budget("total", 10**6),)
    assert admitted(admit(Account(), NO_RATE, budgets, want, 0.0)).tokens == held


def test_each_choice_needs_the_least_output() -> None:
    budgets = (Budget("total", 100 + 3 * LEAST_OUTPUT),)
    assert admitted(admit(Account(), NO_RATE, budgets, Want(100, None, 3), 0.0)).cap == 48
    refused = denied(admit(Account(), NO_RATE, budgets, Want(101, None, 3), 0.0))
    assert refused.code == "insufficient_quota"
    assert admitted(admit(Account(), NO_RATE, budgets, Want(101, 3, 3), 0.0)).cap is None


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


def test_one_budget_without_room_takes_nothing_of_the_others() -> None:
    account = Account()
    budgets = (Budget("wide", 1000), Budget("tight", 10))
    denied(admit(account, one_rule(requests=1, tokens=1000), budgets, Want(50, 20), 0.0))
    assert account.held == {}
    assert account.parallel == 0
    assert all(window.total == 0 for window in account.windows.values())


def test_a_lease_is_settled_once() -> None:
    account = Account()
    lease = admitted(admit(account, NO_RATE, BUDGET, Want(1, 1), 0.0))
    settle(account, lease, 2)
    with pytest.raises(RuntimeError, match="twice"):
        settle(account, lease, 2)
    assert account.settled == {"total": 2}
    assert account.parallel == 0


def test_parallel_is_exact_and_says_how_many_run() -> None:
    account, rate = Account(), RateLimit((), 2)
    first = admitted(admit(account, rate, (), Want(0, 0), 0.0))
    admitted(admit(account, rate, (), Want(0, 0), 0.0))
    got = denied(admit(account, rate, (), Want(0, 0), 0.0))
    assert (got.code, got.limit, got.used, got.retry_after) == ("too_many_parallel", 2, 2, 1.0)
    settle(account, first, 0)
    admitted(admit(account, rate, (), Want(0, 0), 0.0))


def test_moving_a_lease_frees_what_it_leaves() -> None:
    account = Account()
    a, b = Budget("a", 100), Budget("b", 100)
    lease = admitted(admit(account, NO_RATE, (a,), Want(60, 20), 0.0))
    assert move(account, lease, (b,), Want(60, 20)) is None
    assert account.held == {"b": 80}


def test_a_move_that_does_not_fit_changes_nothing() -> None:
    account = Account(settled={"b": 30})
    a, b = Budget("a", 100), Budget("b", 100)
    lease = admitted(admit(account, NO_RATE, (a,), Want(60, 20), 0.0))
    assert denied(move(account, lease, (a, b), Want(60, 20))).code == "insufficient_quota"
    assert account.held == {"a": 80}
    settle(account, lease, 7)
    assert account.settled == {"a": 7, "b": 30}


def test_after_a_restart_windows_keep_what_was_reserved() -> None:
    account, rate = Account(), one_rule(tokens=100)
    admitted(admit(account, rate, BUDGET, Want(40, 60), 0.0))
    restarted = Account.load(json.loads(json.dumps(account.dump())))
    assert restarted.held == {}
    refused = denied(admit(restarted, rate, BUDGET, Want(1, 0), 9.0))
    assert (refused.used, waits_for(refused)) == (100, "the window")
    admitted(admit(restarted, rate, BUDGET, Want(1, 0), 10.0))
