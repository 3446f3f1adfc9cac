"""Finding every text in a document, and a copy of the document with some of them changed.

A path is a tuple of keys and indexes. INSIDE in a path means that the string at that point is
itself JSON (a tool call's arguments), and the path goes on inside it: a mask put there keeps it
valid JSON.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from tokenomics import strictjson

MAX_TEXTS = 20_000  # each costs every rule a call; long conversations have some hundreds


class _Inside:
    def __repr__(self) -> str:
        return "INSIDE"


class Key(str):
    """A step to a key itself, not to its value: keys that a client chooses are texts too."""

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Key) and str.__eq__(self, other)

    def __hash__(self) -> int:
        return hash((Key, str.__hash__(self)))


INSIDE: Final = _Inside()
Step = str | int | _Inside
Path = tuple[Step, ...]


class Text(NamedTuple):
    """A text that a model would read, and where it stands."""

    path: Path
    value: str


@dataclass(frozen=True, slots=True)
class Words:
    """A dialect's own keys: `known` ones say nothing themselves, the strings below `skip` ones are
    read by no model (ids, types, URLs). With `numbers`, numbers are texts too."""

    known: frozenset[str]
    skip: frozenset[str]
    numbers: bool = False


_NO_WORDS = Words(frozenset(), frozenset(), numbers=True)


def walk(node: Any, path: Path, words: Words) -> list[Text]:
    """Every text below `node`, keys that the dialect does not know among them, in order.

    Inside JSON arguments numbers are texts: a card's digits are one key stroke away from a number.
    """
    out: list[Text] = []
    _collect(node, path, words, out)
    return out


def _collect(node: Any, path: Path, words: Words, out: list[Text]) -> None:
    if len(out) > MAX_TEXTS:  # whoever asked refuses that many
        return
    if isinstance(node, str):
        out.append(Text(path, node))
    elif words.numbers and isinstance(node, int | float) and not isinstance(node, bool):
        out.append(Text(path, str(node)))
    elif isinstance(node, dict):
        for key, value in node.items():
            if key not in words.known:
                out.append(Text((*path, Key(key)), key))
            if key == "arguments" and isinstance(value, str):
                _arguments(value, (*path, key), out)
            elif key not in words.skip or not isinstance(value, str):
                _collect(value, (*path, key), words, out)
    elif isinstance(node, list):
        for i, value in enumerate(node):
            _collect(value, (*path, i), words, out)


def _arguments(value: str, path: Path, out: list[Text]) -> None:
    try:
        inner = strictjson.loads(value)
    except strictjson.BadJSON:
        inner = None
    if inner is None or INSIDE in path:  # one level: each may nest as deep as a whole document
        out.append(Text(path, value))
    else:
        _collect(inner, (*path, INSIDE), _NO_WORDS, out)


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
    names = {}
    for step, inside in below.items():
        if isinstance(step, Key):
            names[str(step)] = inside[()]
        else:
            copy[step] = replaced(document[step], inside)
    return _renamed(copy, names) if names else copy


def _renamed(node: dict[str, Any], names: dict[str, str]) -> dict[str, Any]:
    """`node` with keys renamed, in order. Two that become one get a number: no value is lost."""
    out: dict[str, Any] = {}
    for key, value in node.items():
        new = names.get(key, key)
        out[new if new not in out else f"{new} {len(out)}"] = value
    return out
