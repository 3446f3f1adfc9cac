"""Where periods begin and end, in zones that make it hard."""

from __future__ import annotations

import math
from datetime import datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tokenomics.policy.periods import PERIODS, TOTAL, period_at

ZONES = (
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "America/Havana",  # midnight comes twice
    "America/Sao_Paulo",
    "Africa/Cairo",  # midnight is skipped
    "Asia/Kolkata",
    "Asia/Kathmandu",
    "Australia/Lord_Howe",  # clocks are set by half an hour
    "Pacific/Apia",
    "Pacific/Chatham",
    "Pacific/Kiritimati",
)
NOT_TOTAL = PERIODS[1:]
# The longest a period lasts: an hour at Lord Howe, a day and a week with an hour twice.
MOST_SECONDS = {"hour": 5400, "day": 25 * 3600, "week": 169 * 3600, "month": 31 * 86400 + 3600}


def at(text: str, zone: str, fold: int = 0) -> float:
    """The moment at which clocks in a zone show a time."""
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone), fold=fold).timestamp()


def test_a_total_never_begins_or_ends() -> None:
    assert period_at(TOTAL, "Europe/Berlin", 1e9) == (-math.inf, math.inf)


@pytest.mark.parametrize(
    ("zone", "period", "moment", "start", "end"),
    [
        ("UTC", "hour", "2026-03-01T10:59:59.9", "2026-03-01T10:00", "2026-03-01T11:00"),
        ("UTC", "day", "2026-03-01T00:00", "2026-03-01", "2026-03-02"),
        ("UTC", "week", "2026-03-01T12:00", "2026-02-23", "2026-03-02"),  # a Sunday
        ("UTC", "week", "2026-03-02T00:00", "2026-03-02", "2026-03-09"),
        ("UTC", "month", "2024-02-29T23:59", "2024-02-01", "2024-03-01"),
        ("UTC", "month", "2025-12-31T23:59", "2025-12-01", "2026-01-01"),
        ("UTC", "month", "2026-01-31T00:00", "2026-01-01", "2026-02-01"),
        ("Asia/Kolkata", "hour", "2026-05-05T10:15", "2026-05-05T10:00", "2026-05-05T11:00"),
        ("Europe/Berlin", "day", "2026-03-29T12:00", "2026-03-29", "2026-03-30"),  # 23 hours
        ("Europe/Berlin", "day", "2026-10-25T12:00", "2026-10-25", "2026-10-26"),  # 25 hours
        ("Europe/Berlin", "month", "2026-03-31T12:00", "2026-03-01", "2026-04-01"),
        ("America/New_York", "week", "2026-11-01T12:00", "2026-10-26", "2026-11-02"),
        # No midnight on that day: it begins at one.
        ("America/Sao_Paulo", "day", "2018-11-04T05:00", "2018-11-04T01:00", "2018-11-05"),
        ("America/Sao_Paulo", "day", "2018-11-03T05:00", "2018-11-03", "2018-11-04T01:00"),
        ("Africa/Cairo", "day", "2024-04-26T05:00", "2024-04-26T01:00", "2024-04-27"),
        ("Africa/Cairo", "day", "2024-04-25T23:30", "2024-04-25", "2024-04-26T01:00"),
        ("Africa/Cairo", "day", "2024-10-31T23:30", "2024-10-31", "2024-11-01"),
        # Midnight comes twice: the day begins at the first.
        ("America/Havana", "day", "2026-11-01T12:00", "2026-11-01T00:00", "2026-11-02"),
        # The 30th of December 2011 never was.
        ("Pacific/Apia", "day", "2011-12-29T12:00", "2011-12-29", "2011-12-31"),
        ("Pacific/Apia", "day", "2011-12-31T12:00", "2011-12-31", "2012-01-01"),
        ("Pacific/Apia", "week", "2011-12-31T12:00", "2011-12-26", "2012-01-02"),
        ("Pacific/Apia", "month", "2011-12-31T12:00", "2011-12-01", "2012-01-01"),
    ],
)
def test_a_period_holds_what_clocks_show(
    zone: str, period: str, moment: str, start: str, end: str
) -> None:
    found = period_at(period, zone, at(moment, zone))
    assert found == (at(start, zone), at(end, zone))


def test_an_hour_that_comes_twice_is_two_periods() -> None:
    first = period_at("hour", "Europe/Berlin", at("2026-10-25T02:30", "Europe/Berlin"))
    second = period_at("hour", "Europe/Berlin", at("2026-10-25T02:30", "Europe/Berlin", fold=1))
    assert first[1] == second[0]
    assert [end - start for start, end in (first, second)] == [3600, 3600]


@pytest.mark.parametrize(
    ("moment", "fold", "start"),
    [
        ("2026-04-05T01:15", 0, "2026-04-05T01:00"),  # shown until half past one comes again
        ("2026-04-05T01:45", 0, "2026-04-05T01:00"),
        ("2026-04-05T01:45", 1, "2026-04-05T01:00"),
        ("2026-10-04T01:45", 0, "2026-10-04T01:00"),  # two o'clock is skipped
        ("2026-10-04T02:45", 0, "2026-10-04T01:00"),
    ],
)
def test_where_clocks_are_set_by_half_an_hour_one_lasts_longer(
    moment: str, fold: int, start: str
) -> None:
    zone = "Australia/Lord_Howe"
    begun = at(start, zone)
    assert period_at("hour", zone, at(moment, zone, fold)) == (begun, begun + 5400)


@settings(max_examples=300)
@given(
    moment=st.floats(at("2020-01-01", "UTC"), at("2036-01-01", "UTC")),
    zone=st.sampled_from(ZONES),
    period=st.sampled_from(NOT_TOTAL),
)
@example(at("2026-04-05T01:45", "Australia/Lord_Howe"), "Australia/Lord_Howe", "hour")
@example(2082758399.9999998, "UTC", "day")
def test_periods_tile_time(moment: float, zone: str, period: str) -> None:
    start, end = period_at(period, zone, moment)
    assert start <= moment < end <= start + MOST_SECONDS[period]
    assert start == int(start)
    assert end == int(end)
    for inside in (start, end - 0.001):
        assert period_at(period, zone, inside) == (start, end)
    assert period_at(period, zone, end)[0] == end
    assert period_at(period, zone, start - 0.001)[1] == start


@pytest.mark.parametrize("period", NOT_TOTAL)
@pytest.mark.parametrize("zone", ZONES)
def test_periods_tile_the_days_on_which_clocks_are_set(zone: str, period: str) -> None:
    """Hour by hour through the changes of a year, from the end of one period to the next."""
    for day in changes(zone):
        now, last = day, day + 2 * 86400
        while now < last:
            start, end = period_at(period, zone, now)
            assert start <= now < end
            if now > day:
                assert start == now
            now = end


def changes(zone: str) -> list[float]:
    """The days of 2026 before clocks in a zone are set."""
    begun = at("2026-01-01", "UTC")
    days = [begun + 86400 * number for number in range(366)]
    offsets = [datetime.fromtimestamp(day, ZoneInfo(zone)).utcoffset() for day in days]
    return [days[i] for i in range(365) if offsets[i] != offsets[i + 1]]
