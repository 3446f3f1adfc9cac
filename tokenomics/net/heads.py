"""Heads of requests and answers: strict judgement, remembered by their bytes.

A request head is judged by h11 after checks that h11 leaves to its user. Clients send the same head
over and over but for the length of the body, so the verdict is kept under the head's bytes with the
Content-Length digits cut out: h11's strictness at the price of one dictionary look-up.

RFC 9112 (syntax, section 2.2 on line endings, 3.2 on targets and Host, 6 on framing), RFC 9110.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, NamedTuple

import h11

RawHeaders = tuple[tuple[bytes, bytes], ...]

MAX_MEMO = 1024  # heads; a full memo is emptied, which costs one judgement per client again
MAX_MEMO_HEAD = 4096  # bytes; longer heads are rare and are judged anew each time
MAX_MEMO_LINE = 256  # bytes; a longer line of an answer is a cookie or a policy
MAX_HEADERS = 128  # fields of one head; browsers and SDKs send 10 to 30
MAX_TARGET = 8192  # bytes (RFC 9112 section 3 asks for at least 8000)

_LENGTH = re.compile(rb"\r\n[Cc]ontent-[Ll]ength: ?(0|[1-9][0-9]{0,14})\r\n")
# h11 makes one field of equal lengths; another request's may differ under the same key.
_ANY_LENGTH = re.compile(rb"\ncontent-length:([^\r]*)", re.IGNORECASE)
_CODINGS = re.compile(rb"\ntransfer-encoding:([^\r]*)", re.IGNORECASE)
_CONTROL = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_BARE = re.compile(rb"\r(?!\n)|(?<!\r)\n")
_FOLD = re.compile(rb"\n[ \t]")
_REQUEST_LINE = re.compile(rb"([^ \r\n]+) ([^ \r\n]+) HTTP/([0-9]\.[0-9])\r\n")
_ABSOLUTE = re.compile(r"https?://([^/?]+)(.*)", re.IGNORECASE)
_HOST = re.compile(rb"[A-Za-z0-9._~%!$&'()*+,;=-]*(?::[0-9]*)?|\[[0-9A-Fa-f:.]+\](?::[0-9]*)?")
_STATUS_LINE = re.compile(rb"HTTP/1\.([01]) ([1-5][0-9][0-9])(?: [^\r\n]*)?")
_FIELD = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+):[ \t]*([^\r\n\x00\x0b\x0c]*?)[ \t]*")
_METHODS = frozenset({b"GET", b"HEAD", b"POST", b"PUT", b"PATCH", b"DELETE", b"OPTIONS"})


class BadHead(Exception):
    """A head that is refused; `status` is what the client is told before the connection closes."""

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, slots=True)
class RequestHead:
    """A request's head. Header names are lower-case bytes; `length` is the body's Content-Length,
    None for a chunked body. `fields` has the first value of each name.

    Requests with equal heads share one object. `derived` keeps what was worked out from these bytes
    and never changes while they stay the same, under a key of whoever worked it out.
    """

    method: str
    path: str
    query: str
    http11: bool
    headers: RawHeaders
    fields: dict[bytes, bytes]
    keep_alive: bool
    length: int | None
    derived: dict[Any, Any] = field(default_factory=dict, compare=False, repr=False)

    def get(self, name: bytes) -> str | None:
        """A header's first value as text, or None."""
        value = self.fields.get(name)
        return None if value is None else value.decode("latin-1")


class AnswerHead(NamedTuple):
    """An answer's head. `length` is None where the body is chunked or ends with the connection.
    `lines` are the header lines as they came, one per header, without their ends."""

    status: int
    headers: Sequence[tuple[bytes, bytes]]
    fields: dict[bytes, bytes]
    keep_alive: bool
    chunked: bool
    length: int | None
    lines: Sequence[bytes] = ()


