"""Changing a policy document: JSON merge patch (RFC 7396), and what differs between two. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any


def merge_patch(target: Any, patch: Any) -> Any:
    """`target` with `patch` merged in; null deletes a key. Neither is changed."""
    if not isinstance(patch, dict):
        return patch
    out = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            out.pop(key, None)
        else:
            out[key] = merge_patch(out.get(key), value)
    return out


def differences(old: Any, new: Any, path: str = "") -> Iterator[str]:
    """A line per value that differs: `+` added, `-` removed, `~` changed."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in [*old, *(k for k in new if k not in old)]:
            place = f"{path}.{key}" if path else str(key)
            if key not in new:
                yield f"- {place}: {_show(old[key])}"
            elif key not in old:
                yield f"+ {place}: {_show(new[key])}"
            else:
                yield from differences(old[key], new[key], place)
    elif old != new:
        yield f"~ {path}: {_show(old)} -> {_show(new)}"


def _show(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
