"""Making heads: of likely and of evil pieces, mutated; pure but for its random numbers."""

from __future__ import annotations

import random
import re
from collections.abc import Hashable
from dataclasses import dataclass

from tests.net import raw_cases

END = b"\r\n\r\n"
MAX_CORPUS = 2000  # heads
MAX_BYTES = 3000  # longer heads are not mutated further: they cost more than they show

_PATHS = [b"/", b"/v1/chat/completions", b"/a?b=c", b"*", b"http://a/b", b"HTTPS://a:1?b", b"//"]
_EVIL_PATHS = [b"a", b"/#", b"/\xe9", b"/a b", b"http://", b"a:80", b"ftp://a/", b"/\x00", b""]
_METHODS = [b"GET", b"POST", b"POST", b"OPTIONS", b"HEAD", b"get", b"TRACE", b"CONNECT", b"P@T"]
_VERSIONS = [b"HTTP/1.1"] * 8 + [b"HTTP/1.0"] * 3 + [b"HTTP/2.0", b"HTTP/1.2", b"http/1.1"]
_REQUEST_LINES = [
    b"%b %b %b" % (method, path, version)
    for method in _METHODS
    for path in (*_PATHS, *_PATHS, *_EVIL_PATHS)
    for version in _VERSIONS
]
_LIKELY = [
    b"Content-Length: 5",
    b"Content-Length: 17",
    b"content-length: 0",
    b"content-length:120",
    b"Transfer-Encoding: chunked",
    b"Connection: close",
    b"connection: keep-alive",
    b"Authorization: Bearer tk_0123456789",
    b"Content-Type: application/json",
    b"User-Agent: OpenAI/Python 1.2.3",
    b"Accept: */*",
    b"Accept-Encoding: gzip, deflate",
    b"Expect: 100-continue",
    b"X-Stainless-Lang: python",
]
_EVIL = [
    b"Host: b",
    b"Host: [::1]:80",
    b"Host: a/b",
    b"host:",
    b"CONTENT-LENGTH: 5",
    b"Content-Length:  5",
    b"Content-Length: 5 ",
    b"Content-Length:\t5",
    b"Content-Length: 05",
    b"Content-Length: 5, 5",
    b"Content-Length: 5,6",
    b"Content-Length: +5",
    b"Content-Length: -0",
    b"Content-Length: 0x5",
    b"Content-Length: 5_0",
    b"Content-Length: ",
    b"Content-Length: #",
    b"Content-Length: \xb2",
    b"Content-Length: 9999999999999999",
    b"Content-Length : 5",
    b"X: Content-Length: 5",
    b"X-Content-Length: 5",
    b"Transfer-Encoding: CHUNKED\t",
    b"Transfer-Encoding: identity",
    b"Transfer-Encoding: gzip, chunked",
    b"Transfer-Encoding: chunked, identity",
    b"Transfer-Encoding: ,chunked",
    b"Transfer-Encoding:",
    b"Transfer-Encoding: \x0bchunked",
    b"Transfer-Encoding : chunked",
    b"Transfer_Encoding: chunked",
    b"Connection: close, x",
    b"Connection: Keep-Alive , closed",
    b"Connection: \x85close",
    b"Upgrade: websocket",
    b"X:",
    b"X: \xe9",
    b": x",
    b"abc",
    b" folded: x",
    b"\tfolded",
    b"X: a\nY: b",
    b"X: a\rY: b",
    b"X: a\x00",
    b"",
]
_ANSWER_LINES = [
    b"%b %b%b" % (version, status, reason)
    for version in (b"HTTP/1.1", b"HTTP/1.1", b"HTTP/1.1", b"HTTP/1.0", b"HTTP/2", b"HTTP/1.2")
    for status in b"200 201 204 304 400 429 500 100 101 103 599 099 600 20 2000".split()
    for reason in (b" OK", b" ", b"", b" Not \xe9 Fine", b" \x0b")
]
_BITS = [b"\r", b"\n", b"\r\n", b"\x00", b"\x0b", b"\x0c", b"\x7f", b"\x85", b"\xa0", b" ", b"\t"]
_BITS += [b":", b",", b"#", b"?", b"*", b"/", b"5", b"0", b"[", b"]", b"\r\n ", b"\r\n\r", b"\n\n"]
_DIGITS = [
    b"0",
    b"1",
    b"5",
    b"6",
    b"17",
    b"120",
    b"999999",
    b"999999999999999",
    b"1000000000000000",
]
_DIGITS += [b"05", b"00", b"+5", b"5 ", b" 5", b"5,5", b"", b"#", b"5#", b"\x00", b"0x5", b"5_0"]
_LENGTH = re.compile(rb"(content-length: ?)[^\r\n]*", re.IGNORECASE)


def cut(raw: bytes) -> bytes:
    """Bytes as a server finds a head in them: after empty lines, up to and with the next one."""
    while raw.startswith(b"\r\n"):
        raw = raw[2:]
    raw += END
    return raw[: raw.index(END) + 4]


