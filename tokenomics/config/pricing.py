"""Prices that `providers.yaml` gives: rows by model, laid over the table's by field."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from decimal import Decimal
from types import MappingProxyType
from typing import Any

from tokenomics.prices import COUNTS, DOLLARS, MAX_PLACES, MAX_RATE, RATES, Row, undated

MAX_COUNT = 10**9  # tokens that a model reads or writes
_KEYS = (*DOLLARS, *COUNTS, "long")
_LONG_KEYS = tuple(RATES)
_EXAMPLE = "such as {input: 2.5, output: 10}"


def read_prices(
    place: str, table: Mapping[str, Row], value: Any, faults: list[str]
) -> Mapping[str, Row]:
    """Whole rows by model: what `value` says, and for the rest what the provider's `table` does of
    the model, or of its name without a date. What is wrong is added to `faults`."""
    if not isinstance(value, Mapping):
        faults.append(f"{place} must map models to prices, {_EXAMPLE}")
        return MappingProxyType({})
    out = {}
    for model, own in value.items():
        here = f"{place}.{model}"
        if not isinstance(model, str):
            faults.append(f"{here}: the name of a model must be text (quote it)")
        elif not isinstance(own, Mapping):
            faults.append(f"{here} must be a mapping {_EXAMPLE}")
        else:
            base = table.get(model, table.get(undated(model), {}))
            out[model] = {**base, **_row(here, own, _KEYS, faults)}
            faults += _missing(here, out[model])
    return MappingProxyType(out)


def _row(place: str, own: Row, known: tuple[str, ...], faults: list[str]) -> dict[str, Any]:
    row: dict[str, Any] = {}
    for key, value in own.items():
        here = f"{place}.{key}"
        if key not in known:
            near = difflib.get_close_matches(str(key), known, 1, 0.5)
            hint = f"; did you mean {near[0]}?" if near else f"; known: {', '.join(known)}"
            faults.append(f"{here} is not a known key{hint}")
        elif key == "long":
            row[key] = _long(here, value, faults)
        elif key in COUNTS:
            row[key] = _count(here, value, faults)
        else:
            row[key] = _dollars(here, value, faults)
    return row


def _long(place: str, value: Any, faults: list[str]) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        faults.append(f"{place} must be a mapping {_EXAMPLE}")
        return {}
    faults += [f"{place} needs {key}" for key in ("input", "output") if key not in value]
    return _row(place, value, _LONG_KEYS, faults)


def _missing(place: str, row: Row) -> list[str]:
    """A row that says too little: a kind that nobody priced would be free."""
    faults = [
        f"{place} needs {key}: the price of this model isn't known here"
        for key in ("input", "output")
        if key not in row
    ]
    if bool(row.get("over")) != ("long" in row):
        faults.append(f"{place} needs both over and long, or neither")
    return faults


def _dollars(place: str, value: Any, faults: list[str]) -> Decimal:
    if isinstance(value, bool) or not isinstance(value, int | float):
        faults.append(f"{place} must be a number of US dollars")
        return Decimal(0)
    if not 0 <= value < MAX_RATE:
        faults.append(f"{place} must be from 0 to less than {MAX_RATE} US dollars")
        return Decimal(0)
    # By its text: 0.1 is what was written, not what is next to it in base two.
    price = Decimal(str(value))
    if price != price.quantize(Decimal(1).scaleb(-MAX_PLACES)):
        faults.append(f"{place} must have {MAX_PLACES} digits after the point at most")
    return price


def _count(place: str, value: Any, faults: list[str]) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= MAX_COUNT:
        faults.append(f"{place} must be a whole number of tokens, from 0 to {MAX_COUNT}")
        return 0
    return value
