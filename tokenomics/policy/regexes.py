"""The one module that knows RE2: linear time, and the dialect users' policies are written in.

https://github.com/google/re2/wiki/Syntax. Search semantics, as Go's `MatchString` has them. RE2
works on UTF-8, and so do the scanners: the wrapper would encode a str anew for every call. A search
lets go of the GIL, so that one in a thread holds up nobody, however long the text.
"""

from __future__ import annotations

import functools
import unicodedata
from collections.abc import Iterator
from typing import Any

import re2  # type: ignore[import-untyped]  # google-re2 ships no stubs

# What one compiled pattern may use. RE2's own default is 8 MiB; policies hold dozens of patterns.
MAX_PATTERN_MEMORY = 8 << 20
# What one of our own large ones may use. With less its automaton gives up where a long run of
# letters stands before a match, and a search takes a thousand times as long.
LARGE_PATTERN_MEMORY = 32 << 20


def _options(memory: int) -> Any:
    options = re2.Options()
    options.max_mem = memory
    options.log_errors = False
    options.never_capture = True  # finding groups takes a second, slower pass
    return options


class BadPattern(ValueError):
    """RE2 refuses the pattern; the message is its reason."""


def encoded(text: str) -> bytes:
    """UTF-8; lone surrogates, which JSON can hold, as three bytes that are one character to RE2."""
    return text.encode("utf-8", "surrogatepass")


class Pattern:
    """A compiled pattern. Positions are bytes of UTF-8, save where a str is given."""

    __slots__ = ("_regexp", "source")

    def __init__(self, source: str, regexp: Any) -> None:
        self.source = source
        self._regexp = regexp

    @property
    def size(self) -> int:
        """Instructions of the program that RE2 made of it."""
        return int(self._regexp.programsize)

    def search(self, data: bytes, start: int = 0, end: int | None = None) -> tuple[int, int] | None:
        """The first match that lies between `start` and `end`. What stands before and behind them
        is seen by `^`, `$` and `\\b`."""
        match = self._regexp.search(data, start, end)
        return None if match is None else match.span()

    def matches(
        self, data: bytes, start: int = 0, end: int | None = None
    ) -> Iterator[tuple[int, int]]:
        """All matches, leftmost first, non-overlapping, empty ones included."""
        end = len(data) if end is None else end
        while start <= end and (span := self.search(data, start, end)) is not None:
            yield span
            start = span[1] if span[1] > span[0] else after(data, span[1])

    def found_in(self, text: str) -> bool:
        """Whether the pattern matches anywhere in `text`."""
        return self._regexp.search(encoded(text)) is not None

    def spans(self, text: str) -> Iterator[tuple[int, int]]:
        """Where it matches, in characters: non-overlapping, leftmost first, never empty."""
        data, chars, done = encoded(text), 0, 0
        for start, end in self.matches(data):
            if end > start:
                chars += length(data, done, start)
                yield chars, (chars := chars + length(data, start, end))
                done = end


_CONTINUATION = bytes(range(0x80, 0xC0))  # bytes of UTF-8 that begin no character


def length(data: bytes, start: int, end: int) -> int:
    """How many characters begin between two places of UTF-8."""
    return len(data[start:end].translate(None, _CONTINUATION))


def after(data: bytes, place: int) -> int:
    """Where the next character behind `place` begins; beyond the end if there is none."""
    place += 1
    while place < len(data) and data[place] & 0xC0 == 0x80:
        place += 1
    return place


@functools.lru_cache(maxsize=4096)  # many tokens share few policies
def compile_pattern(source: str, memory: int = MAX_PATTERN_MEMORY) -> Pattern:
    """Compile `source`, to use so many bytes of memory. Raises BadPattern with RE2's reason."""
    try:
        return Pattern(source, re2.compile(source, _options(memory)))
    except re2.error as e:
        reason = e.args[0] if e.args else "refused"
        text = reason.decode("utf-8", "replace") if isinstance(reason, bytes) else str(reason)
        raise BadPattern(text) from None


def keyword_pattern(words: tuple[str, ...]) -> Pattern:
    """A pattern for whole words, whatever their case, and whether their accents are marks of their
    own or not, there and in the text. A word's edge counts only where the keyword itself begins or
    ends with a word character: `c++` needs no boundary behind it."""
    parts = []
    for word in dict.fromkeys([*words, *(unicodedata.normalize("NFC", word) for word in words)]):
        left = r"\b" if word[:1].isalnum() and word[:1].isascii() else ""
        right = r"\b" if word[-1:].isalnum() and word[-1:].isascii() else ""
        parts.append(left + _any_form(word) + right)
    return compile_pattern("(?i)(?:" + "|".join(parts) + ")")


def _any_form(word: str) -> str:
    """A pattern for a word with each of its letters in every form that is canonically the same."""
    if word.isascii():
        return str(re2.escape(word))
    out = []
    for char in word:
        forms = [re2.escape(form) for form in _forms(char)]
        out.append(f"(?:{'|'.join(forms)})" if len(forms) > 1 else forms[0])
    return "".join(out)


def _forms(char: str) -> list[str]:
    """A character, and what it is composed of: `\u1ebf` is `\xea` and a mark, that `e` and one."""
    parts = unicodedata.decomposition(char).split()
    if not parts or parts[0].startswith("<"):  # that is no canonical one
        return [char]
    first, *rest = [chr(int(part, 16)) for part in parts]
    return [char, *("".join([form, *rest]) for form in _forms(first))]