@dataclass(frozen=True)
class Pieces:
    """What heads of a kind are made of."""

    seeds: list[bytes]  # whole heads, looked at first and mutated further
    lines: list[bytes]  # request or status lines
    fields: list[bytes]
    first: bytes  # a field that most heads have


REQUEST_PIECES = Pieces(
    [cut(row.sent) for row in raw_cases.ROWS if len(row.sent) < MAX_BYTES],
    _REQUEST_LINES,
    _LIKELY * 4 + _EVIL,
    b"Host: a",
)
_ANSWER_SEEDS = [[line, _LIKELY[0]] for line in _ANSWER_LINES]
for _line in _ANSWER_LINES[:3]:  # alike but for the request's method, which follows from the bytes
    _ANSWER_SEEDS += [[_line, evil] for evil in _EVIL]
    _ANSWER_SEEDS += [[_line, evil, _LIKELY[0]] for evil in _EVIL]
ANSWER_PIECES = Pieces(
    [cut(b"\r\n".join(lines)) for lines in _ANSWER_SEEDS],
    _ANSWER_LINES,
    [*_LIKELY, b"Server: x", b"Set-Cookie: a=b; path=/", b"Keep-Alive: 5"] * 3 + _EVIL,
    b"Date: x",
)


class Maker:
    """Makes heads of pieces. Keeps those that are worth to be mutated further."""

    def __init__(self, pieces: Pieces, seed: int) -> None:
        self._rng = random.Random(seed)
        self._pieces = pieces
        self._corpus = list(pieces.seeds)
        self._known: set[Hashable] = set()

    def head(self) -> bytes:
        """A new head."""
        rng = self._rng
        chance = rng.random()
        raw = self._compose() if chance < 0.3 else rng.choice(self._corpus)
        if chance < 0.15:
            return cut(raw)
        raw = self._mutate(raw)
        while rng.random() < 0.3:
            raw = self._mutate(raw)
        return cut(raw)

    def sibling(self, raw: bytes) -> bytes | None:
        """Often a head that a memory could take for this one."""
        rng = self._rng
        chance = rng.random()
        if chance < 0.6:
            return None
        if chance < 0.7:
            return raw
        if chance < 0.9 and b"ength:" in raw:
            return cut(self._other_length(raw))
        return cut(self._mutate(raw))

    def keep(self, raw: bytes, news: Hashable) -> None:
        """Keep a head if it showed what no other has."""
        if news in self._known or len(raw) > MAX_BYTES:
            return
        self._known.add(news)
        if len(self._corpus) < MAX_CORPUS:
            self._corpus.append(raw)
        else:
            self._corpus[self._rng.randrange(MAX_CORPUS)] = raw

    def _compose(self) -> bytes:
        rng, pieces = self._rng, self._pieces
        count = 130 if rng.random() < 0.001 else int(rng.random() * 7)
        fields = rng.choices(pieces.fields, k=count)
        if rng.random() < 0.95:
            fields.insert(int(rng.random() * (len(fields) + 1)), pieces.first)
        line = rng.choice(pieces.lines)
        if rng.random() < 0.001:
            line = line.replace(b"/", b"/" + b"a" * 8192, 1)
        return b"\r\n".join([line, *fields, b"", b""])

    def _mutate(self, raw: bytes) -> bytes:
        rng = self._rng
        if not raw:
            return raw
        kind = int(rng.random() * 10)
        place = int(rng.random() * len(raw))
        if kind == 0:
            return b"%b%c%b" % (
                raw[:place],
                raw[place] ^ 1 << int(rng.random() * 8),
                raw[place + 1 :],
            )
        if kind == 1:
            return raw[:place] + rng.choice(_BITS) + raw[place + 1 :]
        if kind in (2, 3):
            return raw[:place] + rng.choice(_BITS) + raw[place:]
        if kind == 4:
            return raw[:place] + raw[place + 1 + int(rng.random() * 4) :]
        if kind == 5:
            return self._other_length(raw)
        return self._mutate_lines(raw.split(b"\r\n"), kind)

    def _mutate_lines(self, lines: list[bytes], kind: int) -> bytes:
        rng = self._rng
        place = int(rng.random() * (len(lines) - 1))
        if kind == 6:
            lines.insert(1 + place, rng.choice((lines[place], rng.choice(self._pieces.fields))))
        elif kind == 7:
            lines[place] = lines[place].swapcase()
        elif kind == 8:
            del lines[place]
        else:  # the end of another
            lines[place + 1 :] = rng.choice(self._corpus).split(b"\r\n")[place + 1 :]
        return b"\r\n".join(lines)

    def _other_length(self, raw: bytes) -> bytes:
        digits = self._rng.choice(_DIGITS)
        return _LENGTH.sub(lambda match: match[1] + digits, raw, count=1)
