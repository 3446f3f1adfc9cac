"""The `keys` of a provider: several variables with keys, or several places, and their shares."""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from tokenomics.net.origin import parse_origin

MAX_WEIGHT = 1_000_000


@dataclass(frozen=True, slots=True)
class ProviderKey:
    """One of them: the variable its key is in ("" sends none), its share of the requests, and the
    base URL if it is not the provider's own."""

    env: str = ""
    weight: float = 1.0
    upstream_url: str = ""


_FIELDS = tuple(f.name for f in fields(ProviderKey))


def read_keys(place: str, value: Any, faults: list[str]) -> tuple[ProviderKey, ...]:
    """The keys that a list says; what is wrong with it is added to `faults`."""
    if not isinstance(value, list) or not value:
        faults.append(f"{place} must be a list of keys, such as [{{env: OPENAI_API_KEY}}]")
        return ()
    keys = [_key(f"{place}[{i}]", row, faults) for i, row in enumerate(value)]
    seen: set[tuple[str, str]] = set()
    for i, key in enumerate(keys):
        if (key.env, key.upstream_url) in seen:
            faults.append(f"{place}[{i}] is there twice: give one of them the weight of both")
        seen.add((key.env, key.upstream_url))
    return tuple(keys)


def _key(place: str, row: Any, faults: list[str]) -> ProviderKey:
    if not isinstance(row, Mapping):
        faults.append(f"{place} must be a mapping, such as {{env: OPENAI_API_KEY}}")
        return ProviderKey(place)
    for name in row:
        if name not in _FIELDS:
            near = difflib.get_close_matches(str(name), _FIELDS, 1, 0.5)
            hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(_FIELDS)}"
            faults.append(f"{place}.{name} is not a known key; {hint}")
    env, weight, url = row.get("env", ""), row.get("weight", 1), row.get("upstream_url", "")
    for name, text in (("env", env), ("upstream_url", url)):
        if not isinstance(text, str):
            faults.append(f"{place}.{name} must be text")
            return ProviderKey(place)
    if not env and not url:
        faults.append(f"{place} needs env, the name of a variable, or an upstream_url of its own")
        env = place
    number = isinstance(weight, int | float) and not isinstance(weight, bool)
    if not number or not math.isfinite(weight) or not 0 < weight <= MAX_WEIGHT:
        faults.append(f"{place}.weight must be a number over 0, {MAX_WEIGHT} at most")
        weight = 1
    if url:
        try:
            parse_origin(url)
        except ValueError as e:
            faults.append(f"{place}.upstream_url: {e}")
    return ProviderKey(env, float(weight), url)
