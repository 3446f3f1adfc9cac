"""Screening JSON that comes in pieces: the arguments of a tool call.

Each string inside is a text of its own, looked at with its escapes undone and written with new
ones; a number is looked at whole. So what a mask puts there leaves the JSON valid, and no `\\u0040`
hides an address. What turns out to be no JSON goes on as plain text from where that shows: a
number or a literal is held until what follows it shows that it is one, and a string's quotes end
every match anyway.

Two keys that a mask makes equal stay two: what went out cannot be taken back.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Protocol

_SPACE = re.compile(r"[ \t\r\n]+")
_SCALAR = re.compile(r"[0-9A-Za-z+\-.]+")
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
_LITERALS = frozenset({"true", "false", "null"})
MAX_SCALAR = 4300  # characters of a number; Python converts no longer integers
_PLAIN = re.compile(r'[^"\\]+')
_ESCAPES = {'"': '"', "\\": "\\", "/": "/", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}
_HEX4 = re.compile(r"[0-9a-fA-F]{4}")
_HEX = re.compile(r"[0-9a-fA-F]*")
_LOW = re.compile(r"\\?|\\u[0-9a-fA-F]*")  # the beginning of the second half of a pair
# Where the text stands: before a value, an object's first key, its next key, a colon; after a
# value in an object or array; after a scalar that is all there is.
_VALUE, _FIRST_KEY, _KEY, _COLON, _AFTER, _ENDED = range(6)


class Screen(Protocol):
    """Text in, text that may go out: `policy.screen.Screen`."""

    def feed(self, text: str) -> str:
        """What may go out now."""

    def end(self) -> str:
        """The rest."""


class JsonScreen:
    """A screen over JSON text, with a screen of its own for each string and number in it."""

    def __init__(self, open_screen: Callable[[], Screen]) -> None:
        self._open = open_screen
        self._state = _VALUE
        self._nesting: list[str] = []  # the brackets that will close what is open
        self._string: Screen | None = None  # while inside a string
        self._is_key = False
        self._scalar: list[str] = []  # a number or literal, and the space behind it
        self._scalar_size = 0
        self._spaced = False  # whether the scalar has ended
        self._pending = ""  # an escape that has not come whole
        self._plain: Screen | None = None  # once it is known to be no JSON

    def feed(self, text: str) -> str:
        """What may go out now."""
        if self._plain is not None:
            return self._plain.feed(text)
        text = self._pending + text
        self._pending = ""
        out: list[str] = []
        at = 0
        while at < len(text):
            if self._plain is not None:
                out.append(self._plain.feed(text[at:]))
                break
            if self._string is not None:
                at = self._in_string(self._string, text, at, out)
            else:
                at = self._outside(text, at, out)
        return "".join(out)

    def end(self) -> str:
        """The rest. A string that never ended stays one without an end."""
        out: list[str] = []
        if self._string is not None:
            out.append(_escaped(self._string.feed(self._pending) + self._string.end()))
            self._string = None
        elif self._scalar:
            self._end_scalar(out)
        if self._plain is not None:
            out.append(self._plain.end())
        return "".join(out)

    def _outside(self, text: str, at: int, out: list[str]) -> int:
        space = _SPACE.match(text, at)
        if space is not None:
            self._keep(space[0], out)
            return space.end()
        scalar = None if self._spaced else _SCALAR.match(text, at)
        if scalar is not None and self._state == _VALUE:
            self._scalar.append(scalar[0])
            self._scalar_size += len(scalar[0])
            if self._scalar_size > MAX_SCALAR:
                self._go_plain(out)
            return scalar.end()
        if self._scalar and (text[at] not in ",]}" or not self._nesting):
            self._go_plain(out)  # two words, or a word and a quote
            return at
        if self._scalar:
            self._end_scalar(out)
        elif not self._structure(text[at]):
            self._go_plain(out)
        else:
            out.append(text[at])
            return at + 1
        return at

    def _keep(self, space: str, out: list[str]) -> None:
        """Space between tokens; behind a scalar it waits with it."""
        if self._scalar:
            self._scalar.append(space)
            self._scalar_size += len(space)
            self._spaced = True
        else:
            out.append(space)

    def _structure(self, char: str) -> bool:
        """Take a character that is no scalar and no space; False if no JSON has it here."""
        state = self._state
        if char == '"' and state in (_VALUE, _FIRST_KEY, _KEY):
            self._is_key = state != _VALUE
            self._string = self._open()
        elif char in "{[" and state == _VALUE:
            self._nesting.append("}" if char == "{" else "]")
            self._state = _FIRST_KEY if char == "{" else _VALUE
        elif char == ":" and state == _COLON:
            self._state = _VALUE
        elif char == "," and state == _AFTER:
            self._state = _KEY if self._nesting[-1] == "}" else _VALUE
        elif self._nesting and char == self._nesting[-1] and state in (_AFTER, _FIRST_KEY, _VALUE):
            self._nesting.pop()
            # One more may follow: some providers send the calls of tools without their indexes.
            self._state = _AFTER if self._nesting else _VALUE
        else:
            return False
        return True

    def _ended(self, *, key: bool = False) -> None:
        """A string or scalar has ended."""
        self._state = _COLON if key else _AFTER if self._nesting else _ENDED

    def _end_scalar(self, out: list[str]) -> None:
        """Let a whole scalar go, looked at if it is a number; or go on as plain text."""
        held = "".join(self._scalar)
        token = held.rstrip(" \t\r\n")
        is_number = _NUMBER.fullmatch(token) is not None
        if not is_number and token not in _LITERALS:
            self._go_plain(out)
            return
        self._take_scalar()
        self._ended()
        if is_number:
            value = str(json.loads(token))
            screen = self._open()
            shown = screen.feed(value) + screen.end()
            if shown != value:
                held = json.dumps(shown, ensure_ascii=False) + held[len(token) :]
        out.append(held)

    def _take_scalar(self) -> str:
        held = "".join(self._scalar)
        self._scalar, self._scalar_size, self._spaced = [], 0, False
        return held

    def _go_plain(self, out: list[str]) -> None:
        self._plain = self._open()
        out.append(self._plain.feed(self._take_scalar()))

    def _in_string(self, screen: Screen, text: str, at: int, out: list[str]) -> int:
        parts: list[str] = []
        while at < len(text) and text[at] != '"':
            match = _PLAIN.match(text, at)
            size, plain = (len(match[0]), match[0]) if match else _unescaped(text, at)
            if size == 0:
                self._pending = text[at:]
                at = len(text)
            parts.append(plain)
            at += size
        out.append(_escaped(screen.feed("".join(parts))))
        if at < len(text):
            out.append(_escaped(screen.end()) + '"')
            self._string = None
            self._ended(key=self._is_key)
            at += 1
        return at


def _unescaped(text: str, at: int) -> tuple[int, str]:
    """(characters of the escape at `at`, what it stands for); 0 if it has not come whole. What is
    no escape stands for itself."""
    if at + 1 >= len(text):
        return 0, ""
    char = text[at + 1]
    if char != "u":
        return 2, _ESCAPES.get(char, text[at : at + 2])
    digits = text[at + 2 : at + 6]
    if not _HEX4.fullmatch(digits):
        cut = len(digits) < 4 and _HEX.fullmatch(digits)
        return (0, "") if cut else (2, text[at : at + 2])
    code = int(digits, 16)
    if not 0xD800 <= code < 0xDC00:
        return 6, chr(code) if not 0xDC00 <= code < 0xE000 else "\ufffd"
    low = text[at + 6 : at + 12]
    if len(low) < 6 and _LOW.fullmatch(low):
        return 0, ""
    if low[:2] != "\\u" or not _HEX4.fullmatch(low[2:]) or not 0xDC00 <= int(low[2:], 16) < 0xE000:
        return 6, "\ufffd"
    return 12, chr(0x10000 + ((code - 0xD800) << 10) + int(low[2:], 16) - 0xDC00)


def _escaped(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)[1:-1] if text else ""
