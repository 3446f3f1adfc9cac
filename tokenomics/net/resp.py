"""RESP, the protocol of Redis and Valkey: commands to bytes, bytes to replies. Pure.

Both versions are read, RESP2 and RESP3 (https://redis.io/docs/latest/develop/reference/
protocol-spec/). What is not a reply is refused as soon as it shows, and never skipped: replies are
told apart by their order alone, so after one that is not understood no other can be trusted.

Values are Python's: texts of all kinds are bytes, sets are lists, all nulls are None. Attributes,
which may stand before any value, are read and dropped. The parts of streamed texts and groups
(`$?`, `*?`) are refused: no server sends them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from types import EllipsisType
from typing import Final, TypeAlias

# Bounds of one reply. Ours are a few numbers; these keep a broken server from taking all memory.
MAX_REPLY_BYTES = 16 << 20
MAX_DEPTH = 32
MAX_LINE_BYTES = 64 << 10  # a simple text or an error; Lua puts its trace into one
MAX_DIGITS = 1000  # of a big number, which takes quadratic time to read

_INTEGERS = 1 << 63
_SMALLEST = 3  # bytes of the smallest value, `_\r\n`
_END = b"\r\n"


class BadReply(Exception):
    """What came is no reply: the connection is of no use any more."""


@dataclass(frozen=True, slots=True)
class ReplyError:
    """An error as the server wrote it, such as `NOSCRIPT No matching script.`"""

    message: str

    @property
    def kind(self) -> str:
        """Its first word, or ERR if that is none. Before version 7 Redis packed what a command of
        a script said into an ERR: it is unpacked."""
        match = _OF_SCRIPT.match(self.message) or _KIND.match(self.message)
        return match[1] if match else "ERR"


@dataclass(frozen=True, slots=True)
class Push:
    """What a server sends without being asked: it answers no command."""

    items: list[Reply]


Scalar: TypeAlias = "bool | int | float | bytes | ReplyError | None"
Reply: TypeAlias = "Scalar | Push | list[Reply] | dict[Scalar, Reply]"

_KIND = re.compile(r"([A-Z][A-Z0-9_]*)(?: |$)")
_OF_SCRIPT = re.compile(r"ERR Error running script .*?: -([A-Z][A-Z0-9_]*) ", re.DOTALL)
_WHOLE_NUMBER = re.compile(rb"[+-]?[0-9]{1,19}")
_BIG_NUMBER = re.compile(rb"[+-]?[0-9]{1,%d}" % MAX_DIGITS)
_DOUBLE = re.compile(rb"[+-]?(?:[0-9]{1,400}(?:\.[0-9]{0,400})?(?:[eE][+-]?[0-9]{1,4})?|inf|nan)")
_LENGTH = re.compile(rb"[0-9]{1,10}|-1")


def encode(*words: bytes | str | int) -> bytes:
    """A command. Text is written as UTF-8."""
    parts = [b"*%d\r\n" % len(words)]
    for word in words:
        if isinstance(word, str):
            word = word.encode()
        elif isinstance(word, int):
            word = b"%d" % word
        parts.append(b"$%d\r\n%b\r\n" % (len(word), word))
    return b"".join(parts)


def _text(text: bytes) -> Reply:
    return text


def _error(text: bytes) -> Reply:
    return ReplyError(text.decode("utf-8", "replace"))


def _simple(line: bytes) -> Reply:
    if b"\n" in line or b"\r" in line:
        raise BadReply(f"{_shown(line)} has half a line end in it")
    return line


def _simple_error(line: bytes) -> Reply:
    _simple(line)
    return _error(line)


def _integer(line: bytes) -> Reply:
    if len(line) < 19 and line.isdigit():  # nearly all are; the pattern takes longer
        return int(line)
    if _WHOLE_NUMBER.fullmatch(line):
        value = int(line)
        if -_INTEGERS <= value < _INTEGERS:
            return value
    raise BadReply(f"{_shown(line)} is not an integer")


def _big_number(line: bytes) -> Reply:
    if not _BIG_NUMBER.fullmatch(line):
        raise BadReply(f"{_shown(line)} is not a big number")
    return int(line)


def _double(line: bytes) -> Reply:
    if not _DOUBLE.fullmatch(line):
        raise BadReply(f"{_shown(line)} is not a double")
    return float(line)


def _boolean(line: bytes) -> Reply:
    if line not in (b"t", b"f"):
        raise BadReply(f"{_shown(line)} is not a boolean")
    return line == b"t"


def _null(line: bytes) -> Reply:
    if line:
        raise BadReply(f"{_shown(line)} is not a null")
    return None


def _verbatim(text: bytes) -> Reply:
    if text[3:4] != b":":
        raise BadReply("a verbatim text without its format")
    return text[4:]


# The first byte of a value: what reads the rest of its line, or its text.
_LINES: dict[int, Callable[[bytes], Reply]] = {
    ord("+"): _simple,
    ord("-"): _simple_error,
    ord(":"): _integer,
    ord("("): _big_number,
    ord(","): _double,
    ord("#"): _boolean,
    ord("_"): _null,
}
_TEXTS: dict[int, Callable[[bytes], Reply]] = {
    ord("$"): _text,
    ord("!"): _error,
    ord("="): _verbatim,
}
_LIST, _SET, _PUSH, _MAP, _ATTRIBUTE = b"*~>%|"
# The values that follow for each that is counted.
_GROUPS = {_LIST: 1, _SET: 1, _PUSH: 1, _MAP: 2, _ATTRIBUTE: 2}
_NULLABLE = (ord("$"), _LIST)  # RESP2's nulls
_FIRST = frozenset([*_LINES, *_TEXTS, *_GROUPS])


# What stands for no value, since None is one. Checked by `is`, which a class of ours would not let
# the type checker follow.
_Nothing: TypeAlias = EllipsisType
_NOTHING: Final = ...


@dataclass(slots=True)
class _Group:
    """A group whose values are still coming."""

    kind: int
    left: int
    items: list[Reply] = field(default_factory=list)


class Parser:
    """Takes bytes as they come and gives whole replies. It holds what is not yet whole."""

    def __init__(self, max_bytes: int = MAX_REPLY_BYTES) -> None:
        self._max = max_bytes
        self._data = bytearray()
        self._at = 0  # in `_data`, where the next value begins
        self._size = 0  # bytes read of the reply under way
        self._groups: list[_Group] = []  # it is inside of, outermost first
        self._text: tuple[int, int] | None = None  # kind and bytes of a text that is to be read
        self._fault = ""

    def receive(self, data: bytes) -> None:
        """More bytes came."""
        del self._data[: self._at]
        self._at = 0
        self._data += data

    def replies(self) -> Iterator[Reply]:
        """The replies that are whole by now, each once. Raises BadReply behind the last one that
        is good, and at every call from then on."""
        if self._fault:
            raise BadReply(self._fault)
        try:
            while self._at < len(self._data):
                before = self._at
                value = self._read()
                if self._at == before:
                    break
                self._size += self._at - before
                self._require(0)
                if value is not _NOTHING:
                    value = self._place(value)
                if value is not _NOTHING:
                    self._size = 0
                    yield value
        except BadReply as e:
            self._fault = str(e)
            raise

    def _read(self) -> Reply | _Nothing:
        """The next value, or nothing if it has only begun. What was read is passed over."""
        if self._text is not None:
            return self._read_text(*self._text)
        data, at = self._data, self._at
        kind, end = data[at], data.find(_END, at)
        if kind not in _FIRST:
            raise BadReply(f"{_shown(bytes(data[at : at + 32]))} begins no reply")
        if (end if end >= 0 else len(data) - 1) - at > MAX_LINE_BYTES:  # a lone CR may end it
            raise BadReply(f"a line is longer than {MAX_LINE_BYTES} bytes")
        if end < 0:
            return _NOTHING
        line = bytes(data[at + 1 : end])
        self._at = end + 2
        read = _LINES.get(kind)
        return read(line) if read else self._begin(kind, line)

    def _begin(self, kind: int, line: bytes) -> Reply | _Nothing:
        """A text or group of so many bytes or values follows."""
        if not _LENGTH.fullmatch(line):
            raise BadReply(f"{_shown(line)} is not a length")
        if line == b"-1":
            if kind not in _NULLABLE:
                raise BadReply("a length of -1")
            return None
        count = int(line)
        if kind in _TEXTS:
            self._text = (kind, count)
            self._require(count)
            return self._read_text(kind, count)
        return self._begin_group(kind, count * _GROUPS[kind])

    def _begin_group(self, kind: int, values: int) -> Reply | _Nothing:
        if kind == _PUSH and self._groups:
            raise BadReply("a push inside a reply")
        if len(self._groups) >= MAX_DEPTH:
            raise BadReply(f"a reply is more than {MAX_DEPTH} deep")
        self._require(values * _SMALLEST)
        group = _Group(kind, values)
        if not values:
            return _closed(group)
        self._groups.append(group)
        return _NOTHING

    def _require(self, size: int) -> None:
        """So many more bytes must have room."""
        if self._size + size > self._max:
            raise BadReply(f"a reply is longer than {self._max} bytes")

    def _read_text(self, kind: int, size: int) -> Reply | _Nothing:
        start = self._at
        end = start + size
        if len(self._data) < end + 2:
            return _NOTHING
        if self._data[end : end + 2] != _END:
            raise BadReply("a text does not end where it should")
        self._at, self._text = end + 2, None
        return _TEXTS[kind](bytes(self._data[start:end]))

    def _place(self, value: Reply) -> Reply | _Nothing:
        """The value goes into its group; the outermost thing that is whole by that, if any."""
        found: Reply | _Nothing = value
        groups = self._groups
        while groups and found is not _NOTHING:
            group = groups[-1]
            group.items.append(found)
            group.left -= 1
            if group.left:
                return _NOTHING
            groups.pop()
            found = _closed(group)
        return found


def _closed(group: _Group) -> Reply | _Nothing:
    """The value of a group that is whole; an attribute has none."""
    if group.kind in (_LIST, _SET):
        return group.items
    if group.kind == _PUSH:
        return Push(group.items)
    names, values = group.items[::2], group.items[1::2]
    found: dict[Scalar, Reply] = {}
    for name, value in zip(names, values, strict=True):
        if isinstance(name, list | dict | Push):
            raise BadReply("a map with a group for a name")
        found[name] = value
    return _NOTHING if group.kind == _ATTRIBUTE else found


def _shown(data: bytes) -> str:
    """A few bytes for people."""
    return repr(data[:32])[1:]
