"""Finding every text in a document, and a copy of the document with some of them changed.

A path is a tuple of keys and indexes. INSIDE in a path means that the string at that point is
itself JSON (a tool call's arguments), and the path goes on inside it: a mask put there keeps it
valid JSON.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from tokenomics import strictjson


class _Inside:
    def __repr__(self) -> str:
        return "INSIDE"


INSIDE: Final = _Inside()
Step = str | int | _Inside
Path = tuple[Step, ...]


@dataclass(frozen=True, slots=True)
class Text:
    """A text that a model would read, and where it stands."""

    path: Path
    value: str


def walk(node: Any, path: Path, skip: frozenset[str]) -> Iterator[Text]:
    """Every text below `node`. `skip` are keys whose strings no model reads (ids, types, URLs).

    Numbers are no texts, except inside JSON arguments, where a digit string is one key stroke away
    from a number.
    """
    if isinstance(node, str):
        yield Text(path, node)
    elif isinstance(node, dict):
        for key, value in node.items():
            if key == "arguments" and isinstance(value, str):
                yield from _arguments(value, (*path, key), skip)
            elif key not in skip or not isinstance(value, str):
                yield from walk(value, (*path, key), skip)
    elif isinstance(node, list):
        for i, value in enumerate(node):
            yield from walk(value, (*path, i), skip)


def _arguments(value: str, path: Path, skip: frozenset[str]) -> Iterator[Text]:
    try:
        inner = strictjson.loads(value)
    except strictjson.BadJSON:
        inner = None
    if not isinstance(inner, dict | list):
        yield Text(path, value)
        return
    yield from walk(_numbers_as_texts(inner), (*path, INSIDE), frozenset())


def _numbers_as_texts(node: Any) -> Any:
    if isinstance(node, dict):
        return {key: _numbers_as_texts(value) for key, value in node.items()}
    if isinstance(node, list):
        return [_numbers_as_texts(value) for value in node]
    return str(node) if isinstance(node, int | float) and not isinstance(node, bool) else node


def replaced(document: Any, changes: Mapping[Path, Any]) -> Any:
    """A copy of `document` with the values at some paths replaced; what is not on the way to a
    change is shared with the original."""
    if () in changes:
        return changes[()]
    below: dict[Step, dict[Path, Any]] = {}
    for path, value in changes.items():
        below.setdefault(path[0], {})[path[1:]] = value
    if INSIDE in below:
        inner = replaced(strictjson.loads(document), below[INSIDE])
        return strictjson.dumps(inner).decode()
    copy = document.copy()
    for step, inside in below.items():
        copy[step] = replaced(document[step], inside)
    return copy
