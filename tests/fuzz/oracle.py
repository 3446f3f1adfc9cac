"""What plain h11 says of a head, and where `tokenomics.net.heads` may say something else: lists.

Nothing of `tokenomics` is used here but what it may refuse by number. A verdict is a Reading, or
the names of what is wrong with the head; FAULTS says what each may be answered with.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import h11

from tokenomics.net.heads import MAX_HEADERS, MAX_TARGET

Headers = tuple[tuple[bytes, bytes], ...]
Wrong = frozenset[str]

# What is wrong with a request, and the statuses that tell it. All but the first are refused by us
# and accepted by h11. Of several faults any may be told.
FAULTS: dict[str, tuple[int, ...]] = {
    "h11": (400,),  # h11's own refusals, but for the coding's
    "coding": (400, 501),  # not chunked alone, which h11 refuses too: either may be said of it
    "bytes": (400,),  # bare CR or LF, a folded line, a control byte
    "line": (400,),  # h11 knows no other line ending with a version of one digit, a dot, one digit
    "version": (505,),  # h11 reads any version of that form
    "method": (501,),
    "long target": (414,),
    "target": (400,),  # neither origin-form nor http(s) in absolute-form, nor OPTIONS *
    "host": (400,),  # not of the form of a host and a port
    "expectation": (417,),  # none but 100-continue
    "many fields": (431,),
    "length": (400,),  # more than one, a list, leading zeros, more than 15 digits
    "length and coding": (400,),
    "coding in http10": (400,),
}
METHODS = frozenset({b"GET", b"HEAD", b"POST", b"PUT", b"PATCH", b"DELETE", b"OPTIONS"})
_BYTES = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]|\r(?!\n)|(?<!\r)\n|\n[ \t]")
_LINES = re.compile(rb"\r(?!\n)|(?<!\r)\n|\n[ \t]")
_LINE = re.compile(rb"([^ \r\n]+) ([^ \r\n]+) HTTP/([0-9]\.[0-9])\r\n")
_HOST = re.compile(
    rb"(?:\[[0-9A-Fa-f:.]+\]|(?:[A-Za-z0-9\-._~]|%|[!$&'()*+,;=])*)(?::[0-9]*)?\Z", re.DOTALL
)
_TARGET = re.compile(rb"(?:[Hh][Tt][Tt][Pp][Ss]?://[^/?#]+)?((?:/[^?#]*)?)(?:\?([^#]*))?\Z")
_LENGTHS = re.compile(rb"\ncontent-length:[ \t]*([^\r\n]*?)[ \t]*\r", re.IGNORECASE)
_LENGTH = re.compile(rb"(?:0|[1-9][0-9]{0,14})\Z")
_CODING = re.compile(rb"\ntransfer-encoding[ \t]*:", re.IGNORECASE)
_CODED = re.compile(rb"\ntransfer-encoding:[ \t]*chunked[ \t]*\r", re.IGNORECASE)
_CLOSE = re.compile(rb"(?:\A|,)\s*close\s*(?:,|\Z)", re.IGNORECASE)
_KEEP = re.compile(rb"(?:\A|,)\s*keep-alive\s*(?:,|\Z)", re.IGNORECASE)


class Unlike(Exception):
    """h11 takes other bytes for the body than the head's reading says."""


@dataclass(frozen=True, slots=True)
class Reading:
    """A request's head as it is to be understood; a chunked body has no length."""

    method: str
    path: str
    query: str
    http11: bool
    headers: Headers
    keep_alive: bool
    length: int | None


@dataclass(frozen=True, slots=True)
class AnswerReading:
    """An answer's head as it is to be understood. `headers` are without those of framing, which
    h11 rewrites."""

    status: int
    headers: Headers
    keep_alive: bool
    chunked: bool
    length: int | None


def read_request(raw: bytes, *, body: bool = False) -> Reading | Wrong:
    """The verdict on a request's head. With `body` h11 also reads a body of that framing, which
    proves length and persistence."""
    wrong = _wrong_bytes(raw)
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=len(raw) + 1)
    try:
        connection.receive_data(raw)
        event = connection.next_event()
    except h11.RemoteProtocolError:
        coding = _CODING.search(raw) is not None
        return frozenset([*wrong, "h11", "coding"] if coding else [*wrong, "h11"])
    if not isinstance(event, h11.Request):
        return frozenset([*wrong, "h11"])
    target = None if wrong else _target(event.target, event.method)
    if target is None:
        wrong.append("target")
    headers: Headers = tuple(event.headers)
    http11 = event.http_version == b"1.1"
    lengths = _LENGTHS.findall(raw)
    names = dict(headers)
    chunked = b"transfer-encoding" in names
    if not _HOST.match(names.get(b"host", b"")):
        wrong.append("host")
    expected = b",".join([v for n, v in headers if n == b"expect"]).lower().split(b",")
    if {word.strip(b" \t") for word in expected} - {b"", b"100-continue"}:
        wrong.append("expectation")
    if chunked and lengths:
        wrong.append("length and coding")
    elif len(lengths) > 1 or (lengths and not _LENGTH.match(lengths[0])):
        wrong.append("length")
    if chunked and not http11:
        wrong.append("coding in http10")
    if wrong or target is None:
        return frozenset(wrong)
    keep_alive = _keeps(headers, http11=http11)
    length = None if chunked else int(lengths[0]) if lengths else 0
    if body:
        _prove(connection, length, keep_alive and http11)
    return Reading(event.method.decode(), *target, http11, headers, keep_alive, length)


