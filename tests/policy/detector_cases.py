"""How the detectors' tables are checked: «...» marks what must be found."""

from __future__ import annotations

from tokenomics.policy.detectors import DETECTORS, fold

Table = dict[str, list[str]]


def plain(text: str) -> str:
    return text.replace("«", "").replace("»", "")


def marked(kind: str, text: str) -> str:
    """`text` with what is found, after folding, in marks."""
    folded, places = fold(text)
    out, done = "", 0
    for start, end in DETECTORS[kind].spans(folded):
        first, last = (start, end) if places is None else (places[start], places[end - 1] + 1)
        out += f"{text[done:first]}«{text[first:last]}»"
        done = last
    return out + text[done:]


def each(table: Table) -> list[tuple[str, str]]:
    return [(kind, text) for kind, texts in table.items() for text in texts]
