"""Shared counts against those of one process: the same operations, the same answers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.policy.limit_cases import admitted, ask, denied
from tests.policy.limit_sizes import BILLS, SIZES, WANTS, policy_of
from tokenomics.policy.counts import STEPS, Account, Counts, rule_of
from tokenomics.policy.flat import MAX_BUDGETS, MAX_WINDOWS, FlatAccount, NoRoom, cells
from tokenomics.policy.limits import Bill, Denied, Lease, Want, admit, extend, move, settle
from tokenomics.policy.meters import REQUESTS, TOKENS, Due, Limit, Limits, limits_of
from tokenomics.policy.model import Policy

START = 1_792_886_000.0  # close before midnight in Berlin


def piece(processes: int = 1) -> memoryview:
    return memoryview(bytearray(cells(processes) * 8))


def flat(memory: memoryview | None = None, me: int = 0, processes: int = 1) -> FlatAccount:
    return FlatAccount(piece(processes) if memory is None else memory, me, processes)


def budget(name: str, most: int = 1000, period: str = "total") -> Limit:
    return Limit(name, f"{name}/tokens", TOKENS, most, period=period)


def window(name: str, most: int = 1000, *, length: float = 10.0, unit: str = TOKENS) -> Limit:
    return Limit(name, name, unit, most, length)


def due(limit: Limit, now: float = 0.0) -> Due:
    (found,) = Limits(each=[limit]).due(now)
    return found


def counted(account: FlatAccount, limit: Limit, now: float = 0.0) -> tuple[float, float]:
    """What a limit counts, and what of it is held."""
    history = account.history(due(limit, now), now)
    return history.total, history.held


def spend(account: FlatAccount, limit: Limit, tokens: int, now: float = 0.0) -> None:
    settle(
        account, admitted(ask(account, Limits(each=[limit]), Want(0, 0), now)), Bill(tokens), now
    )


ENTRIES = st.integers(0, 2)
WAITS = st.sampled_from([0.0, 0.001, 0.4, 2.0, 11.0, -0.5, 1800.0, 3600.0, 90_000.0])
STEP = st.one_of(
    st.tuples(st.just("admit"), ENTRIES, WANTS),
    st.tuples(st.just("extend"), ENTRIES, st.integers(0, 40)),
    st.tuples(st.just("settle"), ENTRIES, BILLS),
    st.tuples(st.just("move"), ENTRIES, WANTS),
    st.tuples(st.just("wait"), ENTRIES, WAITS),
    st.tuples(st.just("wall"), ENTRIES, st.sampled_from([0.0, 900.0, 3600.0])),
)


class Twin:
    """One account of each kind, led the same way."""

    def __init__(self, policy: Policy) -> None:
        self.kinds: tuple[Counts, ...] = (Account(), flat())
        self.limits = [limits_of(policy, entry) for entry in policy.entries]
        self.now, self.ahead = START, 0.0
        self.leases: list[tuple[Lease, ...]] = []

    def do(self, what: str, number: int, value: Any) -> None:
        limits = self.limits[number]
        if what == "wait":
            self.now += value
        elif what == "wall":
            self.ahead = value
        elif what == "admit":
            dues = limits.due(self.now + self.ahead)
            found = [self.admit(account, limits, dues, value) for account in self.kinds]
            assert told(found[0]) == told(found[1])
            if isinstance(found[0], Lease):
                self.leases.append(tuple(lease for lease in found if isinstance(lease, Lease)))
        elif self.leases:
            leases = self.leases.pop(number % len(self.leases))
            if what != "settle":
                self.leases.append(leases)
            own, shared = (
                self.change(what, account, lease, limits, value)
                for account, lease in zip(self.kinds, leases, strict=True)
            )
            assert told(own) == told(shared)
            assert told(leases[0]) == told(leases[1])

    def admit(
        self, account: Counts, limits: Limits, dues: tuple[Due, ...], want: Want
    ) -> Lease | Denied:
        return admit(account, limits.parallel, dues, want, self.now)

    def change(self, what: str, account: Counts, lease: Lease, limits: Limits, value: Any) -> Any:
        if what == "extend":
            return extend(account, lease, value, self.now)
        if what == "move":
            return move(account, lease, limits.due(self.now + self.ahead), value, self.now)
        return settle(account, lease, value, self.now)

    def agree(self) -> None:
        own, shared = self.kinds
        assert own.running() == shared.running()
        assert isinstance(own, Account)
        assert isinstance(shared, FlatAccount)
        assert shared.dump()["held"] == own.dump()["held"]
        assert self.kept(shared.dump()) == self.kept(own.dump())

    def kept(self, state: dict[str, Any]) -> Any:
        """What a journal keeps, but for budgets that are over: they are forgotten at leisure."""
        budgets = {
            name: row
            for name, row in state["budgets"].items()
            if row[0] and (row[1] is None or row[1] > self.now)
        }
        windows = {key: rounded(w) for key, w in state["windows"].items() if w[2]}
        return budgets, windows


def told(answer: Any) -> Any:
    """What an answer says, but for the tickets."""
    return replace(answer, holds=[]) if isinstance(answer, Lease) else answer


def rounded(value: Any) -> Any:
    """Sums of the same numbers in another order."""
    if isinstance(value, list):
        return [rounded(v) for v in value]
    return round(value, 6) if isinstance(value, float) else value


@settings(max_examples=300, deadline=None)
@given(sizes=SIZES, steps=st.lists(STEP, max_size=25))
def test_shared_counts_answer_as_those_of_one_process(
    sizes: dict[str, int], steps: list[tuple[str, int, Any]]
) -> None:
    twin = Twin(policy_of(sizes))
    for step in steps:
        twin.do(*step)
        twin.agree()
    own, shared = twin.kinds
    assert isinstance(own, Account)
    assert isinstance(shared, FlatAccount)
    again = flat()
    again.load(shared.dump(), twin.now)
    alone = Account.load(own.dump(), twin.now)
    assert twin.kept(again.dump()) == twin.kept(alone.dump())
    spent = {name: row for name, row in shared.dump()["budgets"].items() if row[0]}
    assert again.dump()["budgets"] == spent
    assert (again.running(), again.dump()["held"]) == (0, {})


def test_a_ring_goes_round() -> None:
    """More steps than there are places, over more time than the window."""
    own, shared = Account(), flat()
    limit = window("w", 10**9, unit=REQUESTS)
    for i in range(3 * STEPS):
        now = 1000.0 + i * 0.0101
        for account in (own, shared):
            settle(
                account, admitted(ask(account, Limits(each=[limit]), Want(1, 1), now)), Bill(), now
            )
        assert own.windows["w"].total == shared.history(due(limit), now).total


def test_a_ticket_whose_step_has_left_is_left_alone() -> None:
    account, limit = flat(), window("w", 100, length=1.0)
    late = admitted(ask(account, Limits(each=[limit]), Want(10, 10), 1000.0))
    admitted(ask(account, Limits(each=[limit]), Want(5, 5), 1002.0))
    settle(account, late, Bill(90), 1002.0)
    assert counted(account, limit, 1002.0) == (10, 10)


# Several processes over one piece.


def test_what_a_dead_process_held_is_given_back_and_what_others_hold_is_not() -> None:
    memory = piece(2)
    one, other = flat(memory, 0, 2), flat(memory, 1, 2)
    total, money = budget("total", 100), Limit("cost", "total/cost", "cost", 10**12)
    limits = Limits(2, [total, money])
    admitted(ask(one, limits, Want(10, 20, input_cost=10**9, output_cost=10**9), 0.0))
    lease = admitted(ask(other, limits, Want(10, 30, input_cost=5), 0.0))
    assert extend(other, lease, 10, 0.0) == 10
    assert denied(ask(one, limits, Want(1, 1), 0.0)).code == "too_many_parallel"
    assert counted(one, total) == (80, 80)
    assert counted(one, money) == (21 * 10**9 + 5, 21 * 10**9 + 5)
    one.release(0)
    assert (counted(other, total), counted(other, money), other.running()) == ((50, 50), (5, 5), 1)
    settle(other, lease, Bill(25, 7), 0.0)
    assert (counted(one, total), counted(one, money), one.running()) == ((25, 0), (7, 0), 0)


def test_what_a_dead_process_reserved_in_a_window_stays_until_it_leaves() -> None:
    memory = piece(2)
    one, other, limit = flat(memory, 0, 2), flat(memory, 1, 2), window("w", 100)
    admitted(ask(one, Limits(each=[limit]), Want(40, 60), 0.0))
    other.release(0)
    assert isinstance(ask(other, Limits(each=[limit]), Want(1, 0), 9.9), Denied)
    admitted(ask(other, Limits(each=[limit]), Want(40, 60), 10.0))


def test_what_a_process_left_that_died_in_a_step_goes_with_its_window() -> None:
    """Between two writes: the total has grown, the step has not."""
    account, limit = flat(), window("w", 100)
    spend(account, limit, 10)
    account.history(due(limit), 0.0)._real[5] += 50  # type: ignore[union-attr]
    assert counted(account, limit) == (60, 0)
    spend(account, limit, 7, 20.0)
    assert counted(account, limit, 20.0) == (7, 0)


# Places, and who may have them.


def test_each_process_finds_what_another_has_named() -> None:
    memory = piece(2)
    one, other = flat(memory, 0, 2), flat(memory, 1, 2)
    for i in range(MAX_BUDGETS):
        spend(one, budget(f"b{i}"), i)
    assert counted(other, budget("b5")) == (5, 0)
    spend(other, budget("new"), 7, 1.0)  # where nothing was spent
    assert (counted(one, budget("new")), counted(one, budget("b5"))) == ((7, 0), (5, 0))
    with pytest.raises(NoRoom, match="more than 64 budgets"):
        one.history(due(budget("b0")), 2.0)


def test_the_place_of_a_period_that_is_over_is_for_the_next_one() -> None:
    account, limit = flat(), budget("total", period="hour")
    spend(account, budget("all"), 1)
    for hour in range(2 * MAX_BUDGETS):
        spend(account, limit, hour + 1, 3600.0 * hour)
    hours = [name for name in account.dump()["budgets"] if rule_of(name) == limit.key]
    assert len(hours) == 1
    assert account.dump()["budgets"]["all/tokens"] == [1, None]


def test_a_period_that_is_over_keeps_its_place_while_it_holds() -> None:
    account, limits = flat(), Limits(each=[budget("b", period="hour")])
    lease = admitted(ask(account, limits, Want(10, 20), 3599.0))
    spend(account, limits.each[0], 1, 3600.0)
    settle(account, lease, Bill(25), 3601.0)
    assert account.dump()["budgets"] == {"b/tokens@0": [25, 3600.0], "b/tokens@3600": [1, 7200.0]}


def test_when_all_places_are_taken_any_period_that_is_over_gives_its_own() -> None:
    account = flat()
    for i in range(MAX_BUDGETS - 1):
        spend(account, budget(f"b{i}"), 1)
    spend(account, budget("hour", period="hour"), 5)
    with pytest.raises(NoRoom):
        account.history(due(budget("new")), 3599.0)
    spend(account, budget("new"), 2, 3600.0)
    assert counted(account, budget("new"), 3600.0) == (2, 0)


@pytest.mark.parametrize("free", [1, 2, 3])
def test_budgets_of_one_request_do_not_take_each_others_places(free: int) -> None:
    """All are taken, and what a request counts in is empty when it is admitted."""
    account = flat()
    for i in range(MAX_BUDGETS):
        spend(account, budget(f"b{i}"), 0 if i < free else 1)
    limits = Limits(each=[budget(name) for name in ("b0", "x", "y")][:free])
    lease = admitted(ask(account, limits, Want(3, 4), 1.0))
    assert account.dump()["held"] == {limit.key: 7 for limit in limits.each}
    settle(account, lease, Bill(5), 2.0)
    assert [counted(account, limit, 2.0) for limit in limits.each] == [(5, 0)] * free
    with pytest.raises(NoRoom):
        ask(account, Limits(each=[*limits.each, budget("one more")]), Want(3, 4), 3.0)


def test_a_wall_that_is_set_back_takes_no_place_from_under_a_request() -> None:
    """By the steady clock the hour is over; by the wall it is not, and the request counts in it."""
    account = flat()
    hour, day = budget("h", period="hour"), budget("d", period="day")
    spend(account, hour, 100, 1000.0)
    lease = admitted(admit(account, 0, Limits(each=[hour, day]).due(1100.0), Want(10, 20), 4700.0))
    settle(account, lease, Bill(25), 4701.0)
    assert account.dump()["budgets"] == {
        "h/tokens@0": [125, 3600.0],
        "d/tokens@0": [25, 86400.0],
    }


def test_windows_that_are_empty_are_used_again() -> None:
    memory = piece(2)
    one, other = flat(memory, 0, 2), flat(memory, 1, 2)
    for i in range(MAX_WINDOWS):
        spend(one, window(f"w{i}", length=1.0 if i == 3 else 60.0), 1, 1000.0)
    assert counted(other, window("w3", length=1.0), 1000.0) == (1, 0)
    with pytest.raises(NoRoom, match="more than 12 windows"):
        other.history(due(window("new", length=5.0)), 1000.5)
    spend(other, window("new", length=5.0), 4, 1002.0)  # where nobody has looked since
    assert counted(one, window("new", length=5.0), 1002.0) == (4, 0)


def test_windows_of_one_request_do_not_take_each_others_places() -> None:
    account = flat()
    for i in range(MAX_WINDOWS):
        spend(account, window(f"w{i}", length=1.0 if i < 2 else 60.0), 1, 1000.0)
    limits = Limits(each=[window("w0", length=1.0), window("new", length=5.0)])
    settle(account, admitted(ask(account, limits, Want(3, 4), 1002.0)), Bill(6), 1002.0)
    assert [counted(account, limit, 1002.0) for limit in limits.each] == [(6, 0), (6, 0)]
    with pytest.raises(NoRoom):
        ask(account, Limits(each=[*limits.each, window("more", length=5.0)]), Want(3, 4), 1002.5)


def test_a_ticket_is_of_no_use_in_a_window_that_was_named_anew() -> None:
    """Its place went to another rule, and its name to another place."""
    account, old = flat(), window("old", length=1.0)
    for _ in range(3):
        spend(account, old, 1, 1000.0)
    late = admitted(ask(account, Limits(each=[old]), Want(30, 0), 1000.5))
    for i in range(MAX_WINDOWS):
        spend(account, window(f"w{i}", length=1.0 if i == 5 else 60.0), 1, 1002.0)
    for now in (1004.0, 1004.1, 1004.2, 1004.3):
        spend(account, old, 20, now)
    settle(account, late, Bill(0), 1004.4)
    assert counted(account, old, 1004.4) == (80, 0)


def test_more_budgets_than_there_are_places_are_read_without_those_that_are_over() -> None:
    state = Account().dump()
    state["budgets"] = {f"b{i}/tokens@0": [1, 3600.0] for i in range(MAX_BUDGETS)}
    state["budgets"]["total"] = [5, None]
    account = flat()
    account.load(state, 3600.0)
    assert account.dump()["budgets"] == {"total": [5, None]}
    with pytest.raises(NoRoom):
        flat().load(state, 3599.0)


def test_a_name_that_is_too_long_changes_nothing() -> None:
    account = flat()
    for i in range(MAX_BUDGETS):
        spend(account, budget(f"b{i}"), min(i, 1))
    with pytest.raises(NoRoom, match="at most 256 fit"):
        account.history(due(budget("x" * 300, period="hour"), 1.0), 1.0)
    assert counted(account, budget("b0"), 9000.0) == (0, 0)
    assert account.dump()["budgets"] == {f"b{i}/tokens": [1, None] for i in range(1, MAX_BUDGETS)}


def test_changes_are_counted() -> None:
    account = flat()
    before = account.changes
    account.changed()
    assert account.changes == before + 1
