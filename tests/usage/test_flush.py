"""Accounts in a process: when their file is written."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from functools import partial

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from tests.store.stores import DEADLINE_SECONDS, hash_of
from tests.usage.homes import A, B, Home, SetClock, reach, spend
from tokenomics.policy.meters import REQUESTS, Limit, Limits
from tokenomics.store.journal import Header, Journal
from tokenomics.usage.journalled import FLUSH_SECONDS, REWRITE_BYTES
from tokenomics.usage.process import ProcessUsage

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
    rate = Limits(each=[Limit("rate", "requests/1/sliding", REQUESTS, 10**9, 1.0)])
    clock = SetClock()
    usage = ProcessUsage(home.path, pytest.fail, clock)
    interval = sys.getswitchinterval()
    with usage.open():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(usage.run)
            sys.setswitchinterval(1e-6)
            try:
                deadline = time.monotonic() + DEADLINE_SECONDS
                while home.path.stat().st_size < 60_000:  # the third flush
                    assert time.monotonic() < deadline
                    clock.steady_now += 0.001  # a step of the window: one begins, one leaves it
                    await spend(usage, A, 0, rate)
                    await trio.lowlevel.checkpoint()
            finally:
                sys.setswitchinterval(interval)
            nursery.cancel_scope.cancel()


def many_accounts(home: Home, count: int) -> int:
    """A file with accounts of 100 KB each, by the name of one of their budgets; its size."""
    state = {"budgets": {"all": [1, None], "x" * 100_000: [1, None]}, "windows": {}}
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
