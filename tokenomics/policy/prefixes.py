"""What could still become a match: from a pattern, the pattern of its matches' beginnings.

A stream must hold back a text while it may be the beginning of a match. `begun(E)` is a pattern for
the texts that more text can make a match of E: the beginnings of all its matches, save those that
end there. A literal leaves the empty beginning; AB is begun by a beginning of A, or by an A and a
beginning of B; A* by some As and a beginning of A; and so on: see `begun`.

Assertions that look back (`^`) are kept. Those that look ahead (`$`, `\\b`) are kept where
something of the match stands behind them, and count as fulfilled at the end of what has come, for
nobody knows what follows there.

The reader knows RE2's syntax (https://github.com/google/re2/wiki/Syntax) as far as it matters here:
where an atom ends, not what it means. What is greedy or lazy, and which alternative is preferred,
make no difference to where a match may begin, and are lost. It reads only what RE2 has accepted.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

# A concatenation is begun by a nest as deep as it is long. RE2 recurses into nests, so long ones
# are made of pieces of this many items: 1,000 items are nested 70 deep.
NEST = 32
# Atoms and groups of a pattern; more are not worth the memory of what is made of them.
MAX_ITEMS = 4000
MAX_DEPTH = 100  # of groups in groups


class Unreadable(ValueError):
    """A pattern that the reader does not know, though RE2 does."""


@dataclass(frozen=True, slots=True)
class Atom:
    """One character, whichever it is."""

    source: str


@dataclass(frozen=True, slots=True)
class Assertion:
    """Something that must hold between characters; `ahead` if what follows has a say in it."""

    source: str
    ahead: bool
    loose: str  # the same if a text's borders are line breaks


@dataclass(frozen=True, slots=True)
class Concat:
    """One after the other; nothing at all if there are none."""

    items: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Either:
    """Any of them."""

    items: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Repeat:
    """The same `least` to `most` times; None is without end."""

    item: Node
    least: int
    most: int | None


Node = Atom | Assertion | Concat | Either | Repeat

_TEXT_BEGINS = Assertion(r"\A", False, "(?m:^)")
_TEXT_ENDS = Assertion(r"\z", True, "(?m:$)")
_LINE_BEGINS = Assertion("(?m:^)", False, "(?m:^)")
_LINE_ENDS = Assertion("(?m:$)", True, "(?m:$)")
_ASSERTIONS = {
    r"\A": _TEXT_BEGINS,
    r"\z": _TEXT_ENDS,
    r"\b": Assertion(r"\b", True, r"\b"),
    r"\B": Assertion(r"\B", True, r"\B"),
}
_ESCAPE = re.compile(
    r"\\(?:[pP](?:\{[^}]*\}|.)|x(?:\{[^}]*\}|..)|[0-7]{1,3}|[^CEQ])", re.DOTALL | re.ASCII
)
_COUNT = re.compile(r"\{(\d+)(?:(,)(\d*))?\}", re.ASCII)
_GROUP = re.compile(r"\((?:\?P?<\w+>|\?([imsU]*)(?:-([imsU]*))?([:)])|(?!\?))")
_MARKS = frozenset(r"\.+*?()|[]{}^$")  # what means something else than itself
_NAMED_CLASS = re.compile(r"\[:\^?\w+:\]")


def read(source: str) -> Node:
    """The shape of a pattern that RE2 has accepted. Raises Unreadable."""
    return _Reader(source).whole()


class _Reader:
    """Reads one pattern from left to right; owns its place and the flags that hold there."""

    def __init__(self, source: str) -> None:
        self._source = source
        self._at = 0
        self._flags: frozenset[str] = frozenset()
        self._left = MAX_ITEMS

    def whole(self) -> Node:
        node = self._either(MAX_DEPTH)
        if self._at < len(self._source):
            raise Unreadable("a group is closed that was not opened")
        return node

    def _either(self, depth: int) -> Node:
        if depth == 0:
            raise Unreadable(f"groups are nested more than {MAX_DEPTH} deep")
        items = [self._concat(depth)]
        while self._next() == "|":
            self._at += 1
            items.append(self._concat(depth))
        return items[0] if len(items) == 1 else Either(tuple(items))

    def _concat(self, depth: int) -> Node:
        items: list[Node] = []
        while self._next() not in ("", "|", ")"):
            self._left -= 1
            if self._left < 0:
                raise Unreadable(f"more than {MAX_ITEMS} atoms")
            if not self._repeated(items):
                items += self._item(depth)
        return items[0] if len(items) == 1 else _in_pieces(items)

    def _next(self) -> str:
        return self._source[self._at : self._at + 1]

    def _repeated(self, items: list[Node]) -> bool:
        """Read a count, and give it to the last item."""
        mark = self._next()
        least, most = {"*": (0, None), "+": (1, None), "?": (0, 1)}.get(mark, (-1, None))
        length = 1
        if mark == "{" and (count := _COUNT.match(self._source, self._at)):
            least = int(count[1])
            most = int(count[3]) if count[3] else None if count[2] else least
            length = len(count[0])
        if least < 0:
            return False
        if not items:
            raise Unreadable("a count stands behind nothing")
        self._at += length
        if self._next() == "?":  # lazy
            self._at += 1
        items.append(Repeat(items.pop(), least, most))
        return True

    def _item(self, depth: int) -> list[Node]:
        mark = self._next()
        if mark == "(":
            return self._group(depth)
        if mark == "\\":
            return self._escape()
        if mark == "[":
            return [self._atom(self._class_end())]
        self._at += 1
        if mark == "^":
            return [_LINE_BEGINS if "m" in self._flags else _TEXT_BEGINS]
        if mark == "$":
            return [_LINE_ENDS if "m" in self._flags else _TEXT_ENDS]
        if mark == ".":
            return [Atom("(?s:.)" if "s" in self._flags else ".")]
        return [self._literal(mark)]

    def _group(self, depth: int) -> list[Node]:
        opened = _GROUP.match(self._source, self._at)
        if opened is None:
            raise Unreadable("an unknown kind of group")
        self._at = opened.end()
        outside = self._flags
        self._flags = (outside | set(opened[1] or "")) - set(opened[2] or "")
        if opened[3] == ")":
            return []  # flags for the rest of the group around it
        inside = self._either(depth - 1)
        if self._next() != ")":
            raise Unreadable("a group is not closed")
        self._at += 1
        self._flags = outside
        return [inside]

    def _escape(self) -> list[Node]:
        if self._source.startswith(r"\Q", self._at):
            text, _, _ = self._source[self._at + 2 :].partition(r"\E")
            self._at = min(self._at + len(text) + 4, len(self._source))
            return [self._literal(char) for char in text]
        escape = _ESCAPE.match(self._source, self._at)
        if escape is None:
            raise Unreadable(f"an unknown escape: {self._source[self._at : self._at + 2]}")
        if escape[0] in _ASSERTIONS:
            self._at = escape.end()
            return [_ASSERTIONS[escape[0]]]
        return [self._atom(escape.end())]

    def _atom(self, end: int) -> Atom:
        """What stands from here to `end`."""
        source = self._source[self._at : end]
        self._at = end
        return Atom(f"(?i:{source})" if "i" in self._flags else source)

    def _literal(self, char: str) -> Atom:
        if char in _MARKS:
            return Atom("\\" + char)
        return Atom(f"(?i:{char})" if "i" in self._flags and char.isalpha() else char)

    def _class_end(self) -> int:
        """Where the class that begins here ends. A `]` that comes first belongs to it."""
        at = self._at + 1
        if self._source.startswith("^", at):
            at += 1
        first = at
        while at < len(self._source):
            char = self._source[at]
            if char == "]" and at > first:
                return at + 1
            named = _NAMED_CLASS.match(self._source, at) if char == "[" else None
            at = named.end() if named else at + (2 if char == "\\" else 1)
        raise Unreadable("a class is not closed")


def _in_pieces(items: list[Node]) -> Concat:
    while len(items) > NEST:
        items = [Concat(tuple(items[i : i + NEST])) for i in range(0, len(items), NEST)]
    return Concat(tuple(items))


# Written again


def written(node: Node, *, loose: bool = False) -> str:
    """A pattern that matches where the one that was read does, without groups of its own.

    `loose` is for texts that are joined by line breaks: it matches there wherever the pattern
    matches one of the texts alone, and perhaps elsewhere too.
    """
    match node:
        case Atom(source):
            return source
        case Assertion(source, _, at_breaks):
            return at_breaks if loose else source
        case Concat(items):
            return "".join(_grouped(item, loose) for item in items)
        case Either(items):
            return "|".join(written(item, loose=loose) for item in items)
        case Repeat(item, least, most):
            return f"(?:{written(item, loose=loose)}){_count(least, most)}"


def _grouped(node: Node, loose: bool) -> str:
    source = written(node, loose=loose)
    return f"(?:{source})" if isinstance(node, Either) else source


def _count(least: int, most: int | None) -> str:
    if most is None and least < 2:
        return "*+"[least]
    return f"{{{least},{'' if most is None else most}}}"


def begun(node: Node) -> str | None:
    """A pattern for what can still become a match of `node`; None if nothing can."""
    match node:
        case Atom():
            return ""
        case Assertion(_, ahead):
            return "" if ahead else None
        case Either(items):
            return _any_of([begun(item) for item in items])
        case Concat(items):
            rest: str | None = None
            for item in reversed(items):
                behind = None if rest is None else _grouped(item, False) + rest
                rest = _any_of([begun(item), behind])
            return rest
        case Repeat(item, _, most):
            inside = begun(item)
            if inside is None or most == 0:
                return None
            before = "" if most == 1 else f"(?:{written(item)}){_count(0, most and most - 1)}"
            return before + inside


def _any_of(sources: list[str | None]) -> str | None:
    known = list(dict.fromkeys(source for source in sources if source is not None))
    if len(known) < 2:
        return known[0] if known else None
    return f"(?:{'|'.join(known)})"
