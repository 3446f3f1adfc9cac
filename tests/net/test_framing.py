"""Bodies: where they end, however their bytes arrive."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenomics.net.framing import (
    LAST_CHUNK,
    MAX_SIZE_LINE,
    MAX_TRAILERS,
    BadBody,
    ChunkDecoder,
    CloseDecoder,
    Decoder,
    LengthDecoder,
    chunk,
    decoder,
    whole_chunks,
)

TRAILING = b"GET /next HTTP/1.1\r\n\r\n"


def read(reader: Decoder, pieces: Iterable[bytes]) -> tuple[bytes, bytes]:
    """(body, what followed it) of pieces fed one after the other."""
    body, rest = b"", b""
    for piece in pieces:
        if reader.done:
            rest += piece
            continue
        part, after = reader.feed(piece)
        if after and not reader.done:  # a fault is in it, behind something good
            reader.feed(after)
        body, rest = body + part, rest + after
    return body, rest


def each_byte(wire: bytes) -> list[bytes]:
    return [wire[i : i + 1] for i in range(len(wire))]


FEEDINGS: list[tuple[str, Callable[[bytes], list[bytes]], bytes]] = [
    ("whole", lambda wire: [wire], b""),
    ("bytes", each_byte, b""),
    ("trailing", lambda wire: [wire + TRAILING], TRAILING),
    ("trailing-bytes", lambda wire: each_byte(wire + TRAILING), TRAILING),
]
LONGEST_EXTENSION = b";" + b"x" * (MAX_SIZE_LINE - 2 - 2)
LONGEST_TRAILER = b"x:" + b"y" * (MAX_TRAILERS - 4) + b"\r\n"

# id: (framing, bytes on the wire, body)
WHOLE: dict[str, tuple[dict[str, bool | int | None], bytes, bytes]] = {
    "length": ({"chunked": False, "length": 5}, b"hello", b"hello"),
    "length-with-crlf": ({"chunked": False, "length": 4}, b"\r\n\r\n", b"\r\n\r\n"),
    "length-0": ({"chunked": False, "length": 0}, b"", b""),
    "chunks": ({"chunked": True}, b"5\r\nhello\r\n1\r\n!\r\n0\r\n\r\n", b"hello!"),
    "no-chunks": ({"chunked": True}, LAST_CHUNK, b""),
    "size-in-hex": ({"chunked": True}, b"1A\r\n" + b"x" * 26 + b"\r\n0\r\n\r\n", b"x" * 26),
    "size-lower-hex": ({"chunked": True}, b"0a\r\n" + b"x" * 10 + b"\r\n000\r\n\r\n", b"x" * 10),
    "extension": ({"chunked": True}, b'1;a="b c"\r\nx\r\n0;last\r\n\r\n', b"x"),
    "space-before-extension": ({"chunked": True}, b"1 ;a\r\nx\r\n0\r\n\r\n", b"x"),
    "longest-extension": (
        {"chunked": True},
        b"1" + LONGEST_EXTENSION + b"\r\nx\r\n0\r\n\r\n",
        b"x",
    ),
    "trailers": ({"chunked": True}, b"1\r\nx\r\n0\r\nA: b\r\nC: d\r\n\r\n", b"x"),
    "longest-trailers": ({"chunked": True}, b"0\r\n" + LONGEST_TRAILER + b"\r\n", b""),
    "crlf-in-chunk": ({"chunked": True}, b"7\r\n0\r\n\r\n\r\n\r\n0\r\n\r\n", b"0\r\n\r\n\r\n"),
}


@pytest.mark.parametrize(
    ("pieces", "trailing"), [f[1:] for f in FEEDINGS], ids=[f[0] for f in FEEDINGS]
)
@pytest.mark.parametrize(("framing", "wire", "body"), WHOLE.values(), ids=WHOLE.keys())
def test_a_body_ends_where_its_framing_says(
    framing: dict[str, bool | int | None],
    wire: bytes,
    body: bytes,
    pieces: Callable[[bytes], list[bytes]],
    trailing: bytes,
) -> None:
    reader = decoder(chunked=bool(framing["chunked"]), length=framing.get("length"))
    assert read(reader, pieces(wire)) == (body, trailing)
    assert reader.done
    reader.eof()  # an end after the end is fine


@pytest.mark.parametrize(("framing", "wire", "body"), WHOLE.values(), ids=WHOLE.keys())
def test_a_truncated_body_is_never_complete(
    framing: dict[str, bool | int | None], wire: bytes, body: bytes
) -> None:
    for end in range(len(wire)):
        reader = decoder(chunked=bool(framing["chunked"]), length=framing.get("length"))
        part, rest = read(reader, [wire[:end]])
        assert not reader.done, wire[:end]
        assert (body.startswith(part), rest) == (True, b"")
        with pytest.raises(BadBody, match="closed"):
            reader.eof()


def test_a_body_until_close_takes_everything_and_ends_with_the_connection() -> None:
    reader = decoder(chunked=False, length=None)
    assert isinstance(reader, CloseDecoder)
    assert read(reader, [b"0\r\n\r\n", TRAILING]) == (b"0\r\n\r\n" + TRAILING, b"")
    assert not reader.done
    reader.eof()
    assert reader.done


MALFORMED = {
    "RFC9112-7.1-no-size": b"\r\nx\r\n",
    "RFC9112-7.1-not-hex": b"xyz\r\n",
    "RFC9112-7.1-negative": b"-1\r\n",
    "RFC9112-7.1-plus": b"+1\r\nx\r\n",
    "RFC9112-7.1-0x": b"0x1\r\nx\r\n",
    "RFC9112-7.1-underscore": b"1_0\r\n",
    "RFC9112-7.1-space-before": b" 1\r\nx\r\n",
    "RFC9112-7.1-overflow": b"1" + b"0" * 15 + b"\r\n",
    "RFC9112-7.1-bare-lf-after-size": b"1\nx\r\n0\r\n\r\n",
    "RFC9112-7.1-bare-cr-after-size": b"1\rx\r\n0\r\n\r\n",
    "RFC9112-7.1-chunk-longer-than-size": b"1\r\nxy\r\n0\r\n\r\n",
    "RFC9112-7.1-chunk-ends-with-lf": b"1\r\nx\n0\r\n\r\n",
    "RFC9112-7.1.1-lf-in-extension": b"1;a\nb\r\nx\r\n",
    "RFC9112-7.1.1-nul-in-extension": b"1;\x00\r\nx\r\n",
    "RFC9112-7.1.1-endless-extension": b"1;" + b"x" * MAX_SIZE_LINE,
    "RFC9112-7.1.2-trailer-no-colon": b"0\r\nabc\r\n\r\n",
    "RFC9112-7.1.2-trailer-space-before-colon": b"0\r\na : b\r\n\r\n",
    "RFC9112-7.1.2-trailer-folded": b"0\r\na: b\r\n c\r\n\r\n",
    "RFC9112-7.1.2-trailer-bare-lf": b"0\r\na: b\nc: d\r\n\r\n",
    "RFC9112-7.1.2-trailer-nul": b"0\r\na: \x00\r\n\r\n",
    "RFC9112-7.1.2-endless-trailers": b"0\r\n" + b"a: b\r\n" * 1500,
    "RFC9112-7.1.2-trailers-one-byte-over": b"0\r\ny" + LONGEST_TRAILER + b"\r\n",
}


@pytest.mark.parametrize("pieces", [FEEDINGS[0][1], each_byte], ids=["whole", "bytes"])
@pytest.mark.parametrize("wire", MALFORMED.values(), ids=MALFORMED.keys())
def test_broken_chunking_is_refused(wire: bytes, pieces: Callable[[bytes], list[bytes]]) -> None:
    reader = ChunkDecoder()
    with pytest.raises(BadBody):
        read(reader, pieces(wire))
    assert not reader.done


def cut(wire: bytes, places: list[int]) -> list[bytes]:
    """`wire` cut at places (modulo its length)."""
    edges = sorted({0, len(wire), *(place % (len(wire) + 1) for place in places)})
    return [wire[a:b] for a, b in pairwise(edges)]


CUTS = st.lists(st.integers(0, 1 << 16), max_size=12)


@given(body=st.binary(max_size=200), rest=st.binary(max_size=20), cuts=CUTS)
def test_any_cutting_of_a_known_length_gives_the_same_body(
    body: bytes, rest: bytes, cuts: list[int]
) -> None:
    reader = LengthDecoder(len(body))
    assert read(reader, cut(body + rest, cuts)) == (body, rest)
    assert reader.done


@given(parts=st.lists(st.binary(min_size=1, max_size=60)), rest=st.binary(max_size=20), cuts=CUTS)
def test_any_cutting_of_chunks_gives_the_same_body(
    parts: list[bytes], rest: bytes, cuts: list[int]
) -> None:
    wire = b"".join(chunk(part) for part in parts) + LAST_CHUNK + rest
    reader = ChunkDecoder()
    assert read(reader, cut(wire, cuts)) == (b"".join(parts), rest)
    assert reader.done


def verdict(pieces: list[bytes]) -> tuple[bytes, bytes] | str:
    """What a chunked reader makes of pieces: the end's place is part of it."""
    reader = ChunkDecoder()
    try:
        found = read(reader, pieces)
        reader.eof()
    except BadBody:
        return "refused"  # a cut may move the place where it is noticed, not the verdict
    return found


