"""Budgets, windows and parallelism against a plain model that remembers every request.

TOKENOMICS_LIMITS_EXAMPLES is how many runs hypothesis tries; more for a night.
"""

from __future__ import annotations

import copy
import json
import math
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from hypothesis import settings
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

from tests.policy.limit_sizes import BILLS, SIZES, WANTS, policy_of
from tokenomics.policy.counts import Account
from tokenomics.policy.limits import (
    DEFAULT_OUTPUT,
    LEAST_OUTPUT,
    Bill,
    Crossing,
    Denied,
    Lease,
    Want,
    admit,
    extend,
    move,
    settle,
)
from tokenomics.policy.meters import REQUESTS, TOKENS, Due, limits_of

EXAMPLES = int(os.environ.get("TOKENOMICS_LIMITS_EXAMPLES", "250"))
START = 1_792_886_000.0  # before midnight in Berlin, on the day before an hour comes twice


@dataclass(eq=False)
class Piece:
    """Something that was counted once, at a time."""

    time: float
    amount: int
    held: bool


@dataclass(eq=False)
class Request:
    """One admitted request: what it counted in each limit; nothing, after a move that failed."""

    lease: Lease
    dues: tuple[Due, ...]
    pieces: dict[str, list[Piece]] = field(default_factory=dict)
    stranded: bool = False


@dataclass(frozen=True)
class Expected:
    """The error code, "" for what fits, and what waiting is for; or what is held, and the cap."""

    code: str = ""
    waits_for: str = ""
    held: int = 0
    cap: int | None = None


def waits_for(refused: Denied) -> str:
    if refused.retry_after is None:
        return "nothing"
    return "running requests" if "running" in refused.message else "the window"


def taken(due: Due, want: Want, output: int) -> int:
    """What a request with so much output takes of a limit."""
    if due.limit.unit == REQUESTS:
        return 1
    if due.limit.unit == TOKENS:
        return want.input + output
    return want.input_cost + want.output_cost * output


def most_that(fits: Callable[[int], bool], top: int) -> int:
    """The largest number up to `top` that fits, where smaller ones do too; -1 if 0 does not."""
    low, high = -1, top
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if fits(middle) else (low, middle - 1)
    return low


