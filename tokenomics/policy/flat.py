"""The counts of one token in a flat piece of memory that several processes share.

Pure: a buffer in, numbers changed in place, each operation in constant time but for what leaves a
window. Whoever calls holds a lock on the piece. What one process holds stands apart from what
others hold, so that it can be given back when the process dies.

A piece is cells of 8 bytes: a header, running requests of each process, budgets, windows. Names are
text of a bounded length. A process that is killed inside an operation may leave a window's total
larger than the sum of its steps, never smaller: totals grow before their steps and shrink after.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tokenomics.policy.counts import STEPS, edge_of

MAX_BUDGETS = 64  # names of one token; those that hold nothing and spent nothing are used again
MAX_WINDOWS = 12  # rules of one token, by shape; empty ones are used again
NAME_BYTES = 256
_NAME = NAME_BYTES // 8  # cells
_RING = STEPS + 24  # steps of a window; one more than STEPS at most is alive
_STEP = 4  # cells: newest time, amount, oldest time, held

# Cells of the header.
_CHANGES, _BUDGETS, _WINDOWS, _RENAMED, _HEADER = 0, 1, 2, 3, 8
# Cells of a window behind its name. The first four are whole numbers.
_FIXED, _HEAD, _NEXT, _SPARE, _LENGTH, _TOTAL, _HELD, _STEPS = range(8)
_WINDOW = _NAME + _STEPS + _RING * _STEP


class NoRoom(Exception):
    """A token has more budgets or rules than its piece of memory has places for."""


def cells(processes: int) -> int:
    """Cells of 8 bytes that one token's piece has."""
    return _windows_at(processes) + MAX_WINDOWS * _WINDOW


def _budgets_at(processes: int) -> int:
    return _HEADER + processes


