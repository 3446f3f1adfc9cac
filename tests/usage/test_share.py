"""What one proxy remembers of what all have spent, and its part of limits while it is alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.usage.homes import NOW, A, B, Home, SetClock, spend
from tokenomics.policy.limits import Bill, Denied, Lease, Want
from tokenomics.policy.meters import COST, REQUESTS, TOKENS, Due, Limit, Limits
from tokenomics.usage.process import ProcessUsage
from tokenomics.usage.share import DATABASE, Share

TOTAL = Limit("total", "total", TOKENS, 1000, warn_at=(0.1,))
HOUR = Limit("hour", "hour/UTC", COST, 1000, period="hour")
RATE = Limit("rate", "rate", REQUESTS, 90, 60.0)
LIMITS = Limits(5, [TOTAL, HOUR, RATE])


@pytest.fixture
def share(tmp_path: Path) -> Share:
    return Share(tmp_path / "usage", pytest.fail, SetClock())


def due(limit: Limit) -> Due:
    (found,) = Limits(each=[limit]).due(NOW)
    return found


async def most(share: Share) -> dict[str, int]:
    """What it enforces of each limit."""
    lease = await share.admit(A, LIMITS, Want(0, 0))
    assert isinstance(lease, Lease)
    found = {hold.due.limit.name: hold.due.limit.most for hold in lease.holds}
    await share.settle(A, lease, Bill())
    return found


async def test_the_only_proxy_enforces_limits_as_they_are(share: Share) -> None:
    assert await most(share) == {"total": 1000, "hour": 1000, "rate": 90}


async def test_of_several_each_has_its_part_of_what_was_left(share: Share) -> None:
    share.proxies = 3
    share.remember(A, due(TOTAL), 400)
    assert await most(share) == {"total": 600, "hour": 333, "rate": 30}
    await spend(share, A, 90, Limits(each=[TOTAL]))
    assert (await most(share))["total"] == 600, "of what was left when it got alone"
    share.forget_absence()
    assert (await most(share))["total"] == 660


async def test_a_part_is_one_at_least(share: Share) -> None:
    share.proxies = 50
    assert (await most(share))["rate"] == 1
    lease = await share.admit(B, LIMITS, Want(0, 0))
    assert isinstance(lease, Lease)
    denied = await share.trial(B, LIMITS, Want(0, 0))
    assert isinstance(denied, Denied)
    assert (denied.code, denied.limit) == ("too_many_parallel", 1)


async def test_nobody_is_warned_of_a_part(share: Share) -> None:
    for proxies, warned in ((2, 0), (1, 1)):
        share.proxies = proxies
        lease = await share.admit(A, LIMITS, Want(60, 0))
        assert isinstance(lease, Lease)
        assert len(await share.settle(A, lease, Bill(60))) == warned


async def test_what_was_spent_alone_is_not_what_the_database_knew(share: Share) -> None:
    share.remember(A, due(TOTAL), 400)
    lease = await share.admit(A, LIMITS, Want(60, 0))
    assert isinstance(lease, Lease)
    await share.settle(A, lease, Bill(60, 9))
    assert list(share.remembered()) == [(A, [["total", 400, 0]])]
    share.remember(A, due(TOTAL), 410)  # another proxy's, before ours is told
    assert share.account(A).settled["total"] == 470
    dues = [hold.due for hold in lease.holds]
    share.told(A, dues, Bill(60, 9))
    share.remember(A, due(TOTAL), 470)
    assert share.account(A).settled["total"] == 470
    hour = due(HOUR)
    expected = [["total", 470, 0], [hour.key, 9, hour.ends]]
    assert list(share.remembered()) == [(A, expected)]


async def test_what_is_remembered_never_gets_less(share: Share) -> None:
    for spent in (400, 300):
        share.remember(A, due(TOTAL), spent)
    assert share.account(A).settled["total"] == 400


def test_periods_that_are_over_are_not_remembered(tmp_path: Path) -> None:
    clock = SetClock()
    share = Share(tmp_path / "usage", pytest.fail, clock)
    share.remember(A, due(HOUR), 400)
    assert list(share.remembered())
    clock.wall_now += 3600
    assert not list(share.remembered())


def test_the_journal_names_the_database_and_others_can_read_it(home: Home) -> None:
    share = Share(home.path, home.said.append, SetClock())
    with share.open():
        share.database = "a database"
        share.remember(A, due(TOTAL), 400)
    again = Share(home.path, home.said.append, SetClock())
    with again.open():
        assert again.database == "a database"
        assert list(again.remembered()) == [(A, [["total", 400, 0]])]
    alone = ProcessUsage(home.path, home.said.append, SetClock())
    with alone.open():
        assert alone.account(A).settled == {"total": 400}
        assert alone.account(DATABASE).settled == {}
