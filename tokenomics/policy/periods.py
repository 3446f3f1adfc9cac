"""When the period of a budget begins and ends. Pure."""

from __future__ import annotations

import math
from datetime import datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

TOTAL = "total"
PERIODS = (TOTAL, "hour", "day", "week", "month")


def period_at(period: str, timezone: str, moment: float) -> tuple[float, float]:
    """The period that holds `moment`, as epoch seconds: from, and up to but not including.

    A day begins at midnight, a week on Monday, a month on the first, as clocks in `timezone` (an
    IANA name) have them; an hour when their minutes are 0. A total has neither beginning nor end.
    """
    if period == TOTAL:
        return -math.inf, math.inf
    zone = _zone(timezone)
    moment = math.floor(moment)  # datetime would round the last half microsecond up to the next day
    if period == "hour":
        return _hour(zone, moment)
    local = datetime.fromtimestamp(moment, zone)
    first = local.replace(hour=0, minute=0, second=0, microsecond=0, fold=0)
    if period == "week":
        first -= timedelta(days=first.weekday())
    elif period == "month":
        first = first.replace(day=1)
    return first.timestamp(), _next(period, first).timestamp()


def _hour(zone: ZoneInfo, moment: float) -> tuple[float, float]:
    """By seconds: where clocks are set back, an hour comes twice. Where they are set by half an
    hour (Lord Howe), one lasts an hour and a half."""
    full = set()
    for offset in {_offset(zone, moment + seconds) for seconds in (-7200, 0, 7200)}:
        last = math.floor((moment + offset) / 3600) * 3600 - offset
        near = (last + seconds for seconds in (-3600, 0, 3600, 7200))
        full |= {time for time in near if _offset(zone, time) == offset}
    return max(t for t in full if t <= moment), min(t for t in full if t > moment)


def _offset(zone: ZoneInfo, moment: float) -> float:
    """Seconds that clocks are ahead of UTC."""
    return (datetime.fromtimestamp(moment, zone).utcoffset() or timedelta()).total_seconds()


def _next(period: str, first: datetime) -> datetime:
    if period == "month":
        return (first + timedelta(days=31)).replace(day=1)
    return first + timedelta(days=1 if period == "day" else 7)


@lru_cache(maxsize=64)
def _zone(name: str) -> ZoneInfo:
    return ZoneInfo(name)
