"""JSON as providers read it, refusing what two parsers could read differently.

Duplicate keys, NaN and Infinity, numbers too large for a double, invalid UTF-8, lone surrogates
and deep nesting are errors: a body that the proxy and the provider understand differently is a way
around every rule (RFC 8259 section 4 leaves duplicate names undefined).
"""

from __future__ import annotations

import json
import math
import re
from collections import deque
from collections.abc import Callable, Iterator
from itertools import accumulate
from typing import Any, NamedTuple, NoReturn

# Levels of objects and arrays. Requests nest to 30 or so; who walks a value recursively must stay
# within the interpreter's 1,000 frames, and some Pythons parse far deeper than that.
MAX_DEPTH = 200

FEW_ESCAPES = 64
# Objects and arrays of one text: more of them hold everybody up while they are made.
MAX_CONTAINERS = 150_000
_SURROGATE = re.compile(r"\\u[dD]")
_STEPS = {ord("["): 1, ord("{"): 1, ord("]"): -1, ord("}"): -1}
_PROSE = bytes(set(range(256)) - {*_STEPS, ord('"')})
# Characters that are looked at in one go: it does not let go of the interpreter, and takes 5 ms.
PIECE = 1 << 20


class BadJSON(ValueError):
    """Not JSON that may pass; the message says where."""


class _Odd(ValueError):
    """A value that may not pass, told by its kind; `_first_odd` says where it stands."""


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise _Odd("a key stands twice in one object")
    return found


def _constant(name: str) -> NoReturn:
    raise _Odd(f"{name} is not a JSON number")


def _float(text: str) -> float:
    value = float(text)
    if math.isinf(value):  # it would be written back as Infinity
        raise _Odd("a number is too large for a double")
    return value


_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
_decoder = json.JSONDecoder(object_pairs_hook=_object, parse_constant=_constant, parse_float=_float)
_scan: Callable[[str, int], tuple[Any, int]]
_scan = _decoder.scan_once  # type: ignore[attr-defined]  # what `decode` itself calls


def loads(data: bytes | str) -> Any:
    """The value of a JSON text. Raises BadJSON with the place of the fault: keys and indexes, line
    and column."""
    try:
        text = data if isinstance(data, str) else str(data, "utf-8")
        if data is text and not text.isascii():
            text.encode()  # an argument of the command line may hold bytes that are no text
    except (UnicodeDecodeError, UnicodeEncodeError) as e:
        raise BadJSON(f"not UTF-8 at byte {e.start}") from None
    try:
        if _has_many_openings(text):
            _check_structure(text)
        value = _parse(text)
        # Only an escape can make a lone surrogate, for the text itself is UTF-8.
        if _has_surrogate_escape(text):
            _no_lone_surrogates(value)
    except json.JSONDecodeError as e:
        reason = _REASONS.get(e.msg.removesuffix(" at"), "it breaks off or goes on oddly")
        raise BadJSON(f"{reason} at {_place(text, e.pos)}") from None
    except _Odd as e:
        raise BadJSON(_first_odd(text) or str(e)) from None
    except BadJSON:
        raise
    except ValueError:  # an integer of more digits than Python converts
        raise BadJSON(_first_odd(text) or "a number has too many digits") from None
    return value


def _parse(text: str) -> Any:
    """`_decoder.decode` without its two searches for white space, where there is none."""
    try:
        value, end = _scan(text, 0)
    except StopIteration:
        return _decoder.decode(text)
    return value if end == len(text) else _decoder.decode(text)


def _has_surrogate_escape(text: str) -> bool:
    """Whether an escape writes half of a surrogate pair. Long texts have few escapes or many: the
    few are looked at one by one, at the speed of memory."""
    at = text.find("\\")
    for _ in range(FEW_ESCAPES):
        if at < 0:
            return False
        if text[at + 1 : at + 3] in ("ud", "uD"):
            return True
        at = text.find("\\", at + 2)
    return at >= 0 and _SURROGATE.search(text, at) is not None


def _has_many_openings(text: str) -> bool:
    """Whether there are more than MAX_DEPTH openings. Two searches for one character each, which
    run at the speed of memory; counting all of them does not."""
    left = MAX_DEPTH
    for opening in "[{":
        at = text.find(opening)
        while at >= 0:
            left -= 1
            if left < 0:
                return True
            at = text.find(opening, at + 1)
    return False


def _check_structure(text: str) -> None:
    """How deep objects and arrays nest and how many there are, counted in the text without a loop
    over its characters. Raises BadJSON."""
    outside = b"".join(map(_structure_in, _pieces(text))).split(b'"')[::2]  # of all strings
    structure = b"".join(outside)
    if len(structure) > 2 * MAX_CONTAINERS:
        raise BadJSON(f"more than {MAX_CONTAINERS} objects and arrays")
    if max(accumulate(map(_STEPS.__getitem__, structure)), default=0) > MAX_DEPTH:
        raise _Odd(f"nested deeper than {MAX_DEPTH} levels")


def _pieces(text: str) -> Iterator[str]:
    """The text in pieces, none of which ends within an escape."""
    begin = 0
    while begin < len(text):
        end = begin + PIECE
        while text[end - 1 : end] == "\\":
            end += 1
        yield text[begin:end]
        begin = end


def _structure_in(piece: str) -> bytes:
    """Its brackets, and the quotes at the ends of strings."""
    data = piece.encode("utf-8", "surrogatepass").replace(b"\\\\", b"").replace(b'\\"', b"")
    return data.translate(None, _PROSE)