def _budget_cells(processes: int) -> int:
    return _NAME + 1 + processes  # its name, what is spent, what each process holds


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
        self._known: dict[str, int] = {}
        self._views: dict[str, FlatWindow] = {}
        self._renamed = 0

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

    def spent(self, budget: str) -> int:
        """See Counts."""
        at = self._find(budget)
        return int(self._whole[at]) if at else 0

    def spend(self, budget: str, tokens: int) -> None:
        """See Counts. Raises NoRoom."""
        self._whole[self._place(budget)] += tokens

    def used(self, budget: str) -> int:
        """See Counts."""
        at = self._find(budget)
        return sum(self._whole[at : at + 1 + self._processes]) if at else 0

    def hold(self, budget: str, tokens: int) -> None:
        """See Counts. Raises NoRoom."""
        self._whole[self._place(budget) + 1 + self._me] += tokens

    def window(self, key: str, length: float, *, fixed: bool) -> FlatWindow:
        """See Counts. Raises NoRoom."""
        self._forget_if_renamed()
        view = self._views.get(key)
        if view is None:
            view = self._views[key] = self._window(key, length, fixed)
        return view

    def release(self, process: int) -> None:
        """A process is gone: give back what it held. What it reserved in windows stays counted."""
        self._whole[_HEADER + process] = 0
        for at in self._budget_places():
            self._whole[at + 1 + process] = 0
        self.changed()

    def dump(self) -> dict[str, Any]:
        """What a journal keeps; the same as of an Account."""
        settled = {
            self._name(at - _NAME): int(self._whole[at])
            for at in self._budget_places()
            if self._whole[at]
        }
        windows = {w.name: w.dump() for w in self._all_windows() if w.steps()}
        return {"settled": settled, "windows": windows}

    def load(self, state: dict[str, Any]) -> None:
        """Take over what `dump` described. Raises NoRoom."""
        for name, tokens in state["settled"].items():
            self.spend(str(name), int(tokens))
        for key, (length, fixed, steps) in state["windows"].items():
            self.window(str(key), length, fixed=fixed).load(steps)

    # Places: numbers of cells. A budget's is that of what is spent, right behind its name.

    def _budget_places(self) -> Iterator[int]:
        first, size = _budgets_at(self._processes) + _NAME, _budget_cells(self._processes)
        return iter(range(first, first + int(self._whole[_BUDGETS]) * size, size))

    def _find(self, budget: str) -> int:
        """A budget's place, 0 if it has none."""
        self._forget_if_renamed()
        at = self._known.get(budget, 0)
        if at:
            return at
        for at in self._budget_places():
            if self._name(at - _NAME) == budget:
                self._known[budget] = at
                return at
        return 0

    def _place(self, budget: str) -> int:
        at = self._find(budget)
        if at:
            return at
        number = int(self._whole[_BUDGETS])
        if number < MAX_BUDGETS:
            size = _budget_cells(self._processes)
            at = _budgets_at(self._processes) + number * size + _NAME
            self._set_name(at - _NAME, budget)
            self._whole[_BUDGETS] = number + 1
            return at
        for at in self._budget_places():  # a policy of before may have named it
            if not any(self._whole[at : at + 1 + self._processes]):
                self._set_name(at - _NAME, budget)
                self._whole[_RENAMED] += 1
                return at
        raise NoRoom(f"a token has more than {MAX_BUDGETS} budgets with tokens spent in them")

    def _all_windows(self) -> list[FlatWindow]:
        first = _windows_at(self._processes)
        places = range(first, first + int(self._whole[_WINDOWS]) * _WINDOW, _WINDOW)
        return [FlatWindow(self, at) for at in places]

    def _window(self, key: str, length: float, fixed: bool) -> FlatWindow:
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
            if not window.steps():
                window.begin(key, length, fixed=fixed)
                self._whole[_RENAMED] += 1
                return window
        raise NoRoom(f"a token counts in more than {MAX_WINDOWS} windows of different shapes")

    def _forget_if_renamed(self) -> None:
        if self._renamed != self._whole[_RENAMED]:
            self._renamed = self._whole[_RENAMED]
            self._known.clear()
            self._views.clear()

    def _name(self, at: int) -> str:
        return bytes(self._bytes[at * 8 : at * 8 + NAME_BYTES]).rstrip(b"\0").decode()

    def _set_name(self, at: int, name: str) -> None:
        data = name.encode()
        if len(data) > NAME_BYTES:
            raise NoRoom(f"a name of {len(data)} bytes; at most {NAME_BYTES} fit")
        self._bytes[at * 8 : at * 8 + NAME_BYTES] = data.ljust(NAME_BYTES, b"\0")


class FlatWindow:
    """A History in a ring of steps. Steps are numbered from the beginning of time; a ticket is the
    number of a step, which says too whether it has left."""

    def __init__(self, account: FlatAccount, at: int) -> None:
        self._account = account
        self._at = at
        self._whole = account._whole[at + _NAME : at + _WINDOW]
        self._real = account._real[at + _NAME : at + _WINDOW]

    @property
    def name(self) -> str:
        """The key it stands under."""
        return self._account._name(self._at)

    @property
    def total(self) -> float:
        """See History."""
        return self._real[_TOTAL]

    @property
    def held(self) -> float:
        """See History."""
        return self._real[_HELD]

    def begin(self, key: str, length: float, *, fixed: bool) -> None:
        """Stand for another rule, with nothing counted."""
        self._whole[_FIXED] = fixed
        self._whole[_HEAD] = self._whole[_NEXT]
        self._real[_LENGTH] = length
        self._real[_TOTAL] = self._real[_HELD] = 0.0
        self._account._set_name(self._at, key)

    def steps(self) -> int:
        """How many steps it holds."""
        return int(self._whole[_NEXT] - self._whole[_HEAD])

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

    def load(self, steps: list[list[float]]) -> None:
        """Take over steps, the newest that fit."""
        for newest, amount, oldest in steps[-_RING:]:
            number = self._whole[_NEXT]
            at = _STEPS + number % _RING * _STEP
            self._begin_step(at, oldest)
            self._real[at], self._real[at + 1] = newest, amount
            self._real[_TOTAL] += amount
            self._whole[_NEXT] = number + 1
