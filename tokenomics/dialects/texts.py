"""Finding every text in a document, and a copy of the document with some of them changed.

A path is a tuple of keys and indexes. INSIDE in a path means that the string at that point is
itself JSON (a tool call's arguments), and the path goes on inside it: a mask put there keeps it
valid JSON. OPENED means that the string is a data URL or base64, and the text is what it holds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from tokenomics import strictjson
from tokenomics.dialects import dataurls

MAX_TEXTS = 20_000  # each costs every rule a call; long conversations have some hundreds


class _Inside:
    def __repr__(self) -> str:
        return "INSIDE"


class _Opened:
    def __repr__(self) -> str:
        return "OPENED"


class Key(str):
    """A step to a key itself, not to its value: keys that a client chooses are texts too."""

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Key) and str.__eq__(self, other)

    def __hash__(self) -> int:
        return hash((Key, str.__hash__(self)))


INSIDE: Final = _Inside()
OPENED: Final = _Opened()
Step = str | int | _Inside | _Opened
Path = tuple[Step, ...]


class Text(NamedTuple):
    """A text that a model would read, and where it stands."""

    path: Path
    value: str


@dataclass(frozen=True, slots=True)
class Words:
    """A dialect's own keys: `known` ones say nothing themselves, the strings below `skip` ones are
    read by no model (ids, types, URLs). With `numbers`, as in tool definitions and schemas, which a
    model is shown as they are, numbers are texts too and of strings only base64 is none; without
    `keys`, no key is; objects and lists below a key of `below` have words of their own."""

    known: frozenset[str]
    skip: frozenset[str]
    numbers: bool = False
    keys: bool = True
    below: Mapping[str, Words] = field(default_factory=dict)


# Somebody's own JSON, as in a tool's arguments: nothing in it is skipped.
OWN_JSON = Words(frozenset(), frozenset(), numbers=True)
# Encoded bytes and where to find them: pictures, sound, vectors, what a provider has sealed for
# itself.
_ALWAYS_BINARY = frozenset(
    "file_data b64_json partial_image_b64 embedding encrypted_content encrypted_index"
    " signature obfuscation image_url".split()
)


def _is_binary(node: Mapping[str, Any], key: str, words: Words) -> bool:
    """Whether the string at `key` is encoded bytes and no text, by what stands beside it."""
    if key == "data":
        kind = node.get("type")
        if kind == "text" or words.numbers:
            return kind == "base64"
        return kind in ("base64", "redacted_thinking") or "format" in node or "expires_at" in node
    if key == "result":
        return node.get("type") == "image_generation_call"
    return key in _ALWAYS_BINARY and not words.numbers


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
        _collect_object(node, path, words, out)
    elif isinstance(node, list):
        _collect_list(node, path, words, out)


def _collect_list(node: list[Any], path: Path, words: Words, out: list[Text]) -> None:
    parts = _text_parts(node, path)
    out += parts.values()
    for i, value in enumerate(node):
        if isinstance(value, dict):
            _collect_object(value, (*path, i), words, out, "text" if i in parts else None)
        elif i not in parts:
            _collect(value, (*path, i), words, out)


def _text_parts(node: list[Any], path: Path) -> dict[int, Text]:
    """The parts of text by their indexes, if there are several. They are found before all else, so
    that they stand side by side, whatever keys a client has put between them: see `joins`. In a
    content, strings are parts too."""
    found: dict[int, Text] = {}
    if len(node) > 1:
        for i, part in enumerate(node):
            if isinstance(part, dict) and isinstance(part.get("text"), str):
                found[i] = Text((*path, i, "text"), part["text"])
            elif isinstance(part, str) and path[-1:] == ("content",):
                found[i] = Text((*path, i), part)
    return found if len(found) > 1 else {}


def _collect_object(
    node: dict[str, Any], path: Path, words: Words, out: list[Text], done: str | None = None
) -> None:
    """The texts of an object, but for the value of the key that is `done`."""
    own = words is OWN_JSON
    for key, value in node.items():
        if words.keys and key not in words.known:
            out.append(Text((*path, Key(key)), key))
        if key == done:
            continue
        if isinstance(value, str):
            if key == "arguments":
                _arguments(value, (*path, key), out)
            elif own or not (key in words.skip or _is_binary(node, key, words)):
                out.append(Text((*path, key), value))
            elif (text := _opened(node, key, value)) is not None:
                out.append(Text((*path, key, OPENED), text))
        else:  # some take arguments as JSON and not as a text of JSON
            inner = OWN_JSON if key == "arguments" else words.below.get(key, words)
            _collect(value, (*path, key), inner, out)


def _opened(node: Mapping[str, Any], key: str, value: str) -> str | None:
    """The text of a file that stands where a provider would show it to a model."""
    if key == "data" and node.get("type") == "base64":
        return dataurls.decoded(value) if dataurls.is_text(node.get("media_type")) else None
    return dataurls.opened(value)


def _arguments(value: str, path: Path, out: list[Text]) -> None:
    try:
        inner = strictjson.loads(value)
    except strictjson.BadJSON:
        inner = None
    if inner is None or INSIDE in path:  # one level: each may nest as deep as a whole document
        out.append(Text(path, value))
    else:
        _collect(inner, (*path, INSIDE), OWN_JSON, out)


def openings_inside(document: Any) -> int:
    """How many objects and arrays the texts called arguments may hold, all of them together."""
    count = 0
    left = [document]
    while left:
        node = left.pop()
        if isinstance(node, dict):
            value = node.get("arguments")
            count += value.count("[") + value.count("{") if isinstance(value, str) else 0
            left += node.values()
        elif isinstance(node, list):
            left += node
    return count


def joins(texts: Sequence[Text]) -> list[tuple[int, int]]:
    """Ranges [first, last) of texts that a model reads as one: the text parts of one list."""
    out: list[tuple[int, int]] = []
    first, before = 0, None
    for i, text in enumerate(texts):
        part = _list_of(text.path)
        if part is None or part != before:
            if i - first > 1 and before is not None:
                out.append((first, i))
            first, before = i, part
    if len(texts) - first > 1 and before is not None:
        out.append((first, len(texts)))
    return out


def _list_of(path: Path) -> Path | None:
    """The list that a text is a part of. Choices are answers of their own, no parts of one."""
    if path[-2:-1] == ("content",) and isinstance(path[-1], int):
        return path[:-1]
    if len(path) > 2 and path[-1] == "text" and path[-3] != "choices":
        return path[:-2]
    return None


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
    if OPENED in below:
        return dataurls.closed(document, below[OPENED][()])
    copy = document.copy()
    names = {}
    for step, inside in below.items():
        if isinstance(step, Key):
            names[str(step)] = inside[()]
        else:
            copy[step] = replaced(document[step], inside)
    return _renamed(copy, names) if names else copy


def masked(document: Any, texts: Sequence[Text], shown: Sequence[str] | None) -> Any:
    """`document` with each of its texts as it is shown; itself, if none differs."""
    if shown is None:
        return document
    pairs = zip(texts, shown, strict=True)
    changes = {text.path: new for text, new in pairs if new is not text.value}
    return replaced(document, changes) if changes else document


def _renamed(node: dict[str, Any], names: dict[str, str]) -> dict[str, Any]:
    """`node` with keys renamed, in order. Two that become one get a number: no value is lost."""
    out: dict[str, Any] = {}
    number = len(node)
    for key, value in node.items():
        new = names.get(key, key)
        while new in out or (key in names and new in node and new not in names):
            number += 1
            new = f"{names.get(key, key)} {number}"
        out[new] = value
    return out
