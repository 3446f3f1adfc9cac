"""Accounts in a process: what survives it, who owns the file."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.store.stores import child, disk_ends_at, line_of
from tests.usage.homes import BUDGET, NOW, ONE, RATE, A, B, Home, spend, spent
from tests.usage.kills import SPENDER
from tokenomics.errors import Failed, Invalid, Refused
from tokenomics.policy.limits import Denied, Lease, Want
from tokenomics.store.journal import Header, Journal
from tokenomics.usage.process import ProcessUsage

# Surviving


async def test_accounts_survive_a_restart(home: Home) -> None:
    usage = home.usage()
    with usage.open():
        await spend(usage, A, 600, RATE)
        await spend(usage, B, 7)
    usage = home.usage()
    with usage.open():
        assert spent(usage, A) == {"all": 600}
        assert spent(usage, B) == {"all": 7}
        denied = await usage.admit(A, BUDGET, Want(500, 0))
        assert isinstance(denied, Denied)
        assert denied.code == "insufficient_quota"


async def test_windows_survive_a_restart(home: Home) -> None:
    for _ in range(3):
        usage = home.usage()
        with usage.open():
            await spend(usage, A, 1, RATE)
    usage = home.usage()
    with usage.open():
        denied = await usage.admit(A, RATE, Want(1, 0))
        assert isinstance(denied, Denied)
        assert denied.code == "rate_limit_exceeded"


async def test_what_ran_when_the_process_ended_holds_nothing(home: Home) -> None:
    usage = home.usage()
    with usage.open():
        await usage.admit(A, ONE, Want(1000, 0))
    usage = home.usage()
    with usage.open():
        assert (usage.account(A).dump()["held"], usage.account(A).parallel) == ({}, 0)
        lease = await usage.admit(A, ONE, Want(1000, 0))
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
        [A, {"budgets": [], "windows": {}}],
        [A, {"budgets": {"all": ["many", None]}, "windows": {}}],
        [A, {"budgets": {"all": 5}, "windows": {}}],
        [A, {"budgets": {"all": [5]}, "windows": {}}],
        [A, {"budgets": {"all": [5, "never"]}, "windows": {}}],
        [A, {"budgets": {}, "windows": {"tokens/60/sliding": [60.0]}}],
        [A, {"budgets": {}, "windows": {"tokens/60/sliding": [60.0, False, [[]]]}}],
        [A, {"budgets": {}, "windows": {"tokens/60/sliding": [60.0, False, [7]]}}],
    ],
    ids=str,
)
def test_an_account_that_cannot_be_read_is_named(home: Home, row: object) -> None:
    journal = Journal(home.path, pytest.fail)
    with journal.lock():
        journal.rewrite(Header("f" * 32, 1), [[B, {"budgets": {}, "windows": {}}], row])
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
