"""Other ways to write what detectors look for: full-width forms, other digits, invisible characters."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence

# Blocks with characters that are ASCII ones in another shape: Unicode's compatibility forms.
_SHAPES = (
    *range(0xA0, 0x100),  # NBSP and superscripts
    *range(0x2000, 0x20A0),  # general punctuation, subscripts
    *range(0x2100, 0x2150),  # letter-like symbols
    *range(0x2460, 0x2500),  # enclosed
    0x3000,
    *range(0xFE50, 0xFF70),  # small and full-width forms
    *range(0x1D400, 0x1D800),  # mathematical letters and digits
)
_ALSO = {
    0x00B7: ".",  # middle dot
    0x2043: "-",  # hyphen bullet
    0x2212: "-",  # minus
    0x2219: ".",
    0x2236: ":",  # ratio
    0x3002: ".",  # ideographic full stop, a dot of domain names too (UTS 46)
    0x30FB: ".",
    0xFF61: ".",
}
# Not seen when printed: Unicode's Default_Ignorable_Code_Point, which are
# https://www.unicode.org/Public/UCD/latest/ucd/DerivedCoreProperties.txt
_UNSEEN = (
    "\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f"
    "\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufff8\U0001bca0-\U0001bca3\U0001d173-\U0001d17a"
    "\U000e0000-\U000e0fff"
)


def _ascii_forms() -> Iterator[tuple[str, str]]:
    for code in _SHAPES:
        plain = unicodedata.normalize("NFKC", chr(code))
        if len(plain) == 1 and " " <= plain <= "~":
            yield chr(code), plain
    others = "".join(map(chr, range(0xA0, 0x1FC00)))  # no digits of other scripts stand above
    for digit in re.findall(r"\d", others):
        yield digit, str(unicodedata.digit(digit))
    for char in re.findall(
        r"[\u0530-\u10ff\u1400-\u1fff\u2000-\u206f\u2e00-\u30ff\ufe30-\uff0d]", others
    ):
        if unicodedata.category(char) == "Pd":
            yield char, "-"
        elif unicodedata.category(char) == "Zs":
            yield char, " "
    for code, plain in _ALSO.items():
        yield chr(code), plain


_FORMS = {form: plain for form, plain in _ascii_forms() if not re.match(f"[{_UNSEEN}]", form)}
_form = re.compile("[" + "".join(map(re.escape, sorted(_FORMS))) + "]")
_unseen = re.compile(f"[{_UNSEEN}]+")


def fold(text: str) -> tuple[str, Sequence[int] | None]:
    """`text` as detectors read it, and for each character of that where it stood in `text`.

    Digits, dashes, spaces and Latin letters of every shape become ASCII, what is not seen goes.
    Each character is folded by itself: `fold(a + b)` is `fold(a)` and `fold(b)` joined. The places
    have one entry more, `len(text)`; None says that no character went.
    """
    if text.isascii():
        return text, None
    places: list[int] | None = None
    gone = list(_unseen.finditer(text))
    if gone:
        places, done = [], 0
        for found in gone:
            places += range(done, found.start())
            done = found.end()
        places += range(done, len(text) + 1)
        text = _unseen.sub("", text)
    return _form.sub(_plain, text), places


def _plain(found: re.Match[str]) -> str:
    return _FORMS[found[0]]
