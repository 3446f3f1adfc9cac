"""A screen for tests: it looks for a few words and holds back what may become one of them."""

from __future__ import annotations

import re
from collections.abc import Sequence

from tokenomics.errors import Refusal

WORDS = ("alice@example.com", "4111111111111111", "secret")
MASK = '[X"]'  # what would break JSON if it were pasted in
_WORD = re.compile("|".join(map(re.escape, WORDS)))


def mask(text: str) -> str:
    """What a screen makes of a whole text."""
    return _WORD.sub(lambda _: MASK, text)


def mask_all(texts: Sequence[str]) -> list[str]:
    """The same for several; one that has no match stays the same object."""
    return [mask(text) if _WORD.search(text) else text for text in texts]


class Masking:
    """Masks the words."""

    def __init__(self) -> None:
        self._held = ""

    def feed(self, text: str) -> str:
        """What may go out now."""
        text = mask(self._held + text)
        size = max(
            n for word in WORDS for n in range(len(word)) if n == 0 or text.endswith(word[:n])
        )
        cut = len(text) - size
        self._held = text[cut:]
        return text[:cut]

    def end(self) -> str:
        """The rest."""
        held, self._held = self._held, ""
        return held


class Blocking(Masking):
    """Raises where `Masking` masks."""

    def feed(self, text: str) -> str:
        """What may go out now. Raises Refusal."""
        refuse([self._held + text])
        return super().feed(text)


def refuse(texts: Sequence[str]) -> Sequence[str]:
    """The texts, unless one of them holds a word: then it raises Refusal."""
    if any(_WORD.search(text) for text in texts):
        raise Refusal("content_blocked", "blocked")
    return texts
