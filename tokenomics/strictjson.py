"""JSON as providers read it, refusing what two parsers could read differently.

Duplicate keys, NaN and Infinity, numbers too large for a double, invalid UTF-8, lone surrogates
and deep nesting are errors: a body that the proxy and the provider understand differently is a way
around every rule (RFC 8259 section 4 leaves duplicate names undefined).
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from itertools import accumulate
from typing import Any, NoReturn

# Levels of objects and arrays. Requests nest to 30 or so; who walks a value recursively must stay
# within the interpreter's 1,000 frames, and some Pythons parse far deeper than that.
MAX_DEPTH = 200

FEW_ESCAPES = 64
# Objects and arrays of one text: more of them hold everybody up while they are made.
MAX_CONTAINERS = 150_000
_SURROGATE = re.compile(r"\\u[dD]")
_STEPS = {ord("["): 1, ord("{"): 1, ord("]"): -1, ord("}"): -1}
_PROSE = bytes(set(range(256)) - {*_STEPS, ord('"')})


class BadJSON(ValueError):
    """Not JSON that may pass; the message says where."""


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise BadJSON(f"the key {key!r} stands twice in one object")
            seen.add(key)
    return found


def _constant(name: str) -> NoReturn:
    raise BadJSON(f"{name} is not a JSON number")


def _float(text: str) -> float:
    value = float(text)
    if math.isinf(value):  # it would be written back as Infinity
        raise BadJSON("a number is too large for a double")
    return value


_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
_decoder = json.JSONDecoder(object_pairs_hook=_object, parse_constant=_constant, parse_float=_float)
_scan: Callable[[str, int], tuple[Any, int]]
_scan = _decoder.scan_once  # type: ignore[attr-defined]  # what `decode` itself calls


def loads(data: bytes | str) -> Any:
    """The value of a JSON text. Raises BadJSON with the place of the fault."""
    try:
        text = data if isinstance(data, str) else str(data, "utf-8")
        if data is text and not text.isascii():
            text.encode()  # an argument of the command line may hold bytes that are no text
    except (UnicodeDecodeError, UnicodeEncodeError) as e:
        raise BadJSON(f"not UTF-8 at byte {e.start}") from None
    if _has_many_openings(text):
        _check_structure(text)
    try:
        value = _parse(text)
    except json.JSONDecodeError as e:
        raise BadJSON(f"{e.msg} at line {e.lineno} column {e.colno}") from None
    except BadJSON:
        raise
    except ValueError as e:  # an integer of more digits than Python converts
        raise BadJSON(str(e).split(";")[0]) from None
    # Only an escape can make a lone surrogate, for the text itself is UTF-8.
    if _has_surrogate_escape(text):
        _no_lone_surrogates(value)
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
    unescaped = text.encode("utf-8", "surrogatepass").replace(b"\\\\", b"").replace(b'\\"', b"")
    structure = b"".join(unescaped.translate(None, _PROSE).split(b'"')[::2])  # what is in no string
    if len(structure) > 2 * MAX_CONTAINERS:
        raise BadJSON(f"more than {MAX_CONTAINERS} objects and arrays")
    if max(accumulate(map(_STEPS.__getitem__, structure)), default=0) > MAX_DEPTH:
        raise BadJSON(f"nested deeper than {MAX_DEPTH} levels")


def _no_lone_surrogates(value: Any) -> None:
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise BadJSON("a \\u escape is half of a surrogate pair") from None


def dumps(value: Any) -> bytes:
    """Compact UTF-8 JSON."""
    return _encode(value).encode()
