"""Content codings: what they stand for, however it arrives, and never more than was allowed."""

from __future__ import annotations

import contextlib
import gzip
import tracemalloc
import zlib
from collections.abc import Callable, Iterable
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenomics.net.coding import MAX_MEMBERS, PIECE_BYTES, BadCoding, Inflate, decode

ANY_SIZE = 1 << 30
TEXT = b"".join(b"%d bottles of beer\n" % i for i in range(500))
NOISE = bytes((i * i * 7919 >> 5) & 255 for i in range(3 * PIECE_BYTES))


def read(coding: str, pieces: Iterable[bytes], limit: int = ANY_SIZE) -> bytes:
    """What pieces fed one after the other stand for."""
    inflate = Inflate(coding, limit)
    return b"".join([inflate.feed(piece) for piece in pieces]) + inflate.end()


def each_byte(wire: bytes) -> list[bytes]:
    return [wire[i : i + 1] for i in range(len(wire))]


def raw_deflate(data: bytes) -> bytes:
    return zlib.compress(data, wbits=-15)


def named_gzip(data: bytes) -> bytes:
    """Gzip with every optional field of its header (RFC 1952 section 2.3)."""
    fields = b"\x03\x00abc" + b"name\x00" + b"comment\x00"
    head = b"\x1f\x8b\x08\x1e" + bytes(6) + fields
    head += (zlib.crc32(head) & 0xFFFF).to_bytes(2, "little")
    tail = zlib.crc32(data).to_bytes(4, "little") + len(data).to_bytes(4, "little")
    return head + raw_deflate(data) + tail


# id: (coding, bytes on the wire, body)
WHOLE = {
    "none": ("", TEXT, TEXT),
    "identity": ("identity", TEXT, TEXT),
    "identity-empty": ("identity", b"", b""),
    "gzip": ("gzip", gzip.compress(TEXT), TEXT),
    "gzip-case": (" GZip ", gzip.compress(TEXT), TEXT),
    "x-gzip": ("x-gzip", gzip.compress(TEXT), TEXT),
    "gzip-of-nothing": ("gzip", gzip.compress(b""), b""),
    "gzip-stored": ("gzip", gzip.compress(TEXT, 0), TEXT),
    "gzip-noise": ("gzip", gzip.compress(NOISE), NOISE),
    "gzip-all-fields": ("gzip", named_gzip(TEXT), TEXT),
    "gzip-members": ("gzip", gzip.compress(TEXT) + gzip.compress(NOISE), TEXT + NOISE),
    "gzip-empty-members": (
        "gzip",
        gzip.compress(b"") * 2 + gzip.compress(TEXT) + gzip.compress(b""),
        TEXT,
    ),
    "deflate": ("deflate", zlib.compress(TEXT), TEXT),
    "deflate-of-nothing": ("deflate", zlib.compress(b""), b""),
    "deflate-noise": ("Deflate", zlib.compress(NOISE), NOISE),
}


@pytest.mark.parametrize("pieces", [lambda wire: [wire], each_byte], ids=["whole", "bytes"])
@pytest.mark.parametrize(("coding", "wire", "body"), WHOLE.values(), ids=WHOLE.keys())
def test_a_coding_is_undone(
    coding: str, wire: bytes, body: bytes, pieces: Callable[[bytes], list[bytes]]
) -> None:
    assert read(coding, pieces(wire)) == body
    assert decode(wire, coding, len(body)) == body


BROKEN = {
    "gzip-nothing": ("gzip", b""),
    "gzip-plain": ("gzip", TEXT),
    "gzip-is-zlib": ("gzip", zlib.compress(TEXT)),
    "gzip-garbage-after": ("gzip", gzip.compress(TEXT) + b"x"),
    "gzip-zeros-after": ("gzip", gzip.compress(TEXT) + bytes(512)),
    "gzip-half-a-member-after": ("gzip", gzip.compress(TEXT) + gzip.compress(TEXT)[:30]),
    "gzip-check-sum": ("gzip", gzip.compress(TEXT)[:-8] + bytes(4) + gzip.compress(TEXT)[-4:]),
    "gzip-length": ("gzip", gzip.compress(TEXT)[:-4] + bytes(4)),
    "gzip-method": ("gzip", b"\x1f\x8b\x09" + gzip.compress(TEXT)[3:]),
    "gzip-block": ("gzip", gzip.compress(TEXT)[:10] + b"\xff" * 20),
    "deflate-nothing": ("deflate", b""),
    "deflate-raw": ("deflate", raw_deflate(TEXT)),
    "deflate-is-gzip": ("deflate", gzip.compress(TEXT)),
    "deflate-twice": ("deflate", zlib.compress(TEXT) * 2),
    "deflate-garbage-after": ("deflate", zlib.compress(TEXT) + b"\x00"),
    "deflate-check-sum": ("deflate", zlib.compress(TEXT)[:-4] + bytes(4)),
    "deflate-dictionary": ("deflate", b"\x78\xbb" + bytes(20)),
}


@pytest.mark.parametrize("pieces", [lambda wire: [wire], each_byte], ids=["whole", "bytes"])
@pytest.mark.parametrize(("coding", "wire"), BROKEN.values(), ids=BROKEN.keys())
def test_a_broken_coding_is_refused(
    coding: str, wire: bytes, pieces: Callable[[bytes], list[bytes]]
) -> None:
    with pytest.raises(BadCoding) as caught:
        read(coding, pieces(wire))
    assert caught.value.kind == "broken"


