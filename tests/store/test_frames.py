"""Frames: every way in which bytes end, and every way in which they lie."""

from __future__ import annotations

import struct
import zlib

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tokenomics.store.frames import (
    HEAD_BYTES,
    MAX_PAYLOAD,
    Damaged,
    Scan,
    frame,
    pack,
    scan,
    unpack,
)

PAYLOADS = [b"", b"abc", b"\x00" * 40, bytes(range(256))]


def head(length: int, crc: int = 0) -> bytes:
    """A whole head, whatever it says."""
    start = struct.pack(">II", length, crc)
    return start + struct.pack(">I", zlib.crc32(start))


def flipped(data: bytes, offset: int) -> bytes:
    return data[:offset] + bytes([data[offset] ^ 0x40]) + data[offset + 1 :]


def test_a_frame_is_written_as_ever() -> None:
    """Files written by every version before have these bytes."""
    assert frame(b"abc").hex() == "00000003352441c2" + "463b9ece" + "616263"


def test_frames_read_back_at_every_cut() -> None:
    data = b"".join(map(frame, PAYLOADS))
    ends = [len(b"".join(map(frame, PAYLOADS[:n]))) for n in range(len(PAYLOADS) + 1)]
    for cut in range(len(data) + 1):
        whole = max(n for n, end in enumerate(ends) if end <= cut)
        found = list(zip((100 + e for e in ends), PAYLOADS[:whole], strict=False))
        assert scan(data[:cut], 100) == Scan(found, 100 + ends[whole], torn=cut not in ends)


@pytest.mark.parametrize(
    ("tail", "torn"),
    [
        (b"", False),
        (b"x" * (HEAD_BYTES - 1), True),
        (b"\x00" * 4096, True),
        (head(5) + b"four", True),
        (head(4, zlib.crc32(b"FOUR")) + b"four", True),
    ],
    ids=["nothing", "half a head", "blocks never written", "too short", "last one changed"],
)
def test_what_a_dead_writer_leaves_is_a_torn_tail(tail: bytes, torn: bool) -> None:
    whole = frame(b"abc")
    assert scan(whole + tail) == Scan([(0, b"abc")], len(whole), torn)


@pytest.mark.parametrize(
    "tail",
    [
        b"x" * HEAD_BYTES,
        b"\x00" * 4095 + b"x",
        head(MAX_PAYLOAD + 1),
        flipped(frame(b"four"), HEAD_BYTES) + frame(b"next"),
        flipped(frame(b"four"), 3),
    ],
    ids=["text", "zeros, then something", "too long", "changed, another follows", "a length lies"],
)
def test_anything_else_is_damage_with_its_offset(tail: bytes) -> None:
    whole = frame(b"abc")
    with pytest.raises(Damaged, match=f"offset {1000 + len(whole)}:") as caught:
        scan(whole + tail, 1000)
    assert caught.value.offset == 1000 + len(whole)


@given(st.binary(max_size=60), st.binary(max_size=60))
@example(b"", b"\x00" * 12)
def test_no_bytes_make_a_frame_that_is_not_there(payload: bytes, junk: bytes) -> None:
    data = frame(payload) + junk
    try:
        found = scan(data)
    except Damaged as e:
        found = scan(data[: e.offset])  # what is before the damage is whole
        data = data[: e.offset]
    assert found.payloads[0] == (0, payload)
    assert b"".join(frame(p) for _, p in found.payloads) == data[: found.end]
    assert found.torn == (found.end < len(data))


def test_a_payload_beyond_the_limit_is_not_written() -> None:
    with pytest.raises(ValueError, match="too large"):
        frame(bytes(MAX_PAYLOAD + 1))


VALUES = [[], {"a": b"\x00"}, ["\U0001f600", None, 1.5, -1]]


@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_values_read_back(value: object) -> None:
    assert unpack(pack(value), 7) == value


@pytest.mark.parametrize(
    "payload",
    [b"", b"\xc1", b"\xa2a", b"\xa1\xff", b"\x01\x01", b"\x81\x90\x01", b"\x91" * 5000 + b"\x01"],
    ids=["nothing", "no type", "short", "not UTF-8", "two values", "a list as key", "too deep"],
)
def test_a_payload_that_is_no_value_is_damage(payload: bytes) -> None:
    with pytest.raises(Damaged, match="offset 7:"):
        unpack(payload, 7)