def _wrong_bytes(raw: bytes) -> list[str]:
    """What h11 would not ask."""
    wrong = ["bytes"] if _BYTES.search(raw) else []
    line = _LINE.match(raw)
    if line is None:
        return [*wrong, "line"]
    if line[3] not in (b"1.0", b"1.1"):
        wrong.append("version")
    if len(line[2]) > MAX_TARGET:
        wrong.append("long target")
    if line[1] not in METHODS:
        wrong.append("method")
    if raw.count(b"\n") - 2 > MAX_HEADERS:
        wrong.append("many fields")
    return wrong


def _target(target: bytes, method: bytes) -> tuple[str, str] | None:
    if target == b"*" and method == b"OPTIONS":
        return "*", ""
    match = _TARGET.match(target)
    if match is None or not target.isascii() or target.startswith(b"?"):
        return None
    return (match[1] or b"/").decode(), (match[2] or b"").decode()


_AUTHORITY = re.compile(rb"[A-Z]+ https?://([^/? \r\n]*)", re.IGNORECASE)


def odd_authority(raw: bytes) -> bool:
    """Whether an absolute-form target names a host that Host could not: h11 doesn't look at it, and
    RFC 9110 section 4.2.4 would have it refused. Either is right here; `raw_cases` is stricter."""
    match = _AUTHORITY.match(raw)
    return match is not None and not (match[1] and _HOST.match(match[1]))


def _keeps(headers: Headers, *, http11: bool) -> bool:
    values = [value for name, value in headers if name == b"connection"]
    if any(_CLOSE.search(value) for value in values):
        return False
    return http11 or any(_KEEP.search(value) for value in values)


def _prove(connection: h11.Connection, length: int | None, keep_alive: bool) -> None:
    """Have h11 read a body. Raises Unlike if it ends elsewhere than `length` says, or the
    connection persists otherwise than `keep_alive` says."""
    if length is not None and length > 64:
        return
    body = b"3\r\nabc\r\n0\r\n\r\n" if length is None else b"x" * length
    connection.receive_data(body + b"NEXT")
    got, event = _read(connection)
    if not isinstance(event, h11.EndOfMessage) or got != (b"abc" if length is None else body):
        raise Unlike(f"h11 reads {got!r} and {event}, not {body!r}")
    if connection.trailing_data[0] != b"NEXT":
        raise Unlike(f"behind the body h11 has {connection.trailing_data[0]!r}")
    state = connection.their_state
    if state is h11.MIGHT_SWITCH_PROTOCOL or connection.their_http_version != b"1.1":
        return  # h11 keeps no HTTP/1.0 connection
    if (state is h11.DONE) != keep_alive:
        raise Unlike(f"h11 has the connection {state}, which is not keep_alive {keep_alive}")


def _read(connection: h11.Connection) -> tuple[bytes, object]:
    """What h11 reads of a body until another event, and that event or error."""
    got = b""
    try:
        while isinstance(event := connection.next_event(), h11.Data):
            got += event.data
    except h11.RemoteProtocolError as e:
        return got, e
    return got, event


# Answers.

# Bytes behind an answer's head: h11 shows by what it takes of them where it sees the body's end.
BEHIND = b"3\r\nabc\r\n0\r\n\r\n" + b"x" * 50


