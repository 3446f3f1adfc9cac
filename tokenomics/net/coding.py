"""Content codings: how the bytes of a body become what they stand for (RFC 9110 section 8.4.1).

Pure. `decode` takes a whole body, `Inflate` a stream of one. What comes out is bounded, because a
body of a few kilobytes can be made to expand a thousandfold: work and memory stop at the limit.

Supported are identity, gzip (also as x-gzip) and deflate, one of them at a time. Not supported:
br, zstd, several codings one over the other, and deflate without zlib's wrapper, which some old
servers send against the RFC.
"""

from __future__ import annotations

import zlib
from typing import Literal

# coding: zlib's wbits (15 is the largest window, 16 more means gzip's wrapper), 0 for identity.
CODINGS = {"": 0, "identity": 0, "gzip": 31, "x-gzip": 31, "deflate": 15}
# Bytes given to zlib at once: it copies what follows a gzip member, once for each member.
PIECE_BYTES = 16 << 10
# In one feed. Each member costs some microseconds and may be empty; bgzip makes one of 64 KiB.
MAX_MEMBERS = 1024

Kind = Literal["unsupported", "broken", "too_long"]


class BadCoding(Exception):
    """A body that cannot be decoded: `kind` is "unsupported" (not a coding of ours), "broken"
    (malformed, truncated or with something after its end) or "too_long" (over the limit)."""

    def __init__(self, kind: Kind, message: str) -> None:
        super().__init__(message)
        self.kind = kind


class Inflate:
    """Decodes one body as it comes. After a BadCoding it is of no more use."""

    __slots__ = ("_coding", "_limit", "_members", "_zlib")

    def __init__(self, coding: str, limit: int) -> None:
        """`coding` is the value of Content-Encoding. `limit` bounds what one `feed` gives, in
        bytes; the sum over a stream is the caller's to bound. Raises BadCoding "unsupported"."""
        self._coding = coding.strip().lower()
        if self._coding not in CODINGS:
            message = f"content coding {coding[:40]!r} is not supported; use gzip, deflate or none"
            raise BadCoding("unsupported", message)
        self._limit = limit
        wbits = CODINGS[self._coding]
        self._zlib = zlib.decompressobj(wbits) if wbits else None
        self._members = 0  # begun in this feed, after the first of all

    def feed(self, data: bytes) -> bytes:
        """What `data` stands for, all of it: nothing is held back. Raises BadCoding "broken", or
        "too_long" before more than `limit` bytes and one are in memory; putting together what was
        not too long takes as much again."""
        if self._zlib is None:
            self._check(len(data))
            return data
        self._members = 0
        parts: list[bytes] = []
        size = 0
        view = memoryview(data)
        for start in range(0, len(data), PIECE_BYTES):
            piece: bytes | memoryview = view[start : start + PIECE_BYTES]
            while piece:
                part, piece = self._step(piece, self._limit - size)
                size += len(part)
                self._check(size)
                parts.append(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _step(self, piece: bytes | memoryview, room: int) -> tuple[bytes, bytes]:
        """(what a piece gives, at most `room` bytes and one, what is after the member's end)."""
        assert self._zlib is not None, "identity has no steps"
        if self._zlib.eof:
            self._zlib = self._next_member()
        try:
            # With one more than there is room for, zlib says whether it would be too long. It
            # keeps input back only if it gave that much, and then it is.
            part = self._zlib.decompress(piece, room + 1)
        except zlib.error as e:
            raise BadCoding("broken", f"the body is not {self._coding}: {e}") from None
        return part, self._zlib.unused_data

    def _next_member(self) -> zlib._Decompress:
        """Gzip is one member or several (RFC 1952 section 2.2). What is not one is zlib's to say;
        it is not padding, as the gzip program would take it."""
        if self._coding == "deflate":
            raise BadCoding("broken", "the body goes on after the end of its deflate coding")
        self._members += 1
        if self._members > MAX_MEMBERS:
            raise BadCoding("broken", f"the body has more than {MAX_MEMBERS} gzip members at once")
        return zlib.decompressobj(CODINGS["gzip"])

    def _check(self, size: int) -> None:
        if size > self._limit:
            raise BadCoding("too_long", f"the decoded body is longer than {self._limit} bytes")

    def end(self) -> bytes:
        """The body has ended: what was held back, which with these codings is nothing. Raises
        BadCoding "broken" if the coding has not ended."""
        if self._zlib is not None and not self._zlib.eof:
            raise BadCoding("broken", f"the body ends inside its {self._coding} coding")
        return b""


def decode(body: bytes, coding: str, limit: int) -> bytes:
    """What a whole body stands for, at most `limit` bytes; `coding` is the value of
    Content-Encoding. Raises BadCoding. An empty body is not valid gzip or deflate."""
    inflate = Inflate(coding, limit)
    return inflate.feed(body) + inflate.end()
