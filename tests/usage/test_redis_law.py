"""Accounts in Redis against the law they apply: the same operations, the same answers.

The server is a real one. Its script reads the time from a list, which the test sets.
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.policy.limit_sizes import BILLS, SIZES, WANTS, policy_of
from tests.support.redis import RedisServer, needs_redis, redis_server
from tests.usage.redis_home import BY_THE_CLOCK, Proxy, counted, proxies, set_clock, settings_of
from tokenomics.policy import limits as law
from tokenomics.policy.counts import Account
from tokenomics.policy.limits import Denied, Lease, Want
from tokenomics.policy.meters import limits_of
from tokenomics.policy.model import Policy
from tokenomics.usage.redis_calls import account_script

START = 1_792_886_000.0  # close before midnight in Berlin
EXAMPLES = 500

ENTRIES = st.integers(0, 2)
# A step of a window in Redis is longer than in a process: here entries are further apart than
# both, or closer than both.
WAITS = st.sampled_from([0.0, 0.000_25, 0.5, 2.0, 11.0, -0.5, 1800.0, 3600.0, 90_000.0])
STEP = st.one_of(
    st.tuples(st.just("admit"), ENTRIES, WANTS),
    st.tuples(st.just("trial"), ENTRIES, WANTS),
    st.tuples(st.just("extend"), ENTRIES, st.integers(0, 40)),
    st.tuples(st.just("settle"), ENTRIES, BILLS),
    st.tuples(st.just("move"), ENTRIES, WANTS),
    st.tuples(st.just("wait"), ENTRIES, WAITS),
    st.tuples(st.just("wall"), ENTRIES, st.sampled_from([0.0, 900.0, 3600.0])),
)
Steps = list[tuple[str, int, Any]]


class Twin:
    """One account of each kind, led the same way."""

    def __init__(self, server: RedisServer, proxy: Proxy, name: str, policy: Policy) -> None:
        self.server, self.proxy, self.name = server, proxy, name
        self.own = Account()
        self.limits = [limits_of(policy, entry) for entry in policy.entries]
        self.now, self.ahead = START, 0.0
        self.leases: list[tuple[Lease, Lease]] = []

    async def run(self, steps: Steps) -> None:
        await self.set_clocks()
        for what, number, value in steps:
            await self.do(what, number, value)
        await self.agree()

    async def do(self, what: str, number: int, value: Any) -> None:
        if what == "wait":
            self.now += value
            await self.set_clocks()
        elif what == "wall":
            self.ahead = value
            await self.set_clocks()
        elif what in ("admit", "trial"):
            await self.admit(what, number, value)
        elif self.leases:
            mine, theirs = self.leases.pop(number % len(self.leases))
            if what != "settle":
                self.leases.append((mine, theirs))
            alone = self.change(what, mine, number, value)
            assert told(await self.change_there(what, theirs, number, value)) == told(alone)
            assert told(theirs) == told(mine)

    async def set_clocks(self) -> None:
        self.proxy.clock.wall_now = self.now + self.ahead
        self.now = round(self.now, 6)
        await set_clock(self.server, self.now)

    async def admit(self, what: str, number: int, want: Want) -> None:
        limits, usage = self.limits[number], self.proxy.usage
        dues = limits.due(self.now + self.ahead)
        if what == "trial":
            copy = deepcopy(self.own)
            mine = law.admit(copy, limits.parallel, dues, want, self.now)
            theirs = await usage.trial(self.name, limits, want)
            if isinstance(mine, Lease):
                mine.standing = ()  # what nobody asks a trial for
            assert told(theirs) == told(mine)
            return
        mine = law.admit(self.own, limits.parallel, dues, want, self.now)
        theirs = await usage.admit(self.name, limits, want)
        assert told(theirs) == told(mine)
        if isinstance(mine, Lease) and isinstance(theirs, Lease):
            self.leases.append((mine, theirs))

    def change(self, what: str, lease: Lease, number: int, value: Any) -> Any:
        if what == "extend":
            return law.extend(self.own, lease, value, self.now)
        if what == "move":
            dues = self.limits[number].due(self.now + self.ahead)
            return law.move(self.own, lease, dues, value, self.now)
        return law.settle(self.own, lease, value, self.now)

    async def change_there(self, what: str, lease: Lease, number: int, value: Any) -> Any:
        usage = self.proxy.usage
        if what == "extend":
            return await usage.extend(self.name, lease, value)
        if what == "move":
            return await usage.move(self.name, lease, self.limits[number], value)
        return await usage.settle(self.name, lease, value)

    async def agree(self) -> None:
        """What is counted, but for what is over: that is forgotten at leisure."""
        for number in range(len(self.limits)):
            await self.admit("admit", number, Want(0, 0))
        there = await counted(self.server, self.name)
        assert there.pop("running")[0] == self.own.running()
        for key, tally in self.own.budgets.items():
            if tally.ends > self.now:
                assert there.get(key, (0, 0)) == (tally.total, tally.held)


def told(answer: Any) -> Any:
    """What an answer says, but for tickets and names; of times, the second."""
    if isinstance(answer, Lease):
        return replace(answer, holds=[], id="")
    if isinstance(answer, Denied) and answer.retry_after is not None:
        return replace(answer, retry_after=round(answer.retry_after, 3))
    return answer


@needs_redis
async def test_accounts_in_redis_answer_as_those_of_one_process(tmp_path: Path) -> None:
    names = (f"{number:064x}" for number in count(1))
    async with redis_server() as server:
        await set_clock(server, START)
        proxy = Proxy(
            settings_of(server), tmp_path / "usage", lease_seconds=1e6, script=BY_THE_CLOCK
        )

        @settings(max_examples=EXAMPLES, deadline=None)
        @given(sizes=SIZES, steps=st.lists(STEP, max_size=25))
        def examples(sizes: dict[str, int], steps: Steps) -> None:
            policy = policy_of({**sizes, "parallel": sizes["parallel"] or 100})  # a limit at least
            twin = Twin(server, proxy, next(names), policy)
            trio.from_thread.run(twin.run, steps)

        async with proxies(proxy):
            await proxy.up()
            await trio.to_thread.run_sync(examples)
        assert proxy.told == [], "it was never away"


def test_the_script_asks_for_the_time_once() -> None:
    assert account_script().text.count('"TIME"') == 1
    assert '"TIME"' not in BY_THE_CLOCK.text
