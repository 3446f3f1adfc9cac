"""Screening JSON that comes in pieces: the arguments of a tool call.

Each string inside is a text of its own, looked at with its escapes undone and written with new
ones; a number is looked at whole. So what a mask puts there leaves the JSON valid, and no `\\u0040`
hides an address. What turns out to be no JSON goes on as plain text.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Protocol

_STRUCTURE = re.compile(r'[^"0-9-]+')
_NUMBER = re.compile(r"[0-9+\-.eE]+")
_PLAIN = re.compile(r'[^"\\]+')
_ESCAPES = {'"': '"', "\\": "\\", "/": "/", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}
_HEX4 = re.compile(r"[0-9a-fA-F]{4}")


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
        self._string: Screen | None = None  # while inside a string
        self._number = ""
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
            at = self._in_string(text, at, out) if self._string else self._outside(text, at, out)
        return "".join(out)

    def end(self) -> str:
        """The rest. A string that never ended stays one without an end."""
        if self._plain is not None:
            return self._plain.end()
        out = [self._take_number()] if self._number else []
        if self._string is not None:
            out.append(_escaped(self._string.feed(self._pending) + self._string.end()))
            self._string = None
        return "".join(out)

    def _outside(self, text: str, at: int, out: list[str]) -> int:
        match = _NUMBER.match(text, at) if self._number or text[at] in "-0123456789" else None
        if match is not None:
            self._number += match[0]
            return match.end()
        if self._number:
            out.append(self._take_number())
        if text[at] == '"':
            out.append('"')
            self._string = self._open()
            return at + 1
        match = _STRUCTURE.match(text, at)
        assert match is not None, "a quote, a number, or something else"
        if not _is_structure(match[0]):
            self._plain = self._open()
            return at
        out.append(match[0])
        return match.end()

    def _take_number(self) -> str:
        number, self._number = self._number, ""
        screen = self._open()
        shown = screen.feed(number) + screen.end()
        return shown if shown == number else json.dumps(shown, ensure_ascii=False)

    def _in_string(self, text: str, at: int, out: list[str]) -> int:
        assert self._string is not None
        match = _PLAIN.match(text, at)
        if match is not None:
            out.append(_escaped(self._string.feed(match[0])))
            return match.end()
        if text[at] == '"':
            out.append(_escaped(self._string.end()) + '"')
            self._string = None
            return at + 1
        size, plain = _unescaped(text, at)
        if size == 0:
            self._pending = text[at:]
            return len(text)
        out.append(_escaped(self._string.feed(plain)))
        return at + size


def _is_structure(text: str) -> bool:
    """Whether it is what JSON has between strings and numbers; literals may come in pieces."""
    return all(char in " \t\r\n{}[]:,truefalsn" for char in text)


def _unescaped(text: str, at: int) -> tuple[int, str]:
    """(characters of the escape at `at`, what it stands for); 0 if it has not come whole. What is
    no escape stands for itself."""
    if at + 1 >= len(text):
        return 0, ""
    char = text[at + 1]
    if char != "u":
        return 2, _ESCAPES.get(char, text[at : at + 2])
    digits = text[at + 2 : at + 6]
    if len(digits) < 4:
        return 0, ""
    if not _HEX4.fullmatch(digits):
        return 2, text[at : at + 2]
    code = int(digits, 16)
    if not 0xD800 <= code < 0xDC00:
        return 6, chr(code) if not 0xDC00 <= code < 0xE000 else "\ufffd"
    low = text[at + 6 : at + 12]
    if len(low) < 6 and "\\u".startswith(low[:2]):
        return 0, ""
    if low[:2] != "\\u" or not _HEX4.fullmatch(low[2:]) or not 0xDC00 <= int(low[2:], 16) < 0xE000:
        return 6, "\ufffd"
    return 12, chr(0x10000 + ((code - 0xD800) << 10) + int(low[2:], 16) - 0xDC00)


def _escaped(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)[1:-1] if text else ""
