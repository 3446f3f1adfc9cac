"""From the bytes that patterns see back to the characters of the text."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from tokenomics.policy.detectors import fold
from tokenomics.policy.views import PIECE, View

texts = st.text("ab\u200b\xad１‐é😀\ud800", max_size=12)
# Short texts are made long enough to be seen in more than one piece.
padded = st.tuples(
    texts, st.sampled_from(["", "x" * (PIECE - 3), "é\u200b" * (PIECE // 2)]), texts
).map("".join)


def places(text: str, folded: bool) -> list[tuple[int, int, int]]:
    """(begin, end, character) of each character that is seen."""
    out, begin = [], 0
    for i, char in enumerate(text):
        seen = fold(char)[0] if folded else char
        if seen:
            end = begin + len(seen.encode("utf-8", "surrogatepass"))
            out.append((begin, end, i))
            begin = end
    return out


@settings(max_examples=300, deadline=None)
@given(padded, st.booleans(), st.sampled_from([b"", b"a", "é".encode()]))
def test_every_byte_leads_back_to_its_character(text: str, folded: bool, before: bytes) -> None:
    view = View(text, fold if folded else None, before, b"z")
    assert view.data[: view.first] == before
    assert view.data[view.last :] == b"z"
    seen = places(text, folded)
    step = max(1, len(seen) // 50)
    for begin, end, char in [*seen[::step], *seen[-5:]]:
        assert view.start(view.first + begin) == char
        assert view.end(view.first + end) == char + 1
        assert view.text(view.first + begin, view.first + end) == (
            fold(text[char])[0] if folded else text[char]
        )
    assert view.start(view.last) == len(text)
    assert view.last - view.first == (seen[-1][1] if seen else 0)


def test_what_is_not_seen_belongs_to_what_is_around_it_only_inside() -> None:
    view = View("\u200ba\u200bb\u200b", fold)
    assert view.data == b"ab"
    assert (view.start(0), view.end(2)) == (1, 4)
    assert (view.end(1), view.start(1)) == (2, 3)
