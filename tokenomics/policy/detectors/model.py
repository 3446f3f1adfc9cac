"""What a kind of personal data or secret is: where to look, and what there really is one.

The pattern is RE2 (linear time) and finds candidates: it casts wide, and takes along the characters
beside a match that decide whether it is one. `refine` sees a candidate and nothing around it, and
says where in it this kind stands; both lists and words glued together put several into one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from tokenomics.policy.regexes import LARGE_PATTERN_MEMORY, Pattern, compile_pattern

Spans = Iterable[tuple[int, int]]
Refine = Callable[[str], Spans]

# What may stand before a match and has a say, in RE2; and what must not, in `re`. An `n` that
# belongs to a line's end inside escaped JSON ("card:\n4111...") is no letter.
BEFORE = r"(?:\\[nrtbf]|[0-9A-Za-z])?"
STARTS = r"(?:(?<![0-9A-Za-z])|(?<=\\[nrtbf]))"
AFTER = r"[0-9A-Za-z]?"
ENDS = r"(?![0-9A-Za-z])"


@dataclass(frozen=True, slots=True)
class Detector:
    """One kind.

    `hint`: texts of which at least one stands, in this case, wherever the pattern matches; None if
    there is no such short list. `longest`: the most characters of a candidate; None if it has no
    bound.
    """

    kind: str
    pattern: str
    refine: Refine
    hint: tuple[str, ...] | None = None
    longest: int | None = None

    def compiled(self) -> Pattern:
        """The pattern, compiled once per process."""
        return compile_pattern(self.pattern, LARGE_PATTERN_MEMORY)

    def spans(self, text: str) -> Iterator[tuple[int, int]]:
        """Where `text` holds this kind: in order, none empty, none over another."""
        for start, end in self.compiled().spans(text):
            for first, last in self.refine(text[start:end]):
                yield start + first, start + last


def sifted(shape: str, valid: Callable[[str], bool], flags: int = 0) -> Refine:
    """Keep the matches of `shape` that are valid. What is not may hide one that begins inside it.

    Where the shape has a group that matched, that group is what is found. A shape must have a
    bound, or the search for what is hidden takes quadratic time.
    """
    compiled = re.compile(shape, flags | re.ASCII)

    def refine(text: str) -> Iterator[tuple[int, int]]:
        place = 0
        while found := compiled.search(text, place):
            group = found.lastindex or 0
            if valid(found[group]):
                yield found.span(group)
                place = found.end()
            else:
                place = found.start() + 1

    return refine


def merged(spans: Spans) -> Iterator[tuple[int, int]]:
    """In order; those that overlap become one: nobody knows which was meant."""
    start, end = 0, 0
    for first, last in sorted(spans):
        if first < end:
            end = max(end, last)
            continue
        if end:
            yield start, end
        start, end = first, last
    if end:
        yield start, end


def is_placeholder(value: str) -> bool:
    """Whether a key or password only marks its place: `xxxx`, `****`, `0000`, `<key>`, `${KEY}`."""
    only_marks = len(value) > 2 and not set(value.lower()) - set("x*0.-_")
    return only_marks or value[0] in "<{$[%("