class HeadJudge:
    """Judges request heads. One per server: the memo is its only state."""

    def __init__(self) -> None:
        self._memo: dict[bytes, RequestHead] = {}

    def judge(self, head: bytes) -> tuple[RequestHead, int | None]:
        """The head and the length of the body that follows it (None: chunked).

        `head` ends with its empty line. Raises BadHead.
        """
        match = _LENGTH.search(head)
        if match is None:
            key, length = head, None
        else:
            # The last byte keeps keys apart from heads, which end with an empty line.
            key, length = head[: match.start(1)] + head[match.end(1) :] + b"#", int(match[1])
        known = self._memo.get(key)
        if known is None:
            known = judge_request(head)
            if len(self._memo) >= MAX_MEMO:
                self._memo.clear()
            if len(key) <= MAX_MEMO_HEAD:
                self._memo[key] = known
        return known, known.length if length is None else length


def judge_request(head: bytes) -> RequestHead:
    """Judge one request head in full. Raises BadHead."""
    line = _check_bytes(head)
    version = line[3]
    if version not in (b"1.0", b"1.1"):
        raise BadHead("only HTTP/1.0 and HTTP/1.1 are spoken here", 505)
    if len(line[2]) > MAX_TARGET:
        raise BadHead("the request target is too long", 414)
    request = _ask_h11(head)
    headers: RawHeaders = tuple(request.headers)
    if request.method not in _METHODS:
        raise BadHead("the method is not known here", 501)
    if len(headers) > MAX_HEADERS:
        raise BadHead("too many header fields", 431)
    fields: dict[bytes, bytes] = {}
    for name, value in headers:
        fields.setdefault(name, value)
    _check_host(headers, version)
    if any(token != b"100-continue" for token in _tokens(headers, b"expect")):
        raise BadHead("the expectation is not 100-continue", 417)
    path, query = _target(request.target, request.method)
    tokens = _tokens(headers, b"connection")
    http11 = version == b"1.1"
    return RequestHead(
        method=request.method.decode(),
        path=path,
        query=query,
        http11=http11,
        headers=headers,
        fields=fields,
        keep_alive=_persists(tokens, http11),
        length=_request_length(headers, _ANY_LENGTH.findall(head), http11),
    )


def _check_bytes(head: bytes) -> re.Match[bytes]:
    """What h11 is lenient about: line endings, folding and control bytes."""
    if _BARE.search(head):
        raise BadHead("bare CR or LF in the head")
    if _FOLD.search(head):
        raise BadHead("folded header lines are not allowed")
    if _CONTROL.search(head):
        raise BadHead("control byte in the head")
    line = _REQUEST_LINE.match(head)
    if line is None:
        raise BadHead("malformed request line")
    return line


def _ask_h11(head: bytes) -> h11.Request:
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=len(head) + 1)
    try:
        connection.receive_data(head)
        event = connection.next_event()
    except h11.RemoteProtocolError as e:
        # A coding that is not known is 501, a chunked one that is not the last is 400 (RFC 9112
        # section 6.3).
        codings = b",".join(_CODINGS.findall(head)).lower().replace(b" ", b"").split(b",")
        misplaced = e.error_status_hint == 501 and b"chunked" in codings[:-1]
        raise BadHead(str(e), 400 if misplaced else e.error_status_hint) from None
    if not isinstance(event, h11.Request):
        raise BadHead("malformed request head")
    return event


def _check_host(headers: RawHeaders, version: bytes) -> None:
    hosts = [value for name, value in headers if name == b"host"]
    if len(hosts) > 1 or (version == b"1.1" and not hosts):
        raise BadHead("a request needs exactly one Host")
    if hosts and not _HOST.fullmatch(hosts[0]):
        raise BadHead("malformed Host")


def _target(target: bytes, method: bytes) -> tuple[str, str]:
    """Path and query of an origin-form or absolute-form target (RFC 9112 section 3.2)."""
    text = target.decode("ascii", "replace")
    if not text.isascii() or "#" in text or "\ufffd" in text:
        raise BadHead("malformed request target")
    absolute = _ABSOLUTE.fullmatch(text)
    if absolute is not None:
        if not _HOST.fullmatch(absolute[1].encode()):  # RFC 9110 section 4.2.4 on user and password
            raise BadHead("malformed host in the request target")
        text = absolute[2] if absolute[2].startswith("/") else "/" + absolute[2]
    elif text == "*" and method == b"OPTIONS":
        return "*", ""
    elif not text.startswith("/"):
        raise BadHead("malformed request target")
    path, _, query = text.partition("?")
    return path, query