@pytest.mark.parametrize("coding", ["br", "zstd", "compress", "gzip, gzip", "*", "é" * 1000])
def test_another_coding_is_refused_and_named(coding: str) -> None:
    for attempt in (lambda: Inflate(coding, 1), lambda: decode(b"", coding, 1)):
        with pytest.raises(BadCoding, match="not supported; use gzip") as caught:
            attempt()
        assert caught.value.kind == "unsupported"
        assert coding[:40] in str(caught.value)
        assert len(str(caught.value)) < 120


def cut(wire: bytes, places: list[int]) -> list[bytes]:
    """`wire` cut at places (modulo its length)."""
    edges = sorted({0, len(wire), *(place % (len(wire) + 1) for place in places)})
    return [wire[a:b] for a, b in pairwise(edges)]


BODIES = st.binary(max_size=300) | st.builds(
    lambda unit, times: unit * times, st.binary(min_size=1, max_size=9), st.integers(0, 5000)
)
CUTS = st.lists(st.integers(0, 1 << 16), max_size=12)
COMPRESS: dict[str, Callable[[bytes], bytes]] = {"gzip": gzip.compress, "deflate": zlib.compress}
each_coding = pytest.mark.parametrize("coding", COMPRESS)


@given(bodies=st.lists(BODIES, min_size=1, max_size=4), cuts=CUTS)
def test_any_cutting_of_gzip_gives_the_same_body(bodies: list[bytes], cuts: list[int]) -> None:
    wire = b"".join(gzip.compress(body) for body in bodies)
    assert read("gzip", cut(wire, cuts)) == b"".join(bodies)


@given(body=BODIES, cuts=CUTS)
def test_any_cutting_of_deflate_gives_the_same_body(body: bytes, cuts: list[int]) -> None:
    assert read("deflate", cut(zlib.compress(body), cuts)) == body


@each_coding
@given(body=BODIES, end=st.integers(0, 1 << 16), cuts=CUTS)
def test_any_truncation_is_refused(coding: str, body: bytes, end: int, cuts: list[int]) -> None:
    wire = COMPRESS[coding](body)
    short = wire[: end % len(wire)]
    for pieces in ([short], cut(short, cuts)):
        with pytest.raises(BadCoding, match="ends inside") as caught:
            read(coding, pieces)
        assert caught.value.kind == "broken"


@each_coding
@given(wire=st.binary(max_size=60), cuts=CUTS)
def test_any_bytes_are_a_body_or_refused(coding: str, wire: bytes, cuts: list[int]) -> None:
    head = COMPRESS[coding](b"")[:-8]
    for pieces in ([wire], cut(head + wire, cuts)):
        with contextlib.suppress(BadCoding):
            assert len(read(coding, pieces, 100)) <= 100 * len(pieces)


# Limits.


@pytest.mark.parametrize("coding", ["", "gzip", "deflate"])
def test_the_limit_is_the_longest_body(coding: str) -> None:
    wire = COMPRESS[coding](NOISE) if coding else NOISE
    assert decode(wire, coding, len(NOISE)) == NOISE
    with pytest.raises(BadCoding, match=f"longer than {len(NOISE) - 1} bytes") as caught:
        decode(wire, coding, len(NOISE) - 1)
    assert caught.value.kind == "too_long"


@each_coding
def test_a_limit_of_nothing_takes_nothing(coding: str) -> None:
    assert decode(COMPRESS[coding](b""), coding, 0) == b""
    with pytest.raises(BadCoding, match="longer than 0 bytes"):
        decode(COMPRESS[coding](b"x"), coding, 0)


def test_the_limit_of_a_stream_is_for_each_feed() -> None:
    inflate = Inflate("gzip", 1000)
    assert len(inflate.feed(gzip.compress(bytes(1000)))) == 1000
    assert len(inflate.feed(gzip.compress(bytes(1000)))) == 1000
    assert inflate.end() == b""
    with pytest.raises(BadCoding, match="longer than 1000 bytes"):
        inflate.feed(gzip.compress(bytes(1001)))


MiB = 1 << 20
BOMBS = {
    "one": ("gzip", gzip.compress(bytes(64 * MiB), 1)),
    "members": ("gzip", gzip.compress(bytes(MiB)) * 64),
    "deflate": ("deflate", zlib.compress(bytes(64 * MiB), 1)),
}


@pytest.mark.parametrize("limit", [1000, MiB])
@pytest.mark.parametrize(("coding", "wire"), BOMBS.values(), ids=BOMBS.keys())
def test_a_bomb_stops_at_the_limit(coding: str, wire: bytes, limit: int) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(BadCoding) as caught:
            decode(wire, coding, limit)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert caught.value.kind == "too_long"
    assert peak < 2 * limit + 256 * 1024  # zlib's own blocks and what they are put into


def test_empty_members_without_end_are_refused() -> None:
    member = gzip.compress(b"")
    assert decode(member * (MAX_MEMBERS + 1), "gzip", 0) == b""
    with pytest.raises(BadCoding, match=f"more than {MAX_MEMBERS} gzip members") as caught:
        decode(member * (MAX_MEMBERS + 2), "gzip", 0)
    assert caught.value.kind == "broken"


def test_a_stream_may_have_any_number_of_members() -> None:
    member = gzip.compress(b"x")
    assert read("gzip", [member] * (MAX_MEMBERS + 2)) == b"x" * (MAX_MEMBERS + 2)