PIECES = [b"0", b"1", b"f", b"\r\n", b"\r", b"\n", b";", b"x", b"a: b", b" ", b":"]


@given(wire=st.lists(st.sampled_from(PIECES), max_size=16).map(b"".join), cuts=CUTS)
def test_any_cutting_of_anything_gives_the_same_verdict(wire: bytes, cuts: list[int]) -> None:
    assert verdict(cut(wire, cuts)) == verdict([wire])


# Chunks that can be passed on as they stand.

END = b"\n\n"
EVENT = b"data: {}\n\n"
PASSABLE: dict[str, tuple[bytes, int, int]] = {  # (data, stop, bytes that may go on)
    "one": (chunk(EVENT), 99, 15),
    "two": (chunk(EVENT) * 2, 99, 30),
    "upper-case-size": (b"A\r\n" + EVENT + b"\r\n", 99, 15),
    "part-of-the-second": (chunk(EVENT) + chunk(EVENT)[:-1], 99, 15),
    "part-of-a-size": (chunk(EVENT) + b"1", 99, 15),
    "the-last-chunk": (chunk(EVENT) + LAST_CHUNK, 99, 15),
    "stop-inside-the-second": (chunk(EVENT) * 2, 29, 15),
    "stop-at-the-second": (chunk(EVENT) * 2, 15, 15),
    "stop-at-once": (chunk(EVENT), 0, 0),
    "half-an-event": (chunk(b"data: {"), 99, 0),
    "only-a-blank-line": (chunk(END), 99, 7),
    "an-end-in-the-size-line": (b"1\n\n\r\n", 99, 0),
    "extension": (b"a;a=b\r\n" + EVENT + b"\r\n", 99, 0),
    "wrong-size": (b"9\r\n" + EVENT + b"\r\n", 99, 0),
    "negative": (b"-1\r\n\n\n\r\n", 99, 0),
    "underscore": (b"0_a\r\n" + EVENT + b"\r\n", 99, 0),
    "prefix": (b"0xa\r\n" + EVENT + b"\r\n", 99, 0),
    "empty": (b"", 99, 0),
}