def read_answer(raw: bytes, method: str) -> AnswerReading | Wrong:
    """The verdict on an answer's head to a request of `method`."""
    wrong = ["lines"] if _LINES.search(raw) else []
    if not re.match(rb"HTTP/1\.[01] [1-5]", raw):
        wrong.append("line")
    if raw.count(b"\n") - 2 > MAX_HEADERS:
        wrong.append("many fields")
    connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=len(raw) + 1)
    connection.send(h11.Request(method=method, target="/", headers=[("host", "a")]))
    connection.send(h11.EndOfMessage())
    try:
        connection.receive_data(raw)
        event = connection.next_event()
    except h11.RemoteProtocolError:
        return frozenset([*wrong, "h11"])
    if not isinstance(event, h11.Response | h11.InformationalResponse):
        return frozenset([*wrong, "not an answer"])
    bodiless = method == "HEAD" or event.status_code < 200 or event.status_code in (204, 304)
    lengths = _LENGTHS.findall(raw)
    if not bodiless:  # else they say nothing (RFC 9112 section 6.3)
        if len(set(lengths)) > 1 or any(not re.fullmatch(rb"[0-9]{1,15}", n) for n in lengths):
            wrong.append("lengths")
        if lengths and _CODED.search(raw):
            wrong.append("both")
    if wrong:
        return frozenset(wrong)
    headers = without_framing(tuple(event.headers))
    if isinstance(event, h11.InformationalResponse):
        keep_alive = _keeps(tuple(event.headers), http11=event.http_version == b"1.1")
        return AnswerReading(event.status_code, headers, keep_alive, False, 0)
    chunked, length = _framing(connection)
    if length is not None and length < 0:  # h11 doesn't show it: longer than what is behind
        length = int(lengths[0])
    keep_alive = _keeps(tuple(event.headers), http11=event.http_version == b"1.1")
    if length is None and not chunked:
        keep_alive = False
    return AnswerReading(event.status_code, headers, keep_alive, chunked, length)


def _framing(connection: h11.Connection) -> tuple[bool, int | None]:
    """(chunked, length) by what h11 takes of BEHIND; a negative length is longer than that."""
    connection.receive_data(BEHIND)
    got, event = _read(connection)
    if isinstance(event, h11.EndOfMessage):
        return (True, None) if got == b"abc" else (False, len(got))
    if got != BEHIND or event is not h11.NEED_DATA:
        raise Unlike(f"h11 reads {got!r} and {event}")
    connection.receive_data(b"")
    _, event = _read(connection)
    return (False, None) if isinstance(event, h11.EndOfMessage) else (False, -1)


def without_framing(headers: Headers) -> Headers:
    """Headers but for the two that h11 rewrites."""
    return tuple(h for h in headers if h[0] not in (b"content-length", b"transfer-encoding"))


# Where we accept an answer that h11 refuses, and why. `tame` writes such a head so that h11 reads
# it too, and the readings are compared after all.
#
# - The reason phrase is not looked at: anything but CR and LF may stand in it.
# - A value may hold VT and FF like other control bytes. In a field that says where the body or the
#   connection ends they may not.
# - What is said of the body's length does not matter where there is no body (RFC 9112 section 6.3).
# - Empty elements of the codings' list are ignored (RFC 9110 section 5.6.1). If nothing is left the
#   body ends with the connection; a length beside that may not be believed (RFC 9112 section 6.3).
# - 101 to who did not ask for an upgrade is an interim answer like others, and skipped.
_REASON = re.compile(rb"\A(HTTP/1\.[01] [1-5][0-9][0-9]) [^\r\n]*")
_UPGRADED = re.compile(rb"\A(HTTP/1\.[01] )101")
_LENGTH_LINES = re.compile(rb"\r\n(?:content-length|transfer-encoding):[^\r\n]*", re.IGNORECASE)
_CODING_LINES = re.compile(rb"\r\ntransfer-encoding:([^\r\n]*)", re.IGNORECASE)
_ODD_LINES = re.compile(
    rb"\r\n(?!content-length:|transfer-encoding:|connection:)[^:\r\n]+:[^\r\n]*[\x0b\x0c][^\r\n]*",
    re.IGNORECASE,
)


def tame(raw: bytes, method: str) -> bytes:
    """A head that h11 refuses, without what we let pass."""
    raw = _REASON.sub(rb"\1", raw)
    bodiless = method == "HEAD" or raw[9:12] in (b"204", b"304") or raw[9:10] == b"1"
    raw = _UPGRADED.sub(rb"\g<1>100", raw)
    if bodiless:
        raw = _LENGTH_LINES.sub(b"", raw)
    lines = _CODING_LINES.findall(raw)
    codings = [c for c in (c.strip(b" \t") for c in b",".join(lines).lower().split(b",")) if c]
    if codings == [b"chunked"]:
        raw = _CODING_LINES.sub(b"", raw)
        raw = raw.replace(b"\r\n", b"\r\nTransfer-Encoding: chunked\r\n", 1)
    elif not codings and not _LENGTHS.search(raw):
        raw = _CODING_LINES.sub(b"", raw)
    return _ODD_LINES.sub(lambda match: tame_value(match[0]), raw)


def tame_value(value: bytes) -> bytes:
    """A value without the bytes that h11 takes for white space."""
    return value.replace(b"\x0b", b"?").replace(b"\x0c", b"?")
