"""The counts of one token in a flat piece of memory that several processes share.

Pure: a buffer in, numbers changed in place, each operation in constant time but for what leaves a
window. Whoever calls holds a lock on the piece. What one process holds stands apart from what
others hold, so that it can be given back when the process dies.

A piece is cells of 8 bytes: a header, running requests of each process, budgets, windows. Names are
text of a bounded length. A process that is killed inside an operation may leave a window's total
larger than the sum of its steps, never smaller: totals grow before their steps and shrink after.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from tokenomics.policy.counts import STEPS, budget_row, edge_of, read_budget_row, rule_of
from tokenomics.policy.meters import Due

MAX_BUDGETS = 64  # of one token; those that are over, or never had anything, are used again
MAX_WINDOWS = 12  # rules of one token, by shape; empty ones are used again
NAME_BYTES = 256
_NAME = NAME_BYTES // 8  # cells
_RING = STEPS + 24  # steps of a window; one more than STEPS at most is alive
_STEP = 4  # cells: newest time, amount, oldest time, held

# Cells of the header.
_CHANGES, _BUDGETS, _WINDOWS, _RENAMED, _HEADER = 0, 1, 2, 3, 8
# Cells of a budget behind its name. The first is no whole number.
_ENDS, _SPENT, _HOLDS = range(3)
# Cells of a window behind its name. The first four are whole numbers.
_FIXED, _HEAD, _NEXT, _SPARE, _LENGTH, _TOTAL, _HELD, _STEPS = range(8)
_WINDOW = _NAME + _STEPS + _RING * _STEP


class NoRoom(ValueError):
    """A token has more budgets or rules than its piece of memory has places for."""


def cells(processes: int) -> int:
    """Cells of 8 bytes that one token's piece has."""
    return _windows_at(processes) + MAX_WINDOWS * _WINDOW


def _budgets_at(processes: int) -> int:
    return _HEADER + processes


def _budget_cells(processes: int) -> int:
    return _NAME + 2 + processes  # its name, its end (0: none), what is spent, what each holds


def _windows_at(processes: int) -> int:
    return _budgets_at(processes) + MAX_BUDGETS * _budget_cells(processes)


