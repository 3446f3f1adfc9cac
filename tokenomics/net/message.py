"""Header hygiene: what passes from a client to a provider and back, and writing heads."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from http import HTTPStatus

from tokenomics.net.heads import AnswerHead, RawHeaders

# RFC 9110 section 7.6.1, and what proxies add and must not be taken from a client.
HOP_BY_HOP = frozenset(
    {
        b"connection",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
        b"expect",
    }
)
# Where a wrapper token may stand (contract 5); never passed on.
CREDENTIALS = (b"authorization", b"x-api-key", b"api-key", b"x-goog-api-key")
_NOT_UPSTREAM = HOP_BY_HOP | {
    *CREDENTIALS,
    b"cookie",
    b"host",
    b"content-length",
    b"content-encoding",
    b"content-type",  # the body was judged as JSON in UTF-8, and goes on as that
    b"accept-encoding",
    b"forwarded",
    b"x-forwarded-for",
    b"x-forwarded-host",
    b"x-forwarded-proto",
    b"x-real-ip",
    b"x-client-request-id",
}
_NOT_DOWNSTREAM = HOP_BY_HOP | {
    b"content-length",
    b"content-encoding",
    b"set-cookie",
    b"alt-svc",
    b"strict-transport-security",
    b"x-request-id",
    b"openai-organization",
    b"openai-project",
}
# A provider's own limits are of the account behind its key, which is nobody's business here.
# Another gateway behind us says who served it, which we say ourselves.
_OURS_OR_ACCOUNT = (b"x-ratelimit-", b"anthropic-ratelimit-", b"x-tokenomics-")
_OURS = b"x-tokenomics-"
REASONS = {s.value: s.phrase for s in HTTPStatus}
_VALUE = re.compile(r"[\x20-\x7e\x80-\xff\t]*")


def upstream_headers(headers: RawHeaders) -> list[tuple[bytes, bytes]]:
    """A client's headers as far as a provider may see them."""
    named = _named_by_connection(headers)
    return [
        (name, value)
        for name, value in headers
        if name not in _NOT_UPSTREAM and name not in named and not name.startswith(_OURS)
    ]


def downstream_block(head: AnswerHead) -> bytes:
    """A provider's header lines as far as a client may see them, as they came."""
    if b"connection" in head.fields:
        named = _named_by_connection(head.headers)
        lines = [
            line
            for line, (name, _) in zip(head.lines, head.headers, strict=True)
            if _passes_down(line) and name not in named
        ]
    else:
        lines = [line for line in head.lines if _passes_down(line)]
    return b"\r\n".join([*lines, b""]) if lines else b""


def _passes_down(line: bytes) -> bool:
    return _name_passes_down(line[: line.find(b":")])


@lru_cache(maxsize=4096)
def _name_passes_down(name: bytes) -> bool:
    name = name.lower()
    return name not in _NOT_DOWNSTREAM and not name.startswith(_OURS_OR_ACCOUNT)


def _named_by_connection(headers: Iterable[tuple[bytes, bytes]]) -> set[bytes]:
    """Fields that a Connection header declares hop-by-hop."""
    return {
        token.strip().lower()
        for name, value in headers
        if name == b"connection"
        for token in value.split(b",")
    }


def encode(name: str, value: str) -> tuple[bytes, bytes]:
    """A header of ours as bytes. Raises ValueError if the value would break the head."""
    if not _VALUE.fullmatch(value):
        raise ValueError(f"the value of header {name} has a character that HTTP does not allow")
    return name.encode("ascii"), value.encode("latin-1")


def block(headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Headers as lines, each with its end."""
    return b"".join([b"%b: %b\r\n" % header for header in headers])


def request_head(method: str, target: str, headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """The bytes of a request head."""
    line = b"%b %b HTTP/1.1\r\n" % (method.encode(), target.encode("ascii"))
    return b"%b%b\r\n" % (line, block(headers))


@lru_cache(maxsize=256)
def status_line(status: int) -> bytes:
    """The first line of an answer, with its end."""
    return b"HTTP/1.1 %d %b\r\n" % (status, REASONS.get(status, "Status").encode())


def answer_head(status: int, headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """The bytes of an answer head."""
    return b"%b%b\r\n" % (status_line(status), block(headers))
