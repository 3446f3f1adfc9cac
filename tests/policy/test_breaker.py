"""Circuit breakers: when a place is down, who may probe it, what is said of it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tokenomics.policy.breaker import (
    FAILURES,
    JITTER,
    MAX_OPEN_SECONDS,
    MAX_REFUSED_SECONDS,
    OPEN_SECONDS,
    PROBE_SECONDS,
    REFUSED_SECONDS,
    Breakers,
    Down,
    Place,
    Ticket,
)

HERE = Place("openai", "https://api.openai.com", "OPENAI_API_KEY")
OTHER = HERE._replace(variable="OPENAI_API_KEY_2")


def ask(breakers: Breakers, now: float, place: Place = HERE) -> Ticket:
    ticket = breakers.ask(place, now)
    assert isinstance(ticket, Ticket), ticket
    return ticket


def fail(breakers: Breakers, now: float, times: int = 1, place: Place = HERE) -> Down | None:
    down = None
    for _ in range(times):
        down = breakers.failed(ask(breakers, now, place), now, "status 500", 0.0)
    return down


def test_failures_in_a_row_open_it_and_are_said_once() -> None:
    breakers = Breakers()
    assert fail(breakers, 0, FAILURES - 1) is None
    down = fail(breakers, 7)
    assert down == Down(HERE, 7, 7 + OPEN_SECONDS, "5 failures in a row, the last: status 500")
    assert breakers.ask(HERE, 7 + OPEN_SECONDS - 0.1) == down
    assert isinstance(breakers.ask(OTHER, 7), Ticket)


def test_a_success_between_failures_keeps_it_closed() -> None:
    breakers = Breakers()
    for _ in range(3):
        fail(breakers, 0, FAILURES - 1)
        assert breakers.succeeded(ask(breakers, 0)) is None
    assert breakers.look(HERE, 0) is None


def test_one_probe_at_a_time_and_its_success_closes() -> None:
    breakers = Breakers()
    down = fail(breakers, 0, FAILURES)
    probe = ask(breakers, 6)
    assert breakers.is_probe(probe)
    assert breakers.ask(HERE, 60) == down
    assert breakers.succeeded(probe) == down
    assert breakers.succeeded(ask(breakers, 100)) is None


def test_a_probe_that_learns_nothing_gives_its_place_to_another() -> None:
    breakers = Breakers()
    fail(breakers, 0, FAILURES)
    breakers.dropped(ask(breakers, 6))
    assert breakers.is_probe(ask(breakers, 6))


def test_a_probe_that_takes_long_makes_room_for_another() -> None:
    breakers = Breakers()
    fail(breakers, 0, FAILURES)
    first = ask(breakers, 6)
    second = ask(breakers, 6 + PROBE_SECONDS)
    assert (breakers.is_probe(first), breakers.is_probe(second)) == (False, True)
    assert breakers.succeeded(first) is not None


def test_a_failed_probe_opens_it_for_longer_up_to_a_bound_and_says_nothing() -> None:
    breakers, now = Breakers(), 0.0
    fail(breakers, now, FAILURES)
    waits = []
    for _ in range(6):
        down = breakers.look(HERE, now)
        assert down is not None
        waits.append(down.until - now)
        now = down.until
        assert fail(breakers, now) is None
    assert waits == [5, 10, 20, 40, 60, 60]
    assert waits[-1] == MAX_OPEN_SECONDS
    assert breakers.look(HERE, now) is not None
    assert (breakers.look(HERE, now) or Down(HERE, 1, 1, "")).since == 0


def test_an_answer_that_has_begun_lets_others_ask_and_one_failure_shuts_it_again() -> None:
    breakers = Breakers()
    down = fail(breakers, 0, FAILURES)
    stream = ask(breakers, 6)
    breakers.answered(stream)
    second = ask(breakers, 6)
    assert not breakers.is_probe(second)
    assert breakers.failed(stream, 7, "the stream broke off", 0.0) is None
    assert breakers.look(HERE, 7) is not None
    assert breakers.succeeded(second) is None, "it was asked before that"
    probe = ask(breakers, 18)
    over = breakers.succeeded(probe)
    assert over is not None
    assert down is not None
    assert (over.since, over.place) == (down.since, HERE)


def test_what_was_asked_before_it_opened_has_no_say() -> None:
    breakers = Breakers()
    early = [ask(breakers, 0) for _ in range(4)]
    fail(breakers, 1, FAILURES)
    shut = breakers.look(HERE, 1)
    assert breakers.failed(early[0], 2, "late", 0.0) is None
    assert breakers.refused(early[1], 2, "late", 0.0) is None
    assert breakers.succeeded(early[2]) is None
    breakers.answered(early[3])
    assert breakers.look(HERE, 2) == shut


def test_a_refused_key_is_set_aside_at_once_and_for_longer_each_time() -> None:
    breakers, now = Breakers(), 0.0
    waits, said = [], []
    for _ in range(6):
        said.append(breakers.refused(ask(breakers, now), now, "status 401", 0.0))
        down = breakers.look(HERE, now)
        assert down is not None
        assert down.refused
        waits.append(down.until - now)
        now = down.until
    assert waits == [300, 600, 1200, 2400, 3600, 3600]
    assert [down is not None for down in said] == [True, False, False, False, False, False]
    assert (waits[0], waits[-1]) == (REFUSED_SECONDS, MAX_REFUSED_SECONDS)


def test_a_place_that_was_down_and_refuses_its_key_says_so_too() -> None:
    breakers = Breakers()
    fail(breakers, 0, FAILURES)
    down = breakers.refused(ask(breakers, 6), 6, "status 401", 0.0)
    assert down == Down(HERE, 0, 6 + REFUSED_SECONDS, "status 401", refused=True)
    assert fail(breakers, 6 + REFUSED_SECONDS) is None
    kept = breakers.look(HERE, 6 + REFUSED_SECONDS)
    assert kept is not None
    assert (kept.refused, kept.why) == (True, "status 401")


def test_after_a_reload_all_are_probed_at_once() -> None:
    breakers = Breakers()
    breakers.refused(ask(breakers, 0), 0, "status 401", 0.0)
    breakers.hurry(0)
    probe = ask(breakers, 0)
    assert breakers.is_probe(probe)
    assert breakers.succeeded(probe) is not None


@pytest.mark.parametrize("roll", [0.0, 0.5, 1.0])
def test_chance_shortens_the_time_a_little(roll: float) -> None:
    breakers = Breakers()
    fail(breakers, 0, FAILURES - 1)
    down = breakers.failed(ask(breakers, 0), 0, "x", roll)
    assert down is not None
    assert down.until == pytest.approx(OPEN_SECONDS * (1 - JITTER * roll))


STEPS = st.lists(
    st.tuples(
        st.sampled_from(("ask", "answered", "succeeded", "failed", "refused", "dropped", "hurry")),
        st.integers(0, 7),
        st.floats(0, 400),
    ),
    max_size=80,
)


@settings(max_examples=300, deadline=None)
@given(STEPS)
def test_whatever_happens_down_and_up_take_turns_and_probes_are_alone(
    steps: list[tuple[str, int, float]],
) -> None:
    """The laws: nobody asks before the time is over, at most one probe is out, an end is said only
    of what was said to be down, and a place is never shut for good."""
    breakers, now, said_down = Breakers(), 0.0, False
    out: list[Ticket] = []
    for what, which, seconds in steps:
        now += seconds
        if what == "ask":
            down = breakers.look(HERE, now)
            got = breakers.ask(HERE, now)
            assert isinstance(got, Down) == (down is not None)
            out += [got] if isinstance(got, Ticket) else []
        elif what == "hurry":
            breakers.hurry(now)
        elif out:
            ticket = out[which % len(out)]
            if what != "answered":
                out.remove(ticket)
            said_down = verdict(breakers, what, ticket, now, said_down)
        assert sum(breakers.is_probe(ticket) for ticket in out) <= 1
    for ticket in out:
        breakers.dropped(ticket)
    assert isinstance(breakers.ask(HERE, now + MAX_REFUSED_SECONDS), Ticket)


def verdict(breakers: Breakers, what: str, ticket: Ticket, now: float, said_down: bool) -> bool:
    """Give a ticket back; whether the place is said to be down now."""
    before = breakers.look(HERE, now)
    ways: dict[str, Any] = {
        "answered": lambda: breakers.answered(ticket),
        "dropped": lambda: breakers.dropped(ticket),
        "succeeded": lambda: breakers.succeeded(ticket),
        "failed": lambda: breakers.failed(ticket, now, "x", 0.5),
        "refused": lambda: breakers.refused(ticket, now, "y", 0.5),
    }
    told = ways[what]()
    if what == "succeeded":
        assert (told is not None) <= said_down
        return said_down and told is None
    if what in ("failed", "refused") and told is not None:
        assert told.until > now
        assert not said_down or told.refused
        assert before is None or before.until <= now or what == "refused"
        return True
    return said_down
