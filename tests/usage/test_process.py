"""Accounts in a process: what survives it, who owns the file, when it is written."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.store.stores import DEADLINE_SECONDS, child, disk_ends_at, hash_of, line_of
from tokenomics.errors import Failed, Invalid, Refused
from tokenomics.policy.limits import Denied, Lease, Want
from tokenomics.policy.model import RateLimit, RateRule
from tokenomics.policy.route import Budget
from tokenomics.store.journal import Header, Journal
from tokenomics.usage.journalled import FLUSH_SECONDS, REWRITE_BYTES
from tokenomics.usage.process import ProcessUsage

A, B = hash_of(1), hash_of(2)
BUDGETS = (Budget("all", 1000),)
RATE = RateLimit((RateRule(requests=3, tokens=0, window=60.0, strategy="sliding"),))
NO_RATE = RateLimit()
NOW = 1_000_000.0


@dataclass
class Home:
    """A usage file, and what was said of it."""

    path: Path
    said: list[str] = field(default_factory=list)

    def usage(self) -> ProcessUsage:
        return ProcessUsage(self.path, self.said.append, lambda: NOW)

    def rows(self) -> list[Any]:
        """What is on disk."""
        return Journal(self.path, pytest.fail).read()[1]

    def has_rows(self, count: int) -> bool:
        return len(self.rows()) >= count

    def has_said(self, times: int) -> bool:
        return len(self.said) >= times

    def has_settled(self, tokens: int, hash_: str = A, size_before: int = 0) -> bool:
        return self.path.stat().st_size != size_before and self.settled().get(hash_) == tokens

    def settled(self) -> dict[str, int]:
        """What a process that starts now would count: settled tokens of each account."""
        return {hash_: state["settled"].get("all", 0) for hash_, state in self.rows()}


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    home = Home(tmp_path / "tokens.db.usage")
    yield home
    left = {p.name for p in tmp_path.iterdir()}
    assert left <= {home.path.name, f"{home.path.name}.lock"}, "a temporary file was left behind"


async def spend(usage: ProcessUsage, hash_: str, tokens: int, rate: RateLimit = NO_RATE) -> None:
    """One request from beginning to end."""
    lease = await usage.admit(hash_, rate, BUDGETS, Want(tokens, 0))
    assert isinstance(lease, Lease)
    await usage.settle(hash_, lease, tokens)


async def reach(reached: Callable[[], bool]) -> None:
    """`until` for what other tasks do: under a MockClock no time passes meanwhile."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not reached():
        assert time.monotonic() < deadline, "it did not happen in time"
        await trio.lowlevel.checkpoint()


# Surviving


async def test_accounts_survive_a_restart(home: Home) -> None:
    usage = home.usage()
    with usage.open():
        await spend(usage, A, 600, RATE)
        await spend(usage, B, 7)
    usage = home.usage()
    with usage.open():
        assert usage.account(A).settled == {"all": 600}
        assert usage.account(B).settled == {"all": 7}
        denied = await usage.admit(A, NO_RATE, BUDGETS, Want(500, 0))
        assert isinstance(denied, Denied)
        assert denied.code == "insufficient_quota"


async def test_windows_survive_a_restart(home: Home) -> None:
    for _ in range(3):
        usage = home.usage()
        with usage.open():
            await spend(usage, A, 1, RATE)
    usage = home.usage()
    with usage.open():
        denied = await usage.admit(A, RATE, BUDGETS, Want(1, 0))
        assert isinstance(denied, Denied)
        assert denied.code == "rate_limit_exceeded"


async def test_what_ran_when_the_process_ended_holds_nothing(home: Home) -> None:
    usage = home.usage()
    with usage.open():
        await usage.admit(A, RateLimit((), max_parallel=1), BUDGETS, Want(1000, 0))
    usage = home.usage()
    with usage.open():
        assert (usage.account(A).held, usage.account(A).parallel) == ({}, 0)
        lease = await usage.admit(A, RateLimit((), max_parallel=1), BUDGETS, Want(1000, 0))
        assert isinstance(lease, Lease)


async def test_what_was_spent_is_written_after_an_error_too(home: Home) -> None:
    async def spend_and_fail() -> None:
        usage = home.usage()
        with usage.open():
            await spend(usage, A, 5)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        await spend_and_fail()
    assert home.settled() == {A: 5}


SPENDER = """
import sys
from pathlib import Path
import trio
from tokenomics.policy.limits import Want
from tokenomics.policy.model import RateLimit
from tokenomics.policy.route import Budget
from tokenomics.usage.process import ProcessUsage

async def main():
    path, hash_ = sys.argv[1:]
    usage = ProcessUsage(Path(path), print)
    with usage.open():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(usage.run)
            for _ in range(1_000_000):
                lease = await usage.admit(hash_, RateLimit(), (Budget("all", 10**9),), Want(1, 0))
                await usage.settle(hash_, lease, 1)
                print(usage.account(hash_).settled["all"], trio.current_time(), flush=True)
                await trio.sleep(0.005)

trio.run(main)
"""


