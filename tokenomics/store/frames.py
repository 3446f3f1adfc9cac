"""Bytes of a journal: a magic, then frames of `length, crc32, check, payload`. Pure.

`length` and `crc32` are of the payload (big-endian, 32 bits); `check` is the crc32 of those eight
bytes. The check is what tells a torn tail (a write that never finished, safe to cut) from damage (a
length that lies about where the next frame is): only a frame whose head is whole may be short.
The payload is msgpack; this is the one module that knows it.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from typing import Any

import msgpack  # type: ignore[import-untyped]  # it ships no stubs

MAGIC = b"TKNJRNL\x01"
_HEAD = struct.Struct(">II")
_CHECK = struct.Struct(">I")
HEAD_BYTES = _HEAD.size + _CHECK.size
MAX_PAYLOAD = 16 << 20  # bytes; a policy is at most 1 MiB


class Damaged(Exception):
    """The bytes are not a journal's. `offset` is where the damage begins."""

    def __init__(self, offset: int, reason: str) -> None:
        super().__init__(f"damaged at offset {offset}: {reason}")
        self.offset = offset


@dataclass(frozen=True, slots=True)
class Scan:
    """What bytes held: payloads with their offsets, where the whole frames end, and whether an
    unfinished frame follows."""

    payloads: list[tuple[int, bytes]]
    end: int
    torn: bool


def frame(payload: bytes) -> bytes:
    """One frame."""
    if len(payload) > MAX_PAYLOAD:
        raise ValueError("a record is too large")
    head = _HEAD.pack(len(payload), zlib.crc32(payload))
    return head + _CHECK.pack(zlib.crc32(head)) + payload


def scan(data: bytes, base: int = 0) -> Scan:
    """The frames of `data`, which starts at offset `base` of the file, on a frame's border.

    Raises Damaged for anything but an unfinished last frame.
    """
    payloads: list[tuple[int, bytes]] = []
    position, size = 0, len(data)
    while position < size:
        if size - position < HEAD_BYTES:
            return Scan(payloads, base + position, torn=True)
        head = data[position : position + _HEAD.size]
        (check,) = _CHECK.unpack_from(data, position + _HEAD.size)
        if check != zlib.crc32(head):
            if not any(data[position:]):  # a file extended by the kernel, its data never written
                return Scan(payloads, base + position, torn=True)
            raise Damaged(base + position, "the head of a record is not whole")
        length, crc = _HEAD.unpack(head)
        end = position + HEAD_BYTES + length
        if length > MAX_PAYLOAD:
            raise Damaged(base + position, "a record is longer than any may be")
        if end > size:
            return Scan(payloads, base + position, torn=True)
        payload = data[position + HEAD_BYTES : end]
        if zlib.crc32(payload) != crc:
            if end == size:
                return Scan(payloads, base + position, torn=True)
            raise Damaged(base + position, "the checksum of a record does not hold")
        payloads.append((base + position, payload))
        position = end
    return Scan(payloads, base + position, torn=False)


def pack(value: Any) -> bytes:
    """A payload."""
    packed: bytes = msgpack.packb(value, use_bin_type=True)
    return packed


def unpack(payload: bytes, offset: int) -> Any:
    """The value of a payload. Raises Damaged."""
    try:
        return msgpack.unpackb(payload, raw=False, strict_map_key=True)
    except (ValueError, msgpack.UnpackException) as e:
        raise Damaged(offset, f"a record cannot be read: {e}") from None