class FlatAccount:
    """Counts over a piece of memory, as the process numbered `me` of `processes` sees them."""

    def __init__(self, memory: memoryview, me: int, processes: int) -> None:
        """`memory` is `cells(processes)` cells, all zero for a token that is new."""
        self._bytes = memory
        self._whole = memory.cast("q")
        self._real = memory.cast("d")
        self._me = me
        self._processes = processes
        # Found before; good as long as no place was given to another name.
        self._views: dict[str, FlatTally | FlatWindow] = {}
        self._renamed = 0
        # Places that the present step counts in; it is told by its time.
        self._step = math.nan
        self._in_use: set[int] = set()

    @property
    def changes(self) -> int:
        """How often anything changed."""
        return int(self._whole[_CHANGES])

    def changed(self) -> None:
        """Something did."""
        self._whole[_CHANGES] += 1

    def running(self) -> int:
        """See Counts."""
        return sum(self._whole[_HEADER : _HEADER + self._processes])

    def enter(self) -> None:
        """See Counts."""
        self._whole[_HEADER + self._me] += 1

    def leave(self) -> None:
        """See Counts."""
        self._whole[_HEADER + self._me] -= 1

    def history(self, due: Due, now: float) -> FlatTally | FlatWindow:
        """See Counts. What is asked for at one `now` is of one step, and none of it takes the
        place of another. Raises NoRoom."""
        self._forget_if_renamed()
        if now != self._step:
            self._step = now
            self._in_use.clear()
        view = self._views.get(due.key)
        if view is None:
            view = self._view(due, now)
            self._views[due.key] = view
        self._in_use.add(view.at)
        return view

    def release(self, process: int) -> None:
        """A process is gone: give back what it held. What it reserved in windows stays counted."""
        self._whole[_HEADER + process] = 0
        for tally in self._all_budgets():
            tally.release(process)
        self.changed()

    def dump(self) -> dict[str, Any]:
        """What a journal keeps; the same as of an Account."""
        budgets = list(self._all_budgets())
        return {
            "budgets": {b.name: budget_row(b.total, b.held, b.ends) for b in budgets if b.total},
            "windows": {w.name: w.dump() for w in self._all_windows() if w.steps()},
            "held": {b.name: held for b in budgets if (held := b.held)},
            "running": self.running(),
        }

    def load(self, state: dict[str, Any], now: float) -> None:
        """Take over what `dump` described, see `Account.load`. Raises NoRoom, ValueError,
        TypeError."""
        budgets = [(str(name), *read_budget_row(row)) for name, row in state["budgets"].items()]
        if len(budgets) > MAX_BUDGETS:  # a process that counts alone has no bound
            budgets = [row for row in budgets if row[2] > now]
        for name, spent, ends in budgets:
            self._budget(name, ends, -math.inf).add(spent, now)
        for key, (length, fixed, steps) in state["windows"].items():
            self._window(str(key), length, fixed, now).load(steps, now)

    # Places: numbers of cells, where a budget or a window begins with its name.

    def _view(self, due: Due, now: float) -> FlatTally | FlatWindow:
        limit = due.limit
        if limit.window:
            return self._window(due.key, limit.window, limit.fixed, now)
        return self._budget(due.key, due.ends, now)

    def _all_budgets(self) -> Iterator[FlatTally]:
        first, size = _budgets_at(self._processes), _budget_cells(self._processes)
        for at in range(first, first + int(self._whole[_BUDGETS]) * size, size):
            yield FlatTally(self, at)

    def _budget(self, name: str, ends: float, now: float) -> FlatTally:
        tallies = list(self._all_budgets())
        for tally in tallies:
            if tally.name == name:
                return tally
        free = self._free_budget(tallies, rule_of(name), now)
        if free is not None:
            self._whole[_RENAMED] += 1  # first: a process that dies in between leaves no old view
            free.begin(name, ends)
            return free
        if len(tallies) == MAX_BUDGETS:
            raise NoRoom(f"a token has more than {MAX_BUDGETS} budgets with tokens spent in them")
        at = _budgets_at(self._processes) + len(tallies) * _budget_cells(self._processes)
        new = FlatTally(self, at)
        new.begin(name, ends)
        self._whole[_BUDGETS] = len(tallies) + 1
        return new

    def _free_budget(self, tallies: list[FlatTally], rule: str, now: float) -> FlatTally | None:
        """The place of a period of the same rule that is over; once all are taken, of any other
        that is, or where nothing is spent: a policy of before may have named it."""
        idle = [t for t in tallies if t.at not in self._in_use and not t.held]
        over = [t for t in idle if t.ends <= now]
        chosen = [t for t in over if rule_of(t.name) == rule]
        if len(tallies) == MAX_BUDGETS:
            chosen += over + [t for t in idle if not t.total]
        return next(iter(chosen), None)

    def _all_windows(self) -> list[FlatWindow]:
        first = _windows_at(self._processes)
        places = range(first, first + int(self._whole[_WINDOWS]) * _WINDOW, _WINDOW)
        return [FlatWindow(self, at) for at in places]

    def _window(self, key: str, length: float, fixed: bool, now: float) -> FlatWindow:
        windows = self._all_windows()
        for window in windows:
            if window.name == key:
                return window
        if len(windows) < MAX_WINDOWS:
            at = _windows_at(self._processes) + len(windows) * _WINDOW
            window = FlatWindow(self, at)
            window.begin(key, length, fixed=fixed)
            self._whole[_WINDOWS] = len(windows) + 1
            return window
        for window in windows:
            if window.at not in self._in_use and window.empty(now):
                self._whole[_RENAMED] += 1
                window.begin(key, length, fixed=fixed, number=max(w.next for w in windows))
                return window
        raise NoRoom(f"a token counts in more than {MAX_WINDOWS} windows of different shapes")

    def _forget_if_renamed(self) -> None:
        if self._renamed != self._whole[_RENAMED]:
            self._renamed = self._whole[_RENAMED]
            self._views.clear()

    def _name(self, at: int) -> str:
        return bytes(self._bytes[at * 8 : at * 8 + NAME_BYTES]).rstrip(b"\0").decode()

    def _set_name(self, at: int, name: bytes) -> None:
        self._bytes[at * 8 : at * 8 + NAME_BYTES] = name


def _encoded(name: str) -> bytes:
    """A name as it stands in its cells. Raises NoRoom."""
    data = name.encode()
    if len(data) > NAME_BYTES:
        raise NoRoom(f"a name of {len(data)} bytes; at most {NAME_BYTES} fit")
    return data.ljust(NAME_BYTES, b"\0")


class FlatTally:
    """A History of a budget: what is spent, and what each process holds of it."""

    def __init__(self, account: FlatAccount, at: int) -> None:
        self._account = account
        self.at = at
        size = _budget_cells(account._processes)
        self._whole = account._whole[at + _NAME : at + size]
        self._real = account._real[at + _NAME : at + size]
        self._me = _HOLDS + account._me

    @property
    def name(self) -> str:
        """The key it stands under."""
        return self._account._name(self.at)

    @property
    def ends(self) -> float:
        """When its period does; infinity for never."""
        return self._real[_ENDS] or math.inf

    @property
    def total(self) -> int:
        """See History."""
        return sum(self._whole[_SPENT:])

    @property
    def held(self) -> int:
        """See History."""
        return sum(self._whole[_HOLDS:])

    def begin(self, name: str, ends: float) -> None:
        """Stand for another budget, with nothing spent."""
        data = _encoded(name)
        self._real[_ENDS] = 0.0 if math.isinf(ends) else ends
        self._whole[_SPENT] = 0
        self._account._set_name(self.at, data)

    def release(self, process: int) -> None:
        """A process is gone: give back what it held."""
        self._whole[_HOLDS + process] = 0

    def expire(self, _now: float) -> None:
        """See History."""

    def add(self, amount: float, _now: float, *, held: float = 0) -> None:
        """See History. It needs no ticket."""
        self._whole[_SPENT] += int(amount - held)
        self._whole[self._me] += int(held)

    def settle(self, _ticket: None, held: float, cost: float) -> None:
        """See History."""
        self._whole[_SPENT] += int(cost)
        self._whole[self._me] -= int(held)

    def wait(self, _excess: float, now: float) -> float:
        """See History."""
        return self.ends - now