def test_a_killed_process_loses_less_than_a_second(home: Home) -> None:
    """What it had counted a second before its end is on disk (contract 4.3)."""
    with child(SPENDER, home.path, A) as process:
        counted: list[tuple[int, float]] = []
        while not counted or counted[-1][1] - counted[0][1] < 1.2:
            tokens, at = line_of(process).split()
            counted.append((int(tokens), float(at)))
        os.kill(process.pid, 9)
    due = max(tokens for tokens, at in counted if at <= counted[-1][1] - 1.0)
    usage = home.usage()
    with usage.open():
        assert usage.account(A).settled["all"] >= due > 0


# Owning


def test_a_second_owner_is_refused(home: Home) -> None:
    first, second = home.usage(), home.usage()
    with first.open(), pytest.raises(Refused, match="another `serve`"), second.open():
        pytest.fail("two count")
    with second.open():
        pass


def test_an_owner_in_another_process_is_respected_until_it_dies(home: Home) -> None:
    with child(SPENDER, home.path, A) as process:
        assert line_of(process)
        with pytest.raises(Refused), home.usage().open():
            pytest.fail("two count")
        process.kill()
        process.wait()
        with home.usage().open():
            pass


def test_a_folder_that_cannot_be_made_is_not_another_owner(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    usage = ProcessUsage(tmp_path / "file" / "usage", pytest.fail)
    with pytest.raises(Failed, match="cannot be made"), usage.open():
        pytest.fail("opened")


def test_a_full_disk_is_said_at_the_start(home: Home) -> None:
    with disk_ends_at(10), pytest.raises(Failed, match="File too large"), home.usage().open():
        pytest.fail("opened")
    with home.usage().open():
        pass


WINDOW = [60.0, False, [[NOW, 1.0, NOW]]]


@pytest.mark.parametrize(
    "row",
    [
        None,
        [A],
        [A, None],
        [A, {}],
        [A, {"settled": [], "windows": {}}],
        [A, {"settled": {"all": "many"}, "windows": {}}],
        [A, {"settled": {}, "windows": {"tokens/60/sliding": [60.0]}}],
        [A, {"settled": {}, "windows": {"tokens/60/sliding": [60.0, False, [[]]]}}],
        [A, {"settled": {}, "windows": {"tokens/60/sliding": [60.0, False, [7]]}}],
    ],
    ids=str,
)
def test_an_account_that_cannot_be_read_is_named(home: Home, row: object) -> None:
    journal = Journal(home.path, pytest.fail)
    with journal.lock():
        journal.rewrite(Header("f" * 32, 1), [[B, {"settled": {}, "windows": {}}], row])
    before = home.path.read_bytes()
    with pytest.raises(Invalid, match=str(home.path)), home.usage().open():
        pytest.fail("opened")
    assert home.path.read_bytes() == before


def test_a_damaged_file_is_named_and_left(home: Home) -> None:
    home.path.write_bytes(b"not a journal")
    with pytest.raises(Invalid, match="not a tokenomics data file"), home.usage().open():
        pytest.fail("opened")
    assert home.path.read_bytes() == b"not a journal"


async def test_a_torn_tail_is_gone_at_the_next_start(home: Home) -> None:
    usage = home.usage()
    with usage.open():
        await spend(usage, A, 5)
        await spend(usage, B, 6)
    home.path.write_bytes(home.path.read_bytes() + b"\x00\x00\x01")
    with home.usage().open():
        assert home.settled() == {A: 5, B: 6}


# Writing, in the background


async def pass_flushes(clock: MockClock, count: int) -> None:
    """Let the flush time pass so often."""
    for _ in range(count):
        await wait_all_tasks_blocked(0.001)
        clock.jump(FLUSH_SECONDS)


async def flush_until(clock: MockClock, reached: Callable[[], bool]) -> None:
    """Let the flush time pass until it led to something; more than once where a thread that wrote
    before has not ended yet."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not reached():
        assert time.monotonic() < deadline, "it did not happen in time"
        await pass_flushes(clock, 1)


async def test_what_changed_is_written_within_the_flush_time(
    home: Home, mock_clock: MockClock
) -> None:
    usage = home.usage()
    with usage.open():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(usage.run)
            await wait_all_tasks_blocked()
            await spend(usage, A, 5)
            mock_clock.jump(FLUSH_SECONDS * 0.9)
            await wait_all_tasks_blocked()
            assert home.rows() == []
            mock_clock.jump(FLUSH_SECONDS * 0.2)
            await reach(lambda: home.settled() == {A: 5})
            nursery.cancel_scope.cancel()


async def test_only_what_changed_is_written(home: Home, mock_clock: MockClock) -> None:
    usage = home.usage()
    written: list[list[str]] = []
    with usage.open():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(usage.run)
            for spenders in ([A, B], [A], [B, B]):
                before = len(home.rows())
                for hash_ in spenders:
                    await spend(usage, hash_, 1)
                end = before + len(set(spenders))
                await flush_until(mock_clock, partial(home.has_rows, end))
                written.append(sorted(row[0] for row in home.rows()[before:]))
            size = home.path.stat().st_size
            await pass_flushes(mock_clock, 3)
            assert home.path.stat().st_size == size, "nothing had changed"
            nursery.cancel_scope.cancel()
    assert written == [[A, B], [A], [B]]
    assert home.settled() == {A: 2, B: 3}


async def test_a_cancelled_process_writes_the_rest(home: Home, mock_clock: MockClock) -> None:
    """At every step of the flush: before its time, as it begins, and in its middle."""
    for steps in range(6):
        usage = home.usage()
        with usage.open():
            async with trio.open_nursery() as nursery:
                nursery.start_soon(usage.run)
                await wait_all_tasks_blocked()
                await spend(usage, A, 1)
                mock_clock.jump(FLUSH_SECONDS)
                for _ in range(steps):
                    await trio.lowlevel.checkpoint()
                nursery.cancel_scope.cancel()
        assert home.settled() == {A: steps + 1}


async def test_a_flush_that_waits_for_a_thread_is_not_lost(
    home: Home, mock_clock: MockClock
) -> None:
    usage, busy = home.usage(), [object() for _ in range(100)]
    threads = trio.to_thread.current_default_thread_limiter()
    with usage.open():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(usage.run)
            await spend(usage, A, 5)
            await wait_all_tasks_blocked()
            busy = busy[: int(threads.available_tokens)]
            for borrower in busy:
                threads.acquire_on_behalf_of_nowait(borrower)
            mock_clock.jump(FLUSH_SECONDS)
            await wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
            for borrower in busy:
                threads.release_on_behalf_of(borrower)
    assert home.settled() == {A: 5}


async def test_a_disk_that_fails_is_said_once_and_counting_goes_on(
    home: Home, mock_clock: MockClock
) -> None:
    usage, away = home.usage(), home.path.with_name("away")
    with usage.open():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(usage.run)
            for times in (1, 2):
                home.path.rename(away)
                await spend(usage, A, 100)
                await flush_until(mock_clock, partial(home.has_said, times))
                await pass_flushes(mock_clock, 3)
                away.rename(home.path)
                await flush_until(mock_clock, partial(home.has_settled, 100 * times))
            nursery.cancel_scope.cancel()
    assert len(home.said) == 2
    assert "usage is kept in memory only" in home.said[0]
    assert "No such file" in home.said[0]


async def test_counting_goes_on_while_a_thread_writes(home: Home) -> None:
    """A window that changes while it is copied is an error in Python; so no thread copies one."""
    rate = RateLimit((RateRule(10**9, 0, 1.0, "sliding"),))
    now = NOW
    usage = ProcessUsage(home.path, pytest.fail, lambda: now)
    interval = sys.getswitchinterval()
    with usage.open():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(usage.run)
            sys.setswitchinterval(1e-6)
            try:
                deadline = time.monotonic() + DEADLINE_SECONDS
                while home.path.stat().st_size < 60_000:  # the third flush
                    assert time.monotonic() < deadline
                    now += 0.001  # a step of the window: one begins, one leaves it
                    await spend(usage, A, 0, rate)
                    await trio.lowlevel.checkpoint()
            finally:
                sys.setswitchinterval(interval)
            nursery.cancel_scope.cancel()


def many_accounts(home: Home, count: int) -> int:
    """A file with accounts of 100 KB each, by the name of one of their budgets; its size."""
    state = {"settled": {"all": 1, "x" * 100_000: 1}, "windows": {}}
    journal = Journal(home.path, pytest.fail)
    with journal.lock():
        journal.rewrite(Header("f" * 32, 1), [[hash_of(n), state] for n in range(count)])
    return journal.size


async def test_a_file_that_grew_is_rewritten(home: Home, mock_clock: MockClock) -> None:
    count = 20
    begun = many_accounts(home, count)
    usage = home.usage()
    sizes = [begun]
    with usage.open():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(usage.run)
            while sizes == sorted(sizes):
                for number in range(count):
                    await spend(usage, hash_of(number), 1)
                due = partial(home.has_settled, len(sizes) + 1, A, sizes[-1])
                await flush_until(mock_clock, due)
                sizes.append(home.path.stat().st_size)
            nursery.cancel_scope.cancel()
    assert REWRITE_BYTES < sizes[-2] < REWRITE_BYTES + 2 * begun
    assert sizes[-1] < 2 * begun
    assert home.settled() == {hash_of(n): len(sizes) for n in range(count)}
    with home.usage().open():
        pass


async def test_a_file_that_is_large_in_itself_is_not_rewritten_each_time(
    home: Home, mock_clock: MockClock
) -> None:
    begun = many_accounts(home, 90)
    assert begun > REWRITE_BYTES
    usage = home.usage()
    with usage.open():
        inode = home.path.stat().st_ino
        async with trio.open_nursery() as nursery:
            nursery.start_soon(usage.run)
            for times in (2, 3):
                await spend(usage, A, 1)
                size = home.path.stat().st_size
                await flush_until(mock_clock, partial(home.has_settled, times, A, size))
            nursery.cancel_scope.cancel()
        assert home.path.stat().st_ino == inode
        assert begun < home.path.stat().st_size < begun * 1.1
