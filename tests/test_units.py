"""Durations, expiries, sizes and times."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenomics import units

DAY = 86400.0
NOW = datetime(2026, 11, 23, 8, 46, 38, tzinfo=UTC).timestamp()


def at(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("250ms", 0.25),
        ("30s", 30),
        ("90m", 5400),
        ("24h", DAY),
        ("7d", 7 * DAY),
        ("2w", 14 * DAY),
        ("1d12h", 1.5 * DAY),
        ("1.5h", 5400),
        ("1m1ms", 60.001),
    ],
)
def test_a_duration_is_its_parts_added_up(text: str, seconds: float) -> None:
    assert units.parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "is not a duration"),
        ("30", "is not a duration"),
        ("h", "is not a duration"),
        ("-1h", "is not a duration"),
        ("1h ", "is not a duration"),
        ("1 h", "is not a duration"),
        ("1H", "is not a duration"),
        (".5h", "is not a duration"),
        ("1h30", "is not a duration"),
        ("forever", "is not a duration"),
        ("1y", "no fixed length"),
        ("0s", "more than 0"),
        ("201y", "no fixed length"),
        ("80000d", "less than 200 years"),
        ("9" * 400 + "d", "less than 200 years"),
    ],
)
def test_what_is_no_duration_is_refused_with_the_reason(text: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        units.parse_duration(text)


@pytest.mark.parametrize(
    ("text", "expires"),
    [
        ("90m", "2026-11-23T10:16:38Z"),
        ("1d12h", "2026-11-24T20:46:38Z"),
        ("1y", "2027-11-23T08:46:38Z"),
        ("2y", "2028-11-23T08:46:38Z"),
        ("1y1d", "2027-11-24T08:46:38Z"),
        ("1d1y", "2027-11-24T08:46:38Z"),
        ("2027-01-31T12:00:00Z", "2027-01-31T12:00:00Z"),
        ("2027-01-31T12:00:00+01:00", "2027-01-31T11:00:00Z"),
    ],
)
def test_an_expiry_counts_from_now_by_the_calendar(text: str, expires: str) -> None:
    assert units.parse_expiry(text, NOW) == at(expires)


@pytest.mark.parametrize("text", ["never", ""])
def test_never_is_no_expiry(text: str) -> None:
    assert units.parse_expiry(text, NOW) is None


@pytest.mark.parametrize(
    ("years", "expires"),
    [("1y", "2029-03-01T00:00:00Z"), ("4y", "2032-02-29T00:00:00Z")],
    ids=["a common year", "a leap year"],
)
def test_a_year_from_29_february_stays_in_the_calendar(years: str, expires: str) -> None:
    assert units.parse_expiry(years, at("2028-02-29T00:00:00Z")) == at(expires)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("2026-11-23T08:46:38Z", "not in the future"),
        ("2020-01-01T00:00:00Z", "not in the future"),
        ("0d", "not in the future"),
        ("0y", "not in the future"),
        ("2027-01-31T12:00:00", "has no time zone"),
        ("2027-13-31T12:00:00Z", "not an RFC 3339 time"),
        ("tomorrow", "is not a duration"),
        ("1.5y", "must be whole"),
        ("9000y", "out of range"),
        ("9" * 400 + "y", "out of range"),
        ("7972y200w", "after the year 9998"),
        ("999999w", "after the year 9998"),
        ("9" * 400 + "d", "after the year 9998"),
        ("9999-12-31T23:59:59-14:00", "after the year 9998"),
    ],
)
def test_what_is_no_expiry_is_refused_with_the_reason(text: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        units.parse_expiry(text, NOW)


PARTS = st.tuples(
    st.integers(0, 10**12) | st.floats(0, 1e6).map(lambda f: round(f, 3)),
    st.sampled_from(["ms", "s", "m", "h", "d", "w", "y"]),
)


@given(st.lists(PARTS, min_size=1, max_size=4))
def test_an_accepted_expiry_lies_ahead_and_can_be_written(parts: list[tuple[float, str]]) -> None:
    try:
        expires = units.parse_expiry("".join(f"{n}{unit}" for n, unit in parts), NOW)
    except ValueError:
        return
    assert expires is not None
    assert expires > NOW
    assert units.parse_rfc3339(units.rfc3339(expires)) == pytest.approx(expires, abs=1)


@given(st.text(alphabet="0123456789.smhdwyMS -T:Z+", max_size=24))
def test_no_text_breaks_a_parser(text: str) -> None:
    for parse in (units.parse_duration, units.parse_size, lambda t: units.parse_expiry(t, NOW)):
        with contextlib.suppress(ValueError):
            parse(text)


@given(st.integers(0, 253_370_764_800))
def test_times_are_read_back_as_written(epoch: int) -> None:
    assert units.parse_rfc3339(units.rfc3339(epoch)) == epoch


def test_times_are_written_in_utc_to_the_second_or_the_microsecond() -> None:
    assert units.rfc3339(NOW + 0.9) == "2026-11-23T08:46:38Z"
    assert units.rfc3339_micros(NOW + 0.25) == "2026-11-23T08:46:38.250000Z"


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("65536", 65536),
        ("0", 0),
        ("1b", 1),
        ("64kb", 64 << 10),
        ("64k", 64 << 10),
        ("32MB", 32 << 20),
        ("32 mb", 32 << 20),
        (" 2g ", 2 << 30),
    ],
)
def test_a_size_is_bytes_by_powers_of_1024(text: str, size: int) -> None:
    assert units.parse_size(text) == size


@pytest.mark.parametrize("text", ["", "mb", "-1", "1.5mb", "1tb", "1kib", "1 k b", "1e3"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a size"):
        units.parse_size(text)