class FlatWindow:
    """A History in a ring of steps. Steps are numbered from the beginning of time; a ticket is the
    number of a step, which says too whether it has left."""

    def __init__(self, account: FlatAccount, at: int) -> None:
        self._account = account
        self.at = at
        self._whole = account._whole[at + _NAME : at + _WINDOW]
        self._real = account._real[at + _NAME : at + _WINDOW]

    @property
    def name(self) -> str:
        """The key it stands under."""
        return self._account._name(self.at)

    @property
    def total(self) -> float:
        """See History."""
        return self._real[_TOTAL]

    @property
    def held(self) -> float:
        """See History."""
        return self._real[_HELD]

    def begin(self, key: str, length: float, *, fixed: bool, number: int = 0) -> None:
        """Stand for another rule, with nothing counted; steps are numbered from `number` on, which
        no ticket that was given out here, or for the rule elsewhere, has."""
        data = _encoded(key)
        self._whole[_FIXED] = fixed
        self._whole[_HEAD] = self._whole[_NEXT] = number
        self._real[_LENGTH] = length
        self._real[_TOTAL] = self._real[_HELD] = 0.0
        self._account._set_name(self.at, data)

    def steps(self) -> int:
        """How many steps it holds."""
        return int(self._whole[_NEXT] - self._whole[_HEAD])

    @property
    def next(self) -> int:
        """The number of its next step."""
        return int(self._whole[_NEXT])

    def empty(self, now: float) -> bool:
        """Whether nothing is in it any more."""
        self.expire(now)
        return not self.steps()

    def expire(self, now: float) -> None:
        """See History."""
        whole, real = self._whole, self._real
        head, after, fixed = whole[_HEAD], whole[_NEXT], whole[_FIXED]
        if head == after:
            return
        edge = edge_of(real[_LENGTH], now, fixed=bool(fixed))
        while head < after:
            at = _STEPS + head % _RING * _STEP
            if real[at] > edge or (fixed and real[at] == edge):
                break
            whole[_HEAD] = head = head + 1
            real[_TOTAL] -= real[at + 1]
            real[_HELD] -= real[at + 3]
        if head == after:  # with what a process left that died inside an operation
            real[_TOTAL] = real[_HELD] = 0.0

    def add(self, amount: float, now: float, *, held: float = 0.0) -> int:
        """See History. The step's number is the ticket."""
        whole, real = self._whole, self._real
        after = whole[_NEXT]
        last = after - 1
        at = _STEPS + last % _RING * _STEP
        full = after - whole[_HEAD] == _RING
        if whole[_HEAD] == after or not (
            full or whole[_FIXED] or now - real[at + 2] < real[_LENGTH] / STEPS
        ):
            last = after
            at = _STEPS + last % _RING * _STEP
            self._begin_step(at, now)
            whole[_NEXT] = after + 1
        real[_TOTAL] += amount
        real[_HELD] += held
        real[at] = max(real[at], now)
        real[at + 1] += amount
        real[at + 3] += held
        return int(last)

    def _begin_step(self, at: int, now: float) -> None:
        real = self._real
        real[at], real[at + 1], real[at + 2], real[at + 3] = now, 0.0, now, 0.0

    def settle(self, ticket: int, held: float, cost: float) -> None:
        """See History."""
        whole, real = self._whole, self._real
        if whole[_HEAD] <= ticket < whole[_NEXT]:
            at = _STEPS + ticket % _RING * _STEP
            real[at + 1] += cost - held
            real[at + 3] -= held
            real[_TOTAL] += cost - held
            real[_HELD] -= held

    def wait(self, excess: float, now: float) -> float:
        """See History."""
        length = self._real[_LENGTH]
        if self._whole[_FIXED]:
            return length - now % length
        for number in range(self._whole[_HEAD], self._whole[_NEXT]):
            at = _STEPS + number % _RING * _STEP
            excess -= self._real[at + 1]
            if excess <= 0:
                return max(self._real[at] + length - now, 0.0)
        return length

    def dump(self) -> list[Any]:
        """[length, fixed, steps], as of a Window."""
        steps = []
        for number in range(self._whole[_HEAD], self._whole[_NEXT]):
            at = _STEPS + number % _RING * _STEP
            steps.append(list(self._real[at : at + 3]))
        return [self._real[_LENGTH], bool(self._whole[_FIXED]), steps]

    def load(self, steps: list[list[float]], now: float) -> None:
        """Take over steps, the newest that fit."""
        for newest, amount, oldest in steps[-_RING:]:
            number = self._whole[_NEXT]
            at = _STEPS + number % _RING * _STEP
            self._begin_step(at, min(oldest, now))
            self._real[at], self._real[at + 1] = min(newest, now), amount
            self._real[_TOTAL] += amount
            self._whole[_NEXT] = number + 1
