"""What `account.lua` is asked, and what its answers mean. Pure.

The script applies the law of `policy.limits` where several proxies count; this is the language
between the two. Numbers come back as text, for Redis would cut a fraction off.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from tokenomics.policy import limits as law
from tokenomics.policy.limits import Bill, Crossing, Denied, Hold, Lease, Want
from tokenomics.policy.meters import REQUESTS, Due

Answer = Sequence[bytes]


class Look(NamedTuple):
    """How an account stands: requests that run, and of each limit (all that counts, what of it is
    only held)."""

    running: int
    counted: tuple[tuple[int, int], ...]


def due_rows(dues: Sequence[Due], want: Want) -> list[list[Any]]:
    """Limits as the script has them: key, unit, most, window, fixed, end (0: never), what the
    request takes of it for itself, and per output token."""
    rows: list[list[Any]] = []
    for due in dues:
        limit = due.limit
        ends = 0 if math.isinf(due.ends) else due.ends
        base, per = law.prices(limit, want)
        rows.append([due.key, limit.unit, limit.most, limit.window, limit.fixed, ends, base, per])
    return rows


def want_row(want: Want) -> dict[str, int]:
    """A request's wish for output as the script has it."""
    whole = law.whole_output(want)
    return {
        "whole": whole,
        "least": min(law.LEAST_OUTPUT * want.choices, whole),
        "step": want.step,
        "enough": want.enough,
    }


def asked(**fields: Any) -> str:
    """The script's second argument."""
    return json.dumps(fields, separators=(",", ":"))


def read_denied(answer: Answer, dues: Sequence[Due], parallel: int, want: Want) -> Denied | None:
    """Why the script took nothing; None if it did not say that."""
    kind, numbers = answer[0], [float(number) for number in answer[1:]]
    if kind == b"parallel":
        return law.parallel_denied(parallel, int(numbers[0]), want)
    if kind == b"held":
        return law.held_denied(dues[int(numbers[0])], int(numbers[1]), want)
    if kind != b"full":
        return None
    index, total, need, wait = numbers
    due = dues[int(index)]
    if not due.limit.window:
        return law.spent_denied(due, int(total), want)
    return law.rate_denied(due, int(total), int(need), want, None if wait < 0 else wait)


def read_lease(answer: Answer, dues: Sequence[Due], want: Want, id_: str) -> Lease:
    """The lease that the script took. What it holds of each limit is known there."""
    held, cap, *totals = (int(float(number)) for number in answer[1:])
    bounded = any(due.limit.unit != REQUESTS for due in dues)
    lease = Lease(want, held, cap if cap >= 0 else None, bounded, [Hold(due) for due in dues])
    lease.standing = tuple(zip(dues, totals, strict=True)) if totals else ()
    lease.id = id_
    return lease


def settled(answer: Answer, dues: Sequence[Due]) -> tuple[list[Crossing], list[tuple[Due, int]]]:
    """What a settlement led to: the parts to warn at, and what is spent of each budget now."""
    crossed: list[Crossing] = []
    spent: list[tuple[Due, int]] = []
    numbers = iter([int(float(number)) for number in answer[1:]])
    for due in dues:
        if due.limit.unit == REQUESTS:
            continue
        before, after = next(numbers), next(numbers)
        crossed += law.crossings(due.limit, before, after)
        if not due.limit.window:
            spent.append((due, after))
    return crossed, spent


def bill_of(bill: Bill, dues: Sequence[Due], *, force: bool) -> str:
    """The argument of a settlement. `force` charges a lease that is not known there too."""
    rows = due_rows(dues, Want(0, 0))
    return asked(dues=rows, tokens=bill.tokens, cost=bill.cost, force=force)


def read_look(answer: Any) -> Look:
    """How the script says that an account stands."""
    running, *numbers = [int(float(number)) for number in answer]
    return Look(running, tuple(zip(numbers[::2], numbers[1::2], strict=True)))
