"""Accounts that several real processes share: exact, whoever dies when."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import trio

from tokenomics.policy.limits import Denied, Lease, Want
from tokenomics.policy.model import RateLimit, RateRule
from tokenomics.policy.route import Budget
from tokenomics.usage.process import ProcessUsage
from tokenomics.usage.shared import Accounts, ParentUsage, SharedUsage, create

HASH = "ab" * 32
WORKERS = 4
RULE = RateLimit((RateRule(50, 0, 3600.0, "sliding"),))
BUDGETS = (Budget("total", 1000),)


@pytest.fixture
def memory() -> Iterator[int]:
    descriptor = create(WORKERS)
    yield descriptor
    os.close(descriptor)


def silent(message: str) -> None:
    pytest.fail(message)


def fork(job: Callable[[], int]) -> int:
    """Run a job in a process of its own, whose exit status is what it returns."""
    pid = os.fork()
    if pid == 0:
        status = 99
        try:
            status = job()
        finally:
            os._exit(status)
    return pid


def ended(pids: list[int]) -> list[int]:
    """The exit statuses of processes."""
    return [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids]


def worker(memory: int, number: int) -> SharedUsage:
    return SharedUsage(memory, number, WORKERS)


def admitted(memory: int, number: int, tries: int, rate: RateLimit, want: Want) -> int:
    """How many of some requests a worker may begin; each costs what it held."""

    async def main() -> int:
        usage, found = worker(memory, number), 0
        for _ in range(tries):
            lease = await usage.admit(HASH, rate, BUDGETS, want)
            if isinstance(lease, Lease):
                found += 1
                await usage.settle(HASH, lease, lease.tokens)
        return found

    return trio.run(main)


def test_a_rate_holds_over_processes_that_count_at_once(memory: int) -> None:
    want = Want(1, 1)
    pids = [fork(lambda n=n: admitted(memory, n, 40, RULE, want)) for n in range(WORKERS)]
    assert sum(ended(pids)) == 50


def test_a_budget_does_not_overshoot(memory: int) -> None:
    want = Want(10, 20)
    pids = [fork(lambda n=n: admitted(memory, n, 60, RateLimit(), want)) for n in range(WORKERS)]
    passed = sum(ended(pids))
    accounts = Accounts(memory, 0, WORKERS)
    account = accounts.account(accounts.place(HASH))
    assert account.spent("total") == account.used("total") <= 1000
    assert passed >= 1000 // 30


async def hold(usage: SharedUsage, count: int, most: int) -> int:
    """Begin requests that do not end; how many."""
    rate, leases = RateLimit((), max_parallel=most), []
    for _ in range(count):
        leases.append(await usage.admit(HASH, rate, BUDGETS, Want(10, 90)))
    return sum(isinstance(lease, Lease) for lease in leases)


def test_parallel_requests_are_counted_over_processes(memory: int) -> None:
    pids = [fork(lambda n=n: trio.run(hold, worker(memory, n), 3, 7)) for n in range(WORKERS)]
    assert sum(ended(pids)) == 7


def started(job: Callable[[], None]) -> int:
    """A process that has done its job, and then waits to be killed."""
    reader, writer = os.pipe()

    def all_of_it() -> int:
        job()
        os.write(writer, b"x")
        signal.pause()
        return 0

    pid = fork(all_of_it)
    os.close(writer)
    assert os.read(reader, 1) == b"x"
    os.close(reader)
    return pid


def killed(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
    assert ended([pid]) == [-signal.SIGKILL]


def test_what_a_killed_worker_held_is_given_back(memory: int, tmp_path: Path) -> None:
    pid = started(lambda: trio.run(hold, worker(memory, 1), 4, 9) and None)
    mine = worker(memory, 2)
    assert trio.run(hold, mine, 1, 9) == 1
    large = (HASH, RateLimit(), BUDGETS, Want(100, 500))
    assert isinstance(trio.run(mine.admit, *large), Denied)
    killed(pid)
    assert isinstance(trio.run(mine.admit, *large), Denied)
    ParentUsage(tmp_path / "usage", memory, WORKERS, silent).release(1)
    assert isinstance(trio.run(mine.admit, *large), Lease)


def test_who_dies_under_a_lock_holds_up_nobody(memory: int) -> None:
    def lock() -> None:
        accounts = Accounts(memory, 0, WORKERS)
        accounts.locked(accounts.place(HASH)).__enter__()

    killed(started(lock))
    assert trio.run(hold, worker(memory, 1), 1, 9) == 1


async def test_the_journal_is_that_of_a_single_process(memory: int, tmp_path: Path) -> None:
    """What was counted by one home is known to the other after a restart."""
    path = tmp_path / "usage"
    with ParentUsage(path, memory, WORKERS, silent).open():
        usage = worker(memory, 1)
        lease = await usage.admit(HASH, RULE, BUDGETS, Want(10, 20))
        assert isinstance(lease, Lease)
        await usage.settle(HASH, lease, 25)
    alone = ProcessUsage(path, silent)
    with alone.open():
        assert alone.account(HASH).settled == {"total": 25}
        lease = await alone.admit(HASH, RULE, BUDGETS, Want(10, 20))
        assert isinstance(lease, Lease)
        await alone.settle(HASH, lease, 15)
    fresh = create(WORKERS)
    with ParentUsage(path, fresh, WORKERS, silent).open():
        accounts = Accounts(fresh, 3, WORKERS)
        account = accounts.account(accounts.place(HASH))
        assert account.spent("total") == 40
        assert account.window("requests/3600/sliding", 3600.0, fixed=False).total == 2
    os.close(fresh)


async def test_changes_are_written_while_workers_count(
    memory: int, tmp_path: Path, nursery: trio.Nursery, autojump_clock: object
) -> None:
    path = tmp_path / "usage"
    parent = ParentUsage(path, memory, WORKERS, silent)
    with parent.open():
        nursery.start_soon(parent.run)
        assert await hold(worker(memory, 1), 1, 9) == 1
        before = path.stat().st_size
        while path.stat().st_size == before:  # noqa: ASYNC110  files have no Event
            await trio.sleep(0.1)
        nursery.cancel_scope.cancel()
