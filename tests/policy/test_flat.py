"""Shared counts against those of one process: the same operations, the same answers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tokenomics.policy.counts import STEPS, Account, Counts
from tokenomics.policy.flat import MAX_BUDGETS, MAX_WINDOWS, FlatAccount, NoRoom, cells
from tokenomics.policy.limits import Denied, Lease, Want, admit, move, settle
from tokenomics.policy.model import RateLimit, RateRule
from tokenomics.policy.route import Budget

NO_RATE = RateLimit()


def piece(processes: int = 1) -> memoryview:
    return memoryview(bytearray(cells(processes) * 8))


def flat(memory: memoryview | None = None, me: int = 0, processes: int = 1) -> FlatAccount:
    return FlatAccount(piece(processes) if memory is None else memory, me, processes)


RULES = st.builds(
    RateRule,
    requests=st.sampled_from([0, 1, 3]),
    tokens=st.sampled_from([0, 50, 200]),
    window=st.sampled_from([1.0, 10.0]),
    strategy=st.sampled_from(["sliding", "fixed"]),
)
RATES = st.builds(
    RateLimit,
    rules=st.lists(RULES, max_size=2).map(tuple),
    max_parallel=st.sampled_from([0, 2]),
)
BUDGETS = st.lists(
    st.builds(Budget, name=st.sampled_from(["total", "openai:*", "é"]), limit=st.integers(50, 400)),
    max_size=2,
    unique_by=lambda b: b.name,
).map(tuple)
WANTS = st.builds(
    Want, input=st.integers(0, 60), output=st.sampled_from([None, 0, 10, 40]), choices=st.just(1)
)
STEP = st.one_of(
    st.tuples(st.just("admit"), WANTS),
    st.tuples(st.just("settle"), st.integers(0, 100)),
    st.tuples(st.just("move"), BUDGETS),
    st.tuples(st.just("wait"), st.sampled_from([0.0, 0.001, 0.4, 2.0, 11.0, -0.5])),
)


class Twin:
    """One account of each kind, led the same way."""

    def __init__(self, rate: RateLimit, budgets: tuple[Budget, ...]) -> None:
        self.kinds: tuple[Counts, ...] = (Account(), flat())
        self.rate, self.budgets = rate, budgets
        self.now = 1000.0
        self.leases: list[tuple[Lease, ...]] = []

    def do(self, what: str, value: Any) -> None:
        if what == "wait":
            self.now += value
        elif what == "admit":
            found = [admit(a, self.rate, self.budgets, value, self.now) for a in self.kinds]
            assert told(found[0]) == told(found[1])
            if isinstance(found[0], Lease):
                self.leases.append(tuple(lease for lease in found if isinstance(lease, Lease)))
        elif self.leases and what == "settle":
            for account, lease in zip(self.kinds, self.leases.pop(0), strict=True):
                settle(account, lease, value)
        elif self.leases:
            pairs = zip(self.kinds, self.leases[0], strict=True)
            moved = [move(a, lease, value, Want(1, 1)) for a, lease in pairs]
            assert told(moved[0]) == told(moved[1])


def told(answer: Lease | Denied | None) -> Any:
    """What an answer says, but for its tickets."""
    return replace(answer, tickets=[]) if isinstance(answer, Lease) else answer


def rounded(value: Any) -> Any:
    """Sums of the same numbers in another order."""
    if isinstance(value, dict):
        return {k: rounded(v) for k, v in value.items() if v}
    if isinstance(value, list):
        return [rounded(v) for v in value]
    return round(value, 6) if isinstance(value, float) else value


@settings(max_examples=300, deadline=None)
@given(rate=RATES, budgets=BUDGETS, steps=st.lists(STEP, max_size=25))
def test_shared_counts_answer_as_those_of_one_process(
    rate: RateLimit, budgets: tuple[Budget, ...], steps: list[tuple[str, Any]]
) -> None:
    twin = Twin(rate, budgets)
    for what, value in steps:
        twin.do(what, value)
        own, shared = twin.kinds
        assert own.running() == shared.running()
        for name in ("total", "openai:*", "é"):
            assert (own.spent(name), own.used(name)) == (shared.spent(name), shared.used(name))
    own, shared = twin.kinds
    assert isinstance(own, Account)
    assert isinstance(shared, FlatAccount)
    kept = own.dump()
    kept["windows"] = {k: w for k, w in kept["windows"].items() if w[2]}  # empty ones say nothing
    kept["settled"] = {k: v for k, v in kept["settled"].items() if v}
    assert rounded(shared.dump()) == rounded(kept)
    again = flat()
    again.load(shared.dump())
    assert rounded(again.dump()) == rounded(shared.dump())


def test_a_ring_goes_round() -> None:
    """More steps than there are places, over more time than the window."""
    rate = RateLimit((RateRule(10**9, 0, 10.0, "sliding"),))
    own, shared = Account(), flat()
    for i in range(3 * STEPS):
        now = 1000.0 + i * 0.0101
        for account in (own, shared):
            lease = admit(account, rate, (), Want(1, 1), now)
            assert isinstance(lease, Lease)
            settle(account, lease, 2)
        (key,) = own.windows
        assert own.windows[key].total == shared.window(key, 10.0, fixed=False).total


def test_a_ticket_whose_step_has_left_is_left_alone() -> None:
    rate = RateLimit((RateRule(0, 100, 1.0, "sliding"),))
    account = flat()
    late = admit(account, rate, (), Want(10, 10), 1000.0)
    assert isinstance(late, Lease)
    assert isinstance(admit(account, rate, (), Want(5, 5), 1002.0), Lease)
    settle(account, late, 90)
    assert account.window("tokens/1/sliding", 1.0, fixed=False).total == 10


# Several processes over one piece.


def test_what_a_dead_process_held_is_given_back_and_what_others_hold_is_not() -> None:
    memory = piece(2)
    one, other = flat(memory, 0, 2), flat(memory, 1, 2)
    rate = RateLimit((), max_parallel=2)
    budgets = (Budget("total", 100),)
    assert isinstance(admit(one, rate, budgets, Want(10, 20), 0.0), Lease)
    lease = admit(other, rate, budgets, Want(10, 30), 0.0)
    assert isinstance(lease, Lease)
    third = admit(one, rate, budgets, Want(1, 1), 0.0)
    assert isinstance(third, Denied)
    assert third.code == "too_many_parallel"
    assert (one.used("total"), one.running()) == (70, 2)
    one.release(0)
    assert (other.used("total"), other.running()) == (40, 1)
    settle(other, lease, 25)
    assert (one.spent("total"), one.used("total"), one.running()) == (25, 25, 0)


def test_each_process_finds_what_another_has_named() -> None:
    memory = piece(2)
    one, other = flat(memory, 0, 2), flat(memory, 1, 2)
    for i in range(MAX_BUDGETS):
        one.hold(f"budget {i}", i + 1)
    assert other.used("budget 5") == 6
    with pytest.raises(NoRoom, match="more than 64 budgets"):
        other.hold("one more", 1)
    one.hold("budget 5", -6)  # nothing is left of it: its place may be used again
    other.hold("one more", 7)
    assert (one.used("budget 5"), one.used("one more"), other.used("one more")) == (0, 7, 7)


def test_windows_that_are_empty_are_used_again() -> None:
    memory = piece(2)
    one, other = flat(memory, 0, 2), flat(memory, 1, 2)
    for i in range(MAX_WINDOWS):
        one.window(f"w{i}", 1.0, fixed=False).add(1, 1000.0)
    assert other.window("w3", 1.0, fixed=False).total == 1
    with pytest.raises(NoRoom, match="more than 12 windows"):
        other.window("new", 5.0, fixed=True)
    one.window("w3", 1.0, fixed=False).expire(1002.0)
    assert other.window("new", 5.0, fixed=True).total == 0
    other.window("new", 5.0, fixed=True).add(4, 1002.0)
    assert one.window("new", 5.0, fixed=True).total == 4


def test_changes_are_counted() -> None:
    account = flat()
    before = account.changes
    account.changed()
    assert account.changes == before + 1