def _no_lone_surrogates(value: Any) -> None:
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise _Odd("a \\u escape is half of a surrogate pair") from None


# Where the fault is: looked for only after there was one

MAX_DIGITS = 4300  # of an integer: what Python converts, for it takes quadratic time
MOST_TOKENS = 100_000  # that are looked at for a place: 0.1 s
SHOWN_KEY = 40  # characters of a key in a message
SHOWN_PATH = 100
_TOKEN = re.compile(
    r"""[\[\]{},:] | "[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z) | [^\s\[\]{},:"]+""",
    re.DOTALL | re.VERBOSE,
)
# What Python's parser says, and what we do.
_REASONS = {
    "Expecting value": "a value is missing",
    "Expecting ',' delimiter": "a comma, or the end of an object or list, is missing",
    "Expecting ':' delimiter": "a colon behind a key is missing",
    "Expecting property name enclosed in double quotes": "a key in double quotes is missing",
    "Illegal trailing comma before end of object": "a key in double quotes is missing",
    "Illegal trailing comma before end of array": "a value is missing",
    "Unterminated string starting": "a string does not end that begins",
    "Invalid control character": "a control character must be written as an escape",
    "Invalid \\escape": "there is no such escape as that",
    "Invalid \\escape:": "there is no such escape as that",
    "Invalid \\uXXXX escape": "a \\u needs four hex digits",
    "Extra data": "there is more behind the value",
    "Unexpected UTF-8 BOM (decode using utf-8-sig)": "a byte order mark stands",
}


class _Token(NamedTuple):
    """A key, a scalar or an opening. `path` are the keys and indexes on the way to it, `twice` says
    that it is a key for the second time."""

    start: int
    text: str
    path: tuple[str | int, ...]
    twice: bool = False


def _tokens(text: str, end: int) -> Iterator[_Token]:
    """The first tokens before `end` of a text that need not be JSON; an empty one ends them."""
    steps: list[str | int | None] = []  # None where a key is to come
    keys: list[set[str]] = []  # of each object or list that is open
    for count, match in enumerate(_TOKEN.finditer(text, 0, end)):
        token = match[0]
        path = tuple(step for step in steps if step is not None)
        if count > MOST_TOKENS:
            return
        if token in "[{":
            yield _Token(match.start(), token, path)
            steps.append(0 if token == "[" else None)
            keys.append(set())
        elif token in "]}":
            del steps[-1:], keys[-1:]
        elif token == "," and steps:
            steps[-1] = steps[-1] + 1 if isinstance(steps[-1], int) else None
        elif token[0] == '"' and steps and steps[-1] is None:
            steps[-1] = key = _string(token)
            yield _Token(match.start(), token, (*path, key), key in keys[-1])
            keys[-1].add(key)
        elif token not in ",:":
            yield _Token(match.start(), token, path)
    yield _Token(end, "", tuple(step for step in steps if step is not None))


def _string(token: str) -> str:
    try:
        return str(json.loads(token, strict=False))
    except ValueError:
        return token


def _first_odd(text: str) -> str | None:
    """What is the first value that may not pass, and where; None if it is not found."""
    for token in _tokens(text, len(text)):
        if (what := _oddity(token)) is not None:
            return f"{what} at {_shown(text, token.start, token.path)}"
    return None


def _oddity(token: _Token) -> str | None:
    text = token.text
    if token.twice:
        return f"the key {_clipped(str(token.path[-1]))} stands twice in one object"
    if text in ("NaN", "Infinity", "-Infinity"):
        return f"{text} is not a JSON number"
    if text in ("[", "{"):
        return f"nested deeper than {MAX_DEPTH} levels" if len(token.path) >= MAX_DEPTH else None
    if text[:1] == '"':
        half = _SURROGATE.search(text) is not None and not _encodes(_string(text))
        return "a \\u escape is half of a surrogate pair" if half else None
    digits = text.removeprefix("-")
    if digits.isdecimal():
        long = f"a number has {len(digits)} digits, more than {MAX_DIGITS},"
        return long if len(digits) > MAX_DIGITS else None
    try:
        return "a number is too large for a double" if math.isinf(float(text)) else None
    except ValueError:
        return None


def _encodes(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _place(text: str, at: int) -> str:
    """Which value is at a position, or ends there."""
    [last] = deque(_tokens(text, at), 1)
    return _shown(text, at, last.path if last.start == at else ())


def _shown(text: str, at: int, path: tuple[str | int, ...]) -> str:
    line, column = text.count("\n", 0, at) + 1, at - text.rfind("\n", 0, at)
    place = f"line {line} column {column}"
    written = "".join(f"[{step}]" if isinstance(step, int) else _key(step) for step in path)
    if len(written) > SHOWN_PATH:
        written = written[:SHOWN_PATH] + "..."
    return f"{written.removeprefix('.')}, {place}" if written else place


def _key(key: str) -> str:
    plain = len(key) <= SHOWN_KEY and key.isascii() and key.replace("-", "_").isidentifier()
    return f".{key}" if plain else f"[{_clipped(key)}]"


def _clipped(key: str) -> str:
    return repr(key if len(key) <= SHOWN_KEY else key[:SHOWN_KEY] + "...")


def dumps(value: Any) -> bytes:
    """Compact UTF-8 JSON."""
    return _encode(value).encode()
