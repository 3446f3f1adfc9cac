"""Bodies: how bytes on a connection become the bytes of one message (RFC 9112 sections 6 and 7).

Pure. A decoder is fed what arrived and says what of it belongs to the body; what follows the body
stays with the caller. A body that ends early is never complete.
"""

from __future__ import annotations

import re
from functools import lru_cache

# A chunk's size line with its extensions. Extensions carry nothing we use; a bound keeps a sender
# from feeding them for ever.
MAX_SIZE_LINE = 256
MAX_TRAILERS = 8192
_PLAIN_SIZE = re.compile(rb"[0-9A-Fa-f]{1,8}")
_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_QUOTED = rb'"(?:[\t \x21\x23-\x5b\x5d-\x7e\x80-\xff]|\\[\t \x21-\x7e\x80-\xff])*"'
_EXTENSION = rb"[ \t]*;[ \t]*%b(?:[ \t]*=[ \t]*(?:%b|%b))?" % (_TOKEN, _TOKEN, _QUOTED)
_SIZE_LINE = re.compile(rb"([0-9A-Fa-f]{1,15})(?:%b)*" % _EXTENSION)


@lru_cache(maxsize=4096)
def _size(line: bytes) -> int:
    """The size that a chunk's first line gives; -1 if it is malformed."""
    match = _SIZE_LINE.fullmatch(line)
    return int(match[1], 16) if match else -1


@lru_cache(maxsize=4096)
def _plain_size(line: bytes) -> int:
    return int(line, 16) if _PLAIN_SIZE.fullmatch(line) else -1


def whole_chunks(data: bytes, end: bytes, stop: int) -> int:
    """How many bytes at the beginning of `data` are whole chunks without extensions, none of them
    the last, of which each ends with `end`, before `stop`.

    Such bytes can be passed on as they stand, if they begin between two chunks.
    """
    position, tail = 0, end + b"\r\n"
    while position < stop:
        line = data.find(b"\r\n", position, position + 10)
        if line < 0:
            break
        length = _plain_size(data[position:line])
        after = line + 4 + length
        if length < len(end) or after > stop or data[after - len(tail) : after] != tail:
            break
        position = after
    return position


class BadBody(Exception):
    """The framing of a body is broken."""


class LengthDecoder:
    """A body of a known length."""

    chunks = 0

    def __init__(self, length: int) -> None:
        self._left = length
        self.done = length == 0

    def feed(self, data: bytes) -> tuple[bytes, bytes]:
        """(body bytes, what follows the body)."""
        if len(data) < self._left:
            self._left -= len(data)
            return data, b""
        body, rest = data[: self._left], data[self._left :]
        self._left = 0
        self.done = True
        return body, rest

    def eof(self) -> None:
        """The connection ended. Raises BadBody if the body did not."""
        if not self.done:
            raise BadBody(f"the connection closed {self._left} bytes before the end of the body")


class CloseDecoder:
    """A body that ends with the connection (answers of HTTP/1.0 kind)."""

    chunks = 0

    def __init__(self) -> None:
        self.done = False

    def feed(self, data: bytes) -> tuple[bytes, bytes]:
        """(body bytes, what follows the body): everything is body."""
        return data, b""

    def eof(self) -> None:
        """The connection ended, and with it the body."""
        self.done = True


class ChunkDecoder:
    """A chunked body. Strict: CRLF only, plain hex sizes, bounded extensions and trailers."""

    def __init__(self) -> None:
        self.done = False
        self._pending = b""  # an unfinished size line, chunk end or trailer section
        self._left = 0  # bytes left of the current chunk
        self.chunks = 0  # begun so far
        self._fault: BadBody | None = None
        self._state = self._size_line

    @property
    def between_chunks(self) -> bool:
        """Whether what comes next is the beginning of a chunk."""
        return self._state == self._size_line and not self._pending

    def feed(self, data: bytes) -> tuple[bytes, bytes]:
        """(body bytes, what follows the body). Raises BadBody; where something good came before the
        fault that is returned first, and the fault is raised for what follows."""
        if self._fault is not None:
            raise self._fault
        data = self._pending + data if self._pending else data
        self._pending = b""
        body: list[bytes] = []
        position = 0
        while not self.done:
            if self._left:
                piece = data[position : position + self._left]
                body.append(piece)
                position += len(piece)
                self._left -= len(piece)
                if self._left:
                    return b"".join(body), b""
            try:
                step = self._state(data, position)
            except BadBody as e:
                if not body:
                    raise
                self._fault = e  # what came before it is good
                break
            if step < 0:
                self._pending = data[position:]
                return body[0] if len(body) == 1 else b"".join(body), b""
            position = step
        return b"".join(body), data[position:]

    # Each state returns the position after what it read, or -1 if more bytes are needed.

    def _size_line(self, data: bytes, start: int) -> int:
        end = data.find(b"\r\n", start, start + MAX_SIZE_LINE)
        if end < 0:
            if len(data) - start >= MAX_SIZE_LINE:
                raise BadBody("a chunk's size line is too long")
            return -1
        self._left = _size(data[start:end])
        if self._left < 0:
            raise BadBody("malformed chunk size")
        self._state = self._chunk_end if self._left else self._trailers
        self.chunks += 1
        return end + 2

    def _chunk_end(self, data: bytes, start: int) -> int:
        if len(data) - start < 2:
            if not b"\r\n".startswith(data[start:]):
                raise BadBody("a chunk does not end with CRLF")
            return -1
        if not data.startswith(b"\r\n", start):
            raise BadBody("a chunk does not end with CRLF")
        self._state = self._size_line
        return start + 2

    def _trailers(self, data: bytes, start: int) -> int:
        if data.startswith(b"\r\n", start):
            self.done = True
            return start + 2
        end = data.find(b"\r\n\r\n", start)
        if end < 0:
            if len(data) - start > MAX_TRAILERS + 1:  # the CR of the empty line may be in it
                raise BadBody("the trailers are too long")
            return -1
        section = data[start : end + 2]
        if len(section) > MAX_TRAILERS or not re.fullmatch(
            rb"(?:%b:[^\r\n\x00]*\r\n)+" % _TOKEN, section
        ):
            raise BadBody("malformed trailers")
        self.done = True
        return end + 4

    def eof(self) -> None:
        """The connection ended. Raises BadBody if the body did not."""
        if not self.done:
            raise BadBody("the connection closed inside a chunked body")


Decoder = LengthDecoder | ChunkDecoder | CloseDecoder


def decoder(*, chunked: bool, length: int | None) -> Decoder:
    """The decoder for a head's framing."""
    if chunked:
        return ChunkDecoder()
    return CloseDecoder() if length is None else LengthDecoder(length)


def chunk(data: bytes) -> bytes:
    """One chunk of a chunked body."""
    return b"%x\r\n%b\r\n" % (len(data), data)


LAST_CHUNK = b"0\r\n\r\n"