@pytest.mark.parametrize(("data", "stop", "size"), PASSABLE.values(), ids=PASSABLE.keys())
def test_whole_chunks_that_end_an_event_may_go_on(data: bytes, stop: int, size: int) -> None:
    assert whole_chunks(data, END, min(stop, len(data))) == size


@given(
    parts=st.lists(st.sampled_from([EVENT, b"data: ", b"x\n\n", b"\n", b"", b"\r\n"]), max_size=8),
    cut_at=st.integers(0, 200),
    stop=st.integers(0, 200),
    junk=st.binary(max_size=4),
)
def test_what_may_go_on_is_whole_chunks_to_a_strict_reader_too(
    parts: list[bytes], cut_at: int, stop: int, junk: bytes
) -> None:
    data = b"".join(chunk(part) for part in parts)[:cut_at] + junk
    size = whole_chunks(data, END, min(stop, len(data)))
    assert size <= stop
    reader = ChunkDecoder()
    body, rest = reader.feed(data[:size])
    assert (rest, reader.done, reader.between_chunks) == (b"", False, True)
    assert not body or body.endswith(END)


@pytest.mark.parametrize("bad", [b"x\r\n", b"5\r\nhello!!", b"0\r\nbad\r\n\r\n"])
def test_what_came_before_a_fault_is_not_lost(bad: bytes) -> None:
    reader = ChunkDecoder()
    body, rest = reader.feed(chunk(b"whole ") + chunk(b"events") + bad)
    assert body.startswith(b"whole events")
    assert not reader.done
    with pytest.raises(BadBody):
        reader.feed(rest)
    with pytest.raises(BadBody):
        reader.feed(b"")