def _request_length(headers: RawHeaders, lengths: list[bytes], http11: bool) -> int | None:
    """The body's length; None means chunked. Both, or anything odd, is refused: that is how
    requests are smuggled (RFC 9112 section 11.2). `lengths` are the values as they were sent."""
    codings = _tokens(headers, b"transfer-encoding")
    if codings:
        if lengths or codings != [b"chunked"] or not http11:
            raise BadHead("transfer-encoding must be chunked alone, without content-length")
        return None
    if len(lengths) > 1:
        raise BadHead("more than one content-length")
    if lengths and not re.fullmatch(rb"[ \t]*(?:0|[1-9][0-9]{0,14})[ \t]*", lengths[0]):
        raise BadHead("malformed content-length")
    return int(lengths[0]) if lengths else 0


def _tokens(headers: Iterable[tuple[bytes, bytes]], name: bytes) -> list[bytes]:
    return [
        token.strip(b" \t").lower()
        for found, value in headers
        if found == name
        for token in value.split(b",")
        if token.strip(b" \t")
    ]


def _persists(connection: list[bytes], http11: bool) -> bool:
    """Whether the connection may be used again (RFC 9112 section 9.3)."""
    return b"close" not in connection and (http11 or b"keep-alive" in connection)


def parse_answer(head: bytes, method: str) -> AnswerHead:
    """An upstream's answer head, to a request of `method`. Raises BadHead.

    Strict where a mistake would mix up bodies: line endings, field syntax, lengths. Providers send
    most lines again and again, so each line's reading is remembered.
    """
    lines = head.split(b"\r\n")
    if lines[-2:] != [b"", b""]:
        raise BadHead("malformed answer head")
    if len(lines[0]) > MAX_MEMO_LINE:
        raise BadHead("the status line is too long")
    status, http11 = _status_line(lines[0])
    lines = lines[1:-2]
    if len(lines) > MAX_HEADERS:
        raise BadHead("too many header fields in the answer")
    headers = [_field(line) if len(line) <= MAX_MEMO_LINE else _read_field(line) for line in lines]
    fields = dict(reversed(headers))  # of several, the first one stays
    tokens = _tokens(headers, b"connection") if b"connection" in fields else []
    chunked, length = _answer_framing(headers, fields, status, method)
    keep_alive = _persists(tokens, http11) and (chunked or length is not None)
    return AnswerHead(status, headers, fields, keep_alive, chunked, length, lines)


@lru_cache(maxsize=256)
def _status_line(line: bytes) -> tuple[int, bool]:
    match = _STATUS_LINE.fullmatch(line)
    if match is None:
        raise BadHead("malformed status line")
    return int(match[2]), match[1] == b"1"


def _read_field(line: bytes) -> tuple[bytes, bytes]:
    match = _FIELD.fullmatch(line)
    if match is None:
        raise BadHead("malformed header in the answer")
    return match[1].lower(), match[2]


_field = lru_cache(maxsize=4096)(_read_field)


def _answer_framing(
    headers: list[tuple[bytes, bytes]], fields: dict[bytes, bytes], status: int, method: str
) -> tuple[bool, int | None]:
    """(chunked, length) by RFC 9112 section 6.3; (False, None) is a body until close."""
    if method == "HEAD" or status in (204, 304) or status < 200:
        return False, 0
    if b"transfer-encoding" in fields:
        codings = _tokens(headers, b"transfer-encoding")
        if codings != [b"chunked"] or b"content-length" in fields:
            raise BadHead("the answer's transfer-encoding is not chunked, or it has a length too")
        return True, None
    length = fields.get(b"content-length")
    if length is None:
        return False, None
    if len(fields) != len(headers):  # a name stands twice
        lengths = {value for name, value in headers if name == b"content-length"}
        if len(lengths) > 1:
            raise BadHead("the answer has two lengths")
    if not length.isdigit() or len(length) > 15:
        raise BadHead("malformed content-length in the answer")
    return False, int(length)
