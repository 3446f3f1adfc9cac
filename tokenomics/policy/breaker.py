"""Circuit breakers: which keys of which providers are asked, and which are left alone for a while.

What fails FAILURES times in a row is down. It is left alone for a time that grows with each failed
probe; then one request at a time goes out as a probe, until one was answered. A key that the
provider refuses is set aside at once, and for longer. Times are seconds of a clock that only goes
forward, `roll` is a random number from 0 to 1.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

FAILURES = 5  # in a row until a place is down: a few are bad luck
# Down for the first time, and at most: a restart of a server is over in seconds, and a probe in a
# minute costs nobody anything.
OPEN_SECONDS, MAX_OPEN_SECONDS = 5.0, 60.0
# The same for a refused key, which stays refused until somebody pays or writes another one.
REFUSED_SECONDS, MAX_REFUSED_SECONDS = 300.0, 3600.0
# After this another probe may go out beside one that still waits: a model that thinks for minutes
# must not keep everybody from a provider that has long been up again.
PROBE_SECONDS = 60.0
# Of the time it is down, this part is left to chance, so that many proxies do not probe together.
JITTER = 0.2


class Place(NamedTuple):
    """What may be down: a provider at a URL, asked with the key of a variable ("" for none)."""

    provider: str
    url: str
    variable: str


@dataclass(frozen=True, slots=True)
class Ticket:
    """Leave to ask a place once, given back with a verdict. `number` is how often anything had gone
    down before it was given."""

    place: Place
    number: int


@dataclass(frozen=True, slots=True)
class Down:
    """A place that is down: `since` when, `until` when it is left alone, `why` in words; `refused`
    if it is for its key."""

    place: Place
    since: float
    until: float
    why: str
    refused: bool = False


@dataclass(slots=True)
class _State:
    """A place that failed and did not do well since. `failures` and `openings` count from there on,
    `number` is that of its last opening. `probe` is the ticket that is out to see whether it is up
    again; after a probe was answered it is on `trial`: all may ask, and one failure is enough."""

    failures: int = 0
    openings: int = 0
    number: int = 0
    down: Down | None = None
    probe: Ticket | None = None
    probing: float = 0.0  # until when no other probe goes out
    trial: bool = False


class Breakers:
    """Those of one proxy. It remembers only places that failed and did not do well since."""

    def __init__(self) -> None:
        self._states: dict[Place, _State] = {}
        self._openings = 0  # of all places

    def look(self, place: Place, now: float) -> Down | None:
        """Why `ask` would give no leave; None if it would."""
        state = self._states.get(place)
        if state is None or state.down is None or state.trial:
            return None
        probing = state.probe is not None and now < state.probing
        return state.down if now < state.down.until or probing else None

    def ask(self, place: Place, now: float) -> Ticket | Down:
        """Leave to ask a place, or why there is none."""
        down = self.look(place, now)
        if down is not None:
            return down
        ticket = Ticket(place, self._openings)
        state = self._states.get(place)
        if state is not None and state.down is not None and not state.trial:
            state.probe, state.probing = ticket, now + PROBE_SECONDS
        return ticket

    def is_probe(self, ticket: Ticket) -> bool:
        """Whether a place is asked to see if it is up again."""
        state = self._states.get(ticket.place)
        return state is not None and state.probe is ticket

    def answered(self, ticket: Ticket) -> None:
        """An answer began well; its verdict is still to come, which for a stream may take long."""
        state = self._states.get(ticket.place)
        if state is not None and state.probe is ticket:
            state.probe, state.trial = None, True

    def succeeded(self, ticket: Ticket) -> Down | None:
        """The place did as it should. What is over by that is returned, once."""
        state = self._states.get(ticket.place)
        if state is None or ticket.number < state.number:
            return None  # what was asked before it was down says nothing of now
        del self._states[ticket.place]
        return state.down

    def failed(self, ticket: Ticket, now: float, why: str, roll: float) -> Down | None:
        """The place failed. What it is down for is returned, once."""
        state = self._states.setdefault(ticket.place, _State())
        if ticket.number < state.number:
            return None
        state.failures += 1
        before = state.down
        if before is None and state.failures < FAILURES:
            return None
        until = now + _grown(OPEN_SECONDS, MAX_OPEN_SECONDS, state.openings, roll)
        if before is None:
            why = f"{state.failures} failures in a row, the last: {why}"
            return self._open(state, Down(ticket.place, now, until, why))
        if not before.refused:
            return self._open(state, replace(before, until=until, why=why))
        return self._open(state, replace(before, until=until))  # why it is down is not known better

    def refused(self, ticket: Ticket, now: float, why: str, roll: float) -> Down | None:
        """The provider refuses the key. What it is down for is returned, once."""
        state = self._states.setdefault(ticket.place, _State())
        if ticket.number < state.number:
            return None
        before = state.down
        if before is None or not before.refused:
            state.openings = 0
        until = now + _grown(REFUSED_SECONDS, MAX_REFUSED_SECONDS, state.openings, roll)
        since = now if before is None else before.since
        return self._open(state, Down(ticket.place, since, until, why, refused=True))

    def dropped(self, ticket: Ticket) -> None:
        """Nothing was learnt: the client went away, or the request never went out."""
        state = self._states.get(ticket.place)
        if state is not None and state.probe is ticket:
            state.probe = None

    def hurry(self, now: float) -> None:
        """Keys and addresses may have changed: let every place be probed at once."""
        for state in self._states.values():
            if state.down is not None:
                state.down = replace(state.down, until=min(state.down.until, now))

    def _open(self, state: _State, down: Down) -> Down | None:
        before, state.down = state.down, down
        self._openings += 1
        state.number = self._openings
        state.openings += 1
        state.probe, state.trial = None, False
        return down if before is None or before.refused != down.refused else None


def _grown(first: float, most: float, openings: int, roll: float) -> float:
    """How long a place is left alone when it was `openings` times already."""
    whole = min(first * 2.0 ** min(openings, 16), most)
    return whole * (1 - JITTER * roll)
