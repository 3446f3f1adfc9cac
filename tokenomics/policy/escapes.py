"""A text with its escapes undone, and the way back.

JSON within a text (a tool's result, arguments that are no JSON to one parser) is read by a model
with its escapes undone, so that `jane\\u0040example.org` is an address. So is `%40` in a URL;
elsewhere it is what it is.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from typing import NamedTuple

# JSON within JSON doubles its backslashes at each level: any number of them is one.
_ESCAPE = re.compile(
    r"\\++(?:u(?P<high>[dD][89abAB][0-9a-fA-F]{2})\\++u(?P<low>[dD][c-fC-F][0-9a-fA-F]{2})"
    r"|u(?P<code>[0-9a-fA-F]{4})|(?P<simple>[\"/bfnrt]))|(?P<at>%40)"
)
_SLASHES = re.compile(r"\\+")
_SPACE = re.compile(r"\s")
MAX_URL = 2048  # characters of a URL before an escape in it
_SIMPLE = {'"': '"', "/": "/", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}
# How far from an escape a match that it makes is looked for, in characters: from one that can
# stand for any character, and from one that is a line's end or a quote, of which code is full.
FAR, NEAR = 512, 128


class Unescaped(NamedTuple):
    """`text` has one character for each escape: that at `places[i]`, and behind it the original is
    `shifts[i + 1]` characters ahead. `simple` tells which are quotes, slashes and line ends."""

    text: str
    places: Sequence[int]
    shifts: Sequence[int]
    simple: Sequence[bool]

    def place(self, at: int) -> int:
        """Where in the original a place between two characters of `text` is."""
        return at + self.shifts[bisect_left(self.places, at)]

    def windows(self) -> Iterator[tuple[int, int]]:
        """What is near an escape, each part once."""
        first = last = 0
        for place, simple in zip(self.places, self.simple, strict=True):
            around = NEAR if simple else FAR
            if place - around > last:
                if last:
                    yield first, min(last, len(self.text))
                first = place - around
            last = max(last, place + 1 + around)
        if last:
            yield first, min(last, len(self.text))


def may_hold_escapes(text: str) -> bool:
    """Whether a search for escapes is worth it."""
    return "\\" in text or "%" in text


def unescaped(text: str) -> Unescaped | None:
    """`text` with its escapes undone, None if it has none."""
    if not may_hold_escapes(text):
        return None
    parts: list[str] = []
    places: list[int] = []
    shifts, simple = [0], []
    done = 0
    for found in _escapes(text):
        start, end = found.span()
        parts += text[done:start], _meant(found)
        places.append(start - shifts[-1])
        shifts.append(shifts[-1] + end - start - 1)
        simple.append(found["simple"] is not None)
        done = end
    if not places:
        return None
    parts.append(text[done:])
    return Unescaped("".join(parts), places, shifts, simple)


def _escapes(text: str) -> Iterator[re.Match[str]]:
    """Each escape. To look for one character takes a hundredth of what a pattern's search takes."""
    end = len(text)
    slash, percent = _next(text, "\\", 0), _next(text, "%", 0)
    while (at := min(slash, percent)) < end:
        found = _ESCAPE.match(text, at)
        if found is not None:
            if found["at"] is None or _in_url(text, at):
                yield found
            behind = found.end()
        else:
            slashes = _SLASHES.match(text, at)
            behind = slashes.end() if slashes else at + 1
        if slash < behind:
            slash = _next(text, "\\", behind)
        if percent < behind:
            percent = _next(text, "%", behind)


def _in_url(text: str, at: int) -> bool:
    """Whether a URL has begun before `at` and not ended."""
    begin = max(0, at - MAX_URL)
    scheme = max(text.rfind("://", begin, at), text.rfind("mailto:", begin, at))
    return scheme >= 0 and _SPACE.search(text, scheme, at) is None


def _next(text: str, mark: str, at: int) -> int:
    place = text.find(mark, at)
    return place if place >= 0 else len(text)


def _meant(found: re.Match[str]) -> str:
    """The character that an escape stands for."""
    if found["high"]:
        high, low = int(found["high"], 16) - 0xD800, int(found["low"], 16) - 0xDC00
        return chr(0x10000 + (high << 10) + low)
    if found["code"]:
        return chr(int(found["code"], 16))
    return _SIMPLE[found["simple"]] if found["simple"] else "@"