class LimitsMachine(RuleBasedStateMachine):
    """The model keeps every request that was ever admitted and adds up from the beginning.

    The clock moves in steps far above a window's own, so that the sliding windows are exact. The
    wall's clock may be ahead of the steady one, and be set back to it: nothing is forgotten then.
    """

    requests = Bundle("requests")

    @initialize(sizes=SIZES)
    def start(self, sizes: dict[str, int]) -> None:
        self.account = Account()
        self.now, self.ahead = START, 0.0
        self.open: list[Request] = []
        self.counted: dict[str, list[Piece]] = {}  # by key
        self.beyond: dict[str, int] = {}  # by key: what bills were above what was held
        self.largest: dict[str, int] = {}  # by key: the limit that was ever there
        self.dues: dict[str, Due] = {}
        self.sizes = sizes
        self.set_policy(sizes)

    def set_policy(self, sizes: dict[str, int]) -> None:
        policy = policy_of(sizes)
        self.limits = [limits_of(policy, entry) for entry in policy.entries]

    # What the model says

    def counts(self, due: Due) -> list[Piece]:
        """What a limit counts now."""
        pieces, limit = self.counted.get(due.key, []), due.limit
        if limit.fixed:
            return [p for p in pieces if p.time // limit.window == self.now // limit.window]
        if limit.window:
            return [p for p in pieces if p.time > self.now - limit.window]
        return pieces

    def total(self, due: Due) -> int:
        return sum(piece.amount for piece in self.counts(due))

    def held(self, due: Due) -> int:
        return sum(piece.amount for piece in self.counts(due) if piece.held)

    def settled(self, due: Due) -> int:
        return self.total(due) - self.held(due)

    def verdict(self, dues: Iterable[Due], want: Want) -> Expected:
        """What is settled bounds the answer; what is held has to be waited for."""
        dues = tuple(dues)
        whole = DEFAULT_OUTPUT * want.choices if want.output is None else want.output
        least = min(LEAST_OUTPUT * want.choices, whole)

        def fits(used: Callable[[Due], int], output: int) -> bool:
            return all(used(due) + taken(due, want, output) <= due.limit.most for due in dues)

        for due in dues:
            if self.settled(due) + taken(due, want, least) > due.limit.most:
                return too_much(due, taken(due, want, least))
        room = most_that(lambda output: fits(self.settled, output), whole)
        now = most_that(lambda output: fits(self.total, output), room)
        begin = min(want.step or room, room)
        if now < min(least if want.step else want.enough or begin, begin):
            return Expected("rate_limit_exceeded", "running requests")
        held = min(begin, now)
        cap = now if want.step else held
        return Expected(held=held, cap=cap if cap < whole else None)

    def count(self, request: Request, due: Due, amount: int, *, held: bool) -> None:
        piece = Piece(self.now, amount, held)
        request.pieces.setdefault(due.key, []).append(piece)
        self.counted.setdefault(due.key, []).append(piece)
        self.dues[due.key] = due
        self.largest[due.key] = max(self.largest.get(due.key, 0), due.limit.most)

    def forget(self, request: Request) -> None:
        """It holds nothing, but counts as the one request it is."""
        for due in request.dues:
            if due.limit.unit != REQUESTS:
                for piece in request.pieces.pop(due.key, []):
                    self.counted[due.key].remove(piece)

    def kept(self, state: dict[str, Any]) -> Any:
        """What a denial leaves as it was; a budget that is over may be forgotten."""
        rows = state["budgets"].items()
        spent = {key: row for key, row in rows if row[0] and (row[1] or math.inf) > self.now}
        return spent, state["held"], state["running"]

    # What happens

    @rule(target=requests, entry=st.integers(0, 2), want=WANTS)
    def ask(self, entry: int, want: Want) -> Any:
        limits = self.limits[entry]
        dues = limits.due(self.now + self.ahead)
        before = self.account.dump()
        got = admit(self.account, limits.parallel, dues, want, self.now)
        full = limits.parallel and len(self.open) >= limits.parallel
        busy = Expected("too_many_parallel", "running requests")
        expected = busy if full else self.verdict(dues, want)
        if isinstance(got, Denied):
            assert Expected(got.code, waits_for(got)) == expected
            assert self.kept(self.account.dump()) == self.kept(before)
            return multiple()
        assert Expected(held=got.output, cap=got.cap) == expected
        assert got.bounded == limits.bounded
        request = Request(got, dues)
        for due in dues:
            amount = taken(due, want, got.output)
            self.count(request, due, amount, held=due.limit.unit != REQUESTS)
        self.within_limits(dues)
        assert got.standing == tuple((due, self.total(due)) for due in dues)
        self.open.append(request)
        return request

    @rule(request=requests, output=st.integers(0, 40))
    def flow(self, request: Request, output: int) -> None:
        want = request.lease.want
        if request not in self.open or request.stranded or want.output == 0:
            return
        bounding = [due for due in request.dues if taken(due, want, 1) > taken(due, want, 0)]
        free = {due.key: due.limit.most - self.total(due) for due in bounding}
        nothing = {due.key: taken(due, want, 0) for due in bounding}
        more = most_that(
            lambda n: all(taken(d, want, n) - nothing[d.key] <= free[d.key] for d in bounding),
            output,
        )
        before = request.lease.output
        got = extend(self.account, request.lease, output, self.now)
        assert got == max(more, 0)
        assert request.lease.output == before + got
        if got:
            for due in bounding:
                amount = taken(due, want, got) - nothing[due.key]
                self.count(request, due, amount, held=True)
            self.within_limits(bounding)

    @rule(request=requests, entry=st.integers(0, 2), want=WANTS)
    def fall_back(self, request: Request, entry: int, want: Want) -> None:
        if request not in self.open:
            return
        dues = self.limits[entry].due(self.now + self.ahead)
        tokens = tuple(due for due in dues if due.limit.unit != REQUESTS)
        self.forget(request)
        expected = self.verdict(tokens, want)
        got = move(self.account, request.lease, dues, want, self.now)
        request.stranded = got is not None
        if got is not None:
            assert Expected(got.code, waits_for(got)) == expected
            return
        assert Expected(held=request.lease.output, cap=request.lease.cap) == expected
        request.dues = tokens + tuple(d for d in request.dues if d.limit.unit == REQUESTS)
        for due in tokens:
            self.count(request, due, taken(due, want, request.lease.output), held=True)
        self.within_limits(tokens)

    @rule(request=consumes(requests), bill=BILLS)
    def finish(self, request: Request, bill: Bill) -> None:
        if request not in self.open:  # it died in a restart
            return
        crossed = settle(self.account, request.lease, bill, self.now)
        self.open.remove(request)
        expected = []
        for due in request.dues:
            if due.limit.unit == REQUESTS:
                continue
            cost = bill.tokens if due.limit.unit == TOKENS else bill.cost
            before = self.settled(due)
            self.charge(request, due, cost)
            after, most = self.settled(due), due.limit.most
            parts = [p for p in due.limit.warn_at if before < p * most <= after]
            if parts and due.ends > self.now:
                expected.append(Crossing(due.limit, parts[-1], after))
        ended = {due.limit for due in request.dues if due.ends <= self.now}
        assert set(expected) == {c for c in crossed if c.limit not in ended}

    def charge(self, request: Request, due: Due, cost: int) -> None:
        """A bill is counted where it was held, from the oldest piece on, and what is above that
        in the newest; where nothing is held, now."""
        if due.key not in request.pieces:
            self.count(request, due, 0, held=True)
        pieces = request.pieces[due.key]
        over = max(cost - sum(piece.amount for piece in pieces), 0)
        self.beyond[due.key] = self.beyond.get(due.key, 0) + over
        left = cost
        for piece in pieces:
            piece.amount = min(piece.amount, left)
            left -= piece.amount
            piece.held = False
        pieces[-1].amount += left

    @rule(seconds=st.integers(1, 60).map(lambda n: n / 4) | st.sampled_from([600, 3600, 90_000]))
    def pass_time(self, seconds: float) -> None:
        self.now += seconds

    @rule(seconds=st.sampled_from([0.0, 0.0, 900.0, 3600.0]))
    def set_the_wall(self, seconds: float) -> None:
        self.ahead = seconds

    @rule(times=st.sampled_from([0.5, 1.0, 2.0]))
    def update_the_policy(self, times: float) -> None:
        """What was counted holds against the new limits."""
        sizes = {k: size and max(int(size * times), 1) for k, size in self.sizes.items()}
        self.set_policy(sizes)

    @rule()
    def restart(self) -> None:
        """What was held is gone; in windows it stays as counted."""
        self.account = Account.load(json.loads(json.dumps(self.account.dump())), self.now)
        for request in self.open:
            for key, pieces in request.pieces.items():
                for piece in pieces:
                    piece.held = False
                    if not self.dues[key].limit.window:
                        piece.amount = 0
        self.open.clear()

    # What always holds

    def within_limits(self, dues: Iterable[Due]) -> None:
        """The law: after a step that takes, settled + held <= limit."""
        for due in dues:
            history = self.account.history(due, self.now)
            assert history.total <= due.limit.most
            assert history.total == self.total(due)

    @invariant()
    def counts_agree(self) -> None:
        """What is counted and held is what the requests did, to the token."""
        assert self.account.parallel == len(self.open)
        looked_at = copy.deepcopy(self.account)  # to look must not bring it up to date
        for due in self.dues.values():
            if due.ends <= self.now:
                continue  # may be forgotten
            history = looked_at.history(due, self.now)
            history.expire(self.now)
            assert (history.total, history.held) == (self.total(due), self.held(due))
            assert history.total <= self.largest[due.key] + self.beyond.get(due.key, 0)
        for window in looked_at.windows.values():
            assert window.total == sum(step[1] for step in window.steps)
            assert window.held == sum(step[3] for step in window.steps)

    def teardown(self) -> None:
        if not hasattr(self, "account"):
            return
        for request in self.open:
            settle(self.account, request.lease, Bill(), self.now)
        assert self.account.parallel == 0
        for counted in (*self.account.budgets.values(), *self.account.windows.values()):
            assert counted.held == 0


def too_much(due: Due, need: int) -> Expected:
    if not due.limit.window:
        return Expected("insufficient_quota", "nothing")
    return Expected("rate_limit_exceeded", "nothing" if need > due.limit.most else "the window")


LimitsMachine.TestCase.settings = settings(
    max_examples=EXAMPLES, stateful_step_count=30, deadline=None
)
TestLimits = LimitsMachine.TestCase
