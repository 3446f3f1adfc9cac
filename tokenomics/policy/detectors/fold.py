"""Other ways to write what is looked for: full-width forms, other digits, unseen characters."""

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
# Blocks with digits, dashes and spaces of other scripts. A test compares with all of Unicode.
_OTHERS = (
    *range(0xA0, 0x3100),
    *range(0xA620, 0xAC00),
    *range(0xFE30, 0xFF20),
    *range(0x104A0, 0x12000),
    *range(0x16A60, 0x16E00),
    *range(0x1CCF0, 0x1CD00),
    *range(0x1D7C0, 0x1D800),
    *range(0x1E140, 0x1E960),
    *range(0x1FBF0, 0x1FC00),
)
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
    others = "".join(map(chr, _OTHERS))
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
# Beyond the BMP a set is searched one by one, so that all from the first such digit on are tried.
_form = re.compile(
    "[" + "".join(re.escape(form) for form in _FORMS if form <= "\uffff") + "\U000104a0-\U0001fbff]"
)
_not_ascii = re.compile(r"[^\x00-\x7f]+")
_TABLE = str.maketrans(_FORMS)
_MANY = 32  # different forms: above that, one slow pass costs less than a quick one for each
_unseen = re.compile(f"[{_UNSEEN}]+")


def fold(text: str) -> tuple[str, Sequence[int] | None]:
    """`text` as detectors read it, and for each character of that where it stood in `text`.

    Digits, dashes, spaces and Latin letters of every shape become ASCII, what is not seen goes.
    Each character is folded by itself: `fold(a + b)` is `fold(a)` and `fold(b)` joined. The places
    have one entry more, `len(text)`; None says that no character went.
    """
    if text.isascii():
        return text, None
    others = "".join(_not_ascii.findall(text))  # the sets below are slow, and most of it is ASCII
    places: list[int] | None = None
    if _unseen.search(others):
        places, done = [], 0
        for found in _unseen.finditer(text):
            places += range(done, found.start())
            done = found.end()
        places += range(done, len(text) + 1)
        text = _unseen.sub("", text)
    forms = {form for form in _form.findall(others) if form in _FORMS}
    if len(forms) > _MANY:
        return text.translate(_TABLE), places
    for form in forms:
        text = text.replace(form, _FORMS[form])
    return text, places
