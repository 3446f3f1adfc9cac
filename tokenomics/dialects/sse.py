"""Server-sent events, as far as a relay needs them (WHATWG HTML, section 9.2).

Pure. Bytes are cut where an event ends; nothing is re-written unless an event is taken out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

MAX_EVENT = 4 << 20  # bytes; one event holds one delta, or a whole image in base64
_END = re.compile(rb"(?:\r\n|\n|\r(?!\n))(?:\r\n|\n|\r)")  # two line ends of any kind


class EventTooLong(Exception):
    """An upstream's event does not end."""


class Cutter:
    """Cuts a byte stream after its last whole event."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []  # of an event that has not ended; joined once
        self._size = 0
        self._tail = b""  # their last bytes: the end may come in two

    @property
    def waiting(self) -> bool:
        """Whether an event has begun and not ended."""
        return bool(self._parts)

    def feed(self, data: bytes) -> bytes:
        """The whole events that are there now, b"" if none. Raises EventTooLong."""
        seen = self._tail + data
        plain, crlf = seen.rfind(b"\n\n"), seen.rfind(b"\n\r\n")
        end = max(plain + 2 if plain >= 0 else 0, crlf + 3 if crlf >= 0 else 0)
        if not end:
            self._keep(data)
            return b""
        cut = end - len(self._tail)
        whole = b"".join([*self._parts, data[:cut]]) if self._parts else data[:cut]
        self._parts, self._size, self._tail = [], 0, b""
        self._keep(data[cut:])
        return whole

    def _keep(self, data: bytes) -> None:
        if data:
            self._parts.append(data)
            self._size += len(data)
            self._tail = (self._tail + data)[-3:]
        if self._size > MAX_EVENT:
            raise EventTooLong

    def rest(self) -> bytes:
        """What came after the last whole event."""
        return b"".join(self._parts)


def events(block: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Every event of whole events: (its bytes with the blank line, its data joined by newlines)."""
    position = 0
    while position < len(block):
        match = _END.search(block, position)
        end = match.end() if match else len(block)
        raw = block[position:end]
        lines = [line[5:].removeprefix(b" ") for line in raw.splitlines() if line[:5] == b"data:"]
        yield raw, b"\n".join(lines)
        position = end


def event(data: bytes) -> bytes:
    """One event with one line of data."""
    return b"data: " + data + b"\n\n"


def named_event(name: str, data: bytes) -> bytes:
    """The same with a name."""
    return b"event: %b\n%b" % (name.encode(), event(data))
