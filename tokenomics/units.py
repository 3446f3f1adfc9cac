"""Durations, expiries, sizes and times: one grammar for config, command line and policies.

A duration is one or more `<number><unit>` with units `ms s m h d w`: "90m", "1d12h", "1.5h".
An expiry is a duration that may also hold calendar years ("1y6d"), an RFC 3339 time, or "never".
"""

from __future__ import annotations

import functools
import re
from datetime import UTC, datetime

SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
BYTES = {"": 1, "b": 1, "kb": 1 << 10, "mb": 1 << 20, "gb": 1 << 30}

_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|[smhdwy])")
_SIZE = re.compile(r"(\d+)\s*([kmg]?b?)", re.IGNORECASE)
# Far beyond any plan, and inside what datetime and every JSON reader can hold.
MAX_SECONDS = 200 * 366 * 86400.0
MAX_EPOCH = datetime(9999, 1, 1, tzinfo=UTC).timestamp()  # the last year that can be written


def _parts(text: str) -> list[tuple[float, str]]:
    parts = _PART.findall(text)
    if not parts or "".join(n + u for n, u in parts) != text:
        raise ValueError(f"{text!r} is not a duration: write 90m, 24h, 7d, 2w or 1d12h")
    return [(float(number), unit) for number, unit in parts]


def parse_duration(text: str) -> float:
    """Seconds of a duration such as "90m" or "1d12h". Raises ValueError with what is allowed."""
    parts = _parts(text)
    if any(unit == "y" for _, unit in parts):
        raise ValueError(f"{text!r}: a year has no fixed length here, write it in days")
    seconds = sum(number * SECONDS[unit] for number, unit in parts)
    if not 0 < seconds <= MAX_SECONDS:
        raise ValueError(f"{text!r} must be more than 0 and less than 200 years")
    return seconds


def _add_years(moment: datetime, years: float) -> datetime:
    if moment.year + years > 9998:
        raise ValueError("that many years are out of range")
    if years != int(years):
        raise ValueError("years must be whole: write 1y, or days")
    try:
        return moment.replace(year=moment.year + int(years))
    except ValueError:  # 29 February to a common year
        return moment.replace(year=moment.year + int(years), month=3, day=1)


def parse_expiry(text: str, now: float) -> float | None:
    """The epoch second at which `text` expires, or None for "never".

    Raises ValueError if it is no expiry or does not lie after `now` (epoch seconds).
    """
    if text in ("never", ""):
        return None
    if re.match(r"\d{4}-", text):
        expires = parse_rfc3339(text)
    else:
        moment = datetime.fromtimestamp(now, UTC)
        rest = 0.0
        for number, unit in _parts(text):
            if unit == "y":
                moment = _add_years(moment, number)
            else:
                rest += number * SECONDS[unit]
        expires = moment.timestamp() + rest
    if expires <= now:
        raise ValueError(f"{text!r} is not in the future")
    if expires >= MAX_EPOCH:
        raise ValueError(f"{text!r} is after the year 9998: write never")
    return expires


def parse_rfc3339(text: str) -> float:
    """Epoch seconds of an RFC 3339 time; a zone is required. Raises ValueError."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{text!r} is not an RFC 3339 time such as 2027-01-31T12:00:00Z") from None
    if moment.tzinfo is None:
        raise ValueError(f"{text!r} has no time zone: add Z or +01:00")
    return moment.timestamp()


def rfc3339(epoch: float) -> str:
    """`2026-11-23T08:46:38Z`, to the second, as the Go original writes times."""
    return datetime.fromtimestamp(epoch, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def rfc3339_micros(epoch: float) -> str:
    """The same with microseconds, for events and logs."""
    seconds, micros = divmod(round(epoch * 1_000_000), 1_000_000)
    return f"{_second(seconds)}.{micros:06d}Z"


@functools.lru_cache(maxsize=64)  # a log has thousands of lines a second
def _second(epoch: int) -> str:
    return rfc3339(epoch)[:-1]


def parse_size(text: str) -> int:
    """Bytes of "32mb", "64kb" or a plain number. Raises ValueError."""
    match = _SIZE.fullmatch(text.strip())
    if not match:
        raise ValueError(f"{text!r} is not a size: write 64kb, 32mb or a number of bytes")
    unit = match[2].lower()
    return int(match[1]) * BYTES[unit if unit in BYTES else unit + "b"]
