"""Accounts that several real processes share: exact, whoever dies when."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import trio

from tokenomics.errors import Invalid
from tokenomics.policy.flat import MAX_BUDGETS
from tokenomics.policy.limits import Bill, Denied, Lease, Want
from tokenomics.policy.meters import COST, REQUESTS, TOKENS, Limit, Limits
from tokenomics.store.journal import Header, Journal
from tokenomics.usage.process import ProcessUsage
from tokenomics.usage.shared import Accounts, ParentUsage, SharedUsage, create

HASH = "ab" * 32
WORKERS = 4
RATE = Limit("rate", "requests/3600/sliding", REQUESTS, 50, 3600.0)
TOTAL = Limit("total", "total", TOKENS, 1000)
MONEY = Limit("money", "money", COST, 1000)
BUDGET = Limits(each=[TOTAL, MONEY])
RULE = Limits(each=[RATE, TOTAL])


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


def admitted(memory: int, number: int, tries: int, limits: Limits, want: Want) -> int:
    """How many of some requests a worker may begin; each costs what it held."""

    async def main() -> int:
        usage, found = worker(memory, number), 0
        for _ in range(tries):
            lease = await usage.admit(HASH, limits, want)
            if isinstance(lease, Lease):
                found += 1
                await usage.settle(HASH, lease, Bill(*held(lease)))
        return found

    return trio.run(main)


def held(lease: Lease) -> tuple[int, int]:
    """Tokens and cost that a lease holds."""
    want = lease.want
    return want.input + lease.output, want.input_cost + want.output_cost * lease.output


def counted(memory: int, limit: Limit) -> tuple[float, float]:
    """What a limit has counted, and what of it is held."""
    accounts = Accounts(memory, 0, WORKERS)
    (due,) = Limits(each=[limit]).due(0.0)
    history = accounts.account(accounts.place(HASH)).history(due, 0.0)
    return history.total, history.held


def test_a_rate_holds_over_processes_that_count_at_once(memory: int) -> None:
    want = Want(1, 1)
    pids = [fork(lambda n=n: admitted(memory, n, 40, RULE, want)) for n in range(WORKERS)]
    assert sum(ended(pids)) == 50


def test_a_budget_does_not_overshoot(memory: int) -> None:
    want = Want(10, 20, input_cost=3, output_cost=1)
    pids = [fork(lambda n=n: admitted(memory, n, 60, BUDGET, want)) for n in range(WORKERS)]
    passed = sum(ended(pids))
    (tokens, running), (cost, _) = counted(memory, TOTAL), counted(memory, MONEY)
    assert (tokens, cost, running) == (30 * passed, 23 * passed, 0)
    assert passed == 1000 // 30


def flowed(memory: int, number: int) -> int:
    """Streams of a worker that go on until nothing is left; each ends with what it held."""

    async def main() -> int:
        usage, steps = worker(memory, number), 0
        for _ in range(20):
            lease = await usage.admit(HASH, BUDGET, Want(1, None, step=16, output_cost=1))
            if isinstance(lease, Lease):
                while await usage.extend(HASH, lease, 3):
                    steps += 1
                await usage.settle(HASH, lease, Bill(*held(lease)))
        return min(steps, 90)

    return trio.run(main)


def test_streams_of_several_processes_share_a_budget_to_the_last_token(memory: int) -> None:
    pids = [fork(lambda n=n: flowed(memory, n)) for n in range(WORKERS)]
    assert sum(ended(pids)) > 0
    assert counted(memory, TOTAL) == (1000, 0)
    assert counted(memory, MONEY)[0] <= 1000


async def hold(usage: SharedUsage, count: int, most: int) -> int:
    """Begin requests that do not end; how many."""
    limits, leases = Limits(most, BUDGET.each), []
    for _ in range(count):
        leases.append(await usage.admit(HASH, limits, Want(10, 90)))
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
    large = (HASH, BUDGET, Want(100, 500))
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
        lease = await usage.admit(HASH, RULE, Want(10, 20))
        assert isinstance(lease, Lease)
        await usage.settle(HASH, lease, Bill(25))
    alone = ProcessUsage(path, silent)
    with alone.open():
        assert alone.account(HASH).dump()["budgets"] == {"total": [25, None]}
        lease = await alone.admit(HASH, RULE, Want(10, 20))
        assert isinstance(lease, Lease)
        await alone.settle(HASH, lease, Bill(15))
    fresh = create(WORKERS)
    with ParentUsage(path, fresh, WORKERS, silent).open():
        assert counted(fresh, TOTAL) == (40, 0)
        assert counted(fresh, RATE) == (2, 0)
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


async def test_a_move_that_does_not_fit_leaves_a_lease_that_holds_nothing(memory: int) -> None:
    usage = worker(memory, 1)
    lease = await usage.admit(HASH, BUDGET, Want(10, 90))
    assert isinstance(lease, Lease)
    assert isinstance(await usage.move(HASH, lease, BUDGET, Want(1001, 0)), Denied)
    assert counted(memory, TOTAL) == (0, 0)
    await usage.settle(HASH, lease, Bill(7))
    assert counted(memory, TOTAL) == (7, 0)
    with pytest.raises(RuntimeError, match="twice"):
        await usage.settle(HASH, lease, Bill(7))
    assert counted(memory, TOTAL) == (7, 0)


async def test_a_trial_takes_nothing(memory: int) -> None:
    usage = worker(memory, 1)
    assert isinstance(await usage.trial(HASH, BUDGET, Want(10, 90)), Lease)
    assert isinstance(await usage.trial(HASH, BUDGET, Want(1001, 0)), Denied)
    assert counted(memory, TOTAL) == (0, 0)


def test_a_journal_with_more_than_there_are_places_is_named(memory: int, tmp_path: Path) -> None:
    """A process that counts alone may have written it."""
    path = tmp_path / "usage"
    budgets = {f"b{i}": [1, None] for i in range(MAX_BUDGETS + 1)}
    journal = Journal(path, silent)
    with journal.lock():
        journal.rewrite(Header("f" * 32, 1), [[HASH, {"budgets": budgets, "windows": {}}]])
    parent = ParentUsage(path, memory, WORKERS, silent)
    with pytest.raises(Invalid, match="more than 64 budgets"), parent.open():
        pytest.fail("opened")
