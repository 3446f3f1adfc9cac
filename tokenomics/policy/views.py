"""A text as patterns look at it: UTF-8, folded or as written, and the way back to characters."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence

from tokenomics.policy.regexes import encoded, length

# Characters that are folded and encoded in one go. Neither lets go of the GIL, so a long text goes
# by pieces; and the way from a byte back to a character begins at a piece.
PIECE = 2048

Fold = Callable[[str], tuple[str, Sequence[int] | None]]


class View:
    """`data` holds the text from byte `first` to byte `last`; what stands around it are characters
    of its neighbourhood, in the same view, which only assertions see."""

    __slots__ = ("_begins", "_places", "_size", "data", "first", "last")

    def __init__(
        self, text: str, fold: Fold | None = None, before: bytes = b"", behind: bytes = b""
    ) -> None:
        self._size = len(text)
        self._begins: list[int] = []  # of each piece in `data`; none for ASCII
        self._places: list[Sequence[int] | None] = []
        self.first = len(before)
        data = text.encode() if text.isascii() else self._pieces(text, fold)
        self.data = before + data + behind if before or behind else data
        self.last = self.first + len(data)

    def _pieces(self, text: str, fold: Fold | None) -> bytes:
        parts, begin = [], self.first
        for start in range(0, len(text), PIECE):
            piece, places = text[start : start + PIECE], None
            if fold is not None:
                piece, places = fold(piece)
            data = encoded(piece)
            self._begins.append(begin)
            self._places.append(places)
            parts.append(data)
            begin += len(data)
        return b"".join(parts)

    def start(self, byte: int) -> int:
        """The character that begins at a byte; the text's length at the end."""
        if byte >= self.last:
            return self._size
        if not self._begins:
            return byte - self.first
        piece, place = self._piece(byte, byte)
        places = self._places[piece]
        return piece * PIECE + (place if places is None else places[place])

    def end(self, byte: int) -> int:
        """Behind the character that ends at a byte: characters that fold to nothing stay out."""
        if not self._begins:
            return byte - self.first
        piece, place = self._piece(byte - 1, byte)
        places = self._places[piece]
        return piece * PIECE + (place if places is None else places[place - 1] + 1)

    def _piece(self, inside: int, until: int) -> tuple[int, int]:
        """The piece that a byte is in, and how many characters begin in it before `until`."""
        piece = bisect_right(self._begins, inside) - 1
        return piece, length(self.data, self._begins[piece], until)

    def text(self, start: int, end: int) -> str:
        """What stands between two bytes, as it is seen."""
        return self.data[start:end].decode("utf-8", "surrogatepass")
