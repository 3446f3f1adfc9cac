"""The one module that knows RE2: linear time, and the dialect users' policies are written in.

https://github.com/google/re2/wiki/Syntax. Search semantics, as Go's `MatchString` has them.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

import re2  # type: ignore[import-untyped]  # google-re2 ships no stubs

# What one compiled pattern may use. RE2's own default is 8 MiB; policies hold dozens of patterns.
MAX_PATTERN_MEMORY = 8 << 20

_options = re2.Options()
_options.max_mem = MAX_PATTERN_MEMORY
_options.log_errors = False


class BadPattern(ValueError):
    """RE2 refuses the pattern; the message is its reason."""


class Pattern:
    """A compiled pattern over str."""

    __slots__ = ("_regexp", "source")

    def __init__(self, source: str, regexp: Any) -> None:
        self.source = source
        self._regexp = regexp

    def found_in(self, text: str) -> bool:
        """Whether the pattern matches anywhere in `text`."""
        return self._regexp.search(text) is not None

    def spans(self, text: str) -> Iterator[tuple[int, int]]:
        """Where it matches: non-overlapping, leftmost first, never empty."""
        for match in self._regexp.finditer(text):
            start, end = match.span()
            if end > start:
                yield start, end


@functools.lru_cache(maxsize=4096)  # many tokens share few policies
def compile_pattern(source: str) -> Pattern:
    """Compile `source`. Raises BadPattern with RE2's reason."""
    try:
        return Pattern(source, re2.compile(source, _options))
    except re2.error as e:
        reason = e.args[0] if e.args else "refused"
        text = reason.decode("utf-8", "replace") if isinstance(reason, bytes) else str(reason)
        raise BadPattern(text) from None


def keyword_pattern(words: tuple[str, ...]) -> Pattern:
    """A pattern for whole words, whatever their case. A word's edge counts only where the keyword
    itself begins or ends with a word character: `c++` needs no boundary behind it."""
    parts = []
    for word in words:
        left = r"\b" if word[:1].isalnum() and word[:1].isascii() else ""
        right = r"\b" if word[-1:].isalnum() and word[-1:].isascii() else ""
        parts.append(left + re2.escape(word) + right)
    return compile_pattern("(?i)(?:" + "|".join(parts) + ")")
