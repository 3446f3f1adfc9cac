"""Telephone numbers: North American ones, and international ones after a plus (E.164).

`00` does for the plus where a gap follows the country's code; without one it begins any number.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from tokenomics.policy.detectors.model import (
    AFTER,
    BEFORE,
    ENDS,
    STARTS,
    Detector,
    merged,
    sifted,
)

# Country codes by how many digits may follow: ITU-T E.164 with the national numbering plans,
# https://www.itu.int/oth/T0202.aspx?parent=T0202
_PLANS = {
    (4, 13): "43",
    (5, 8): "247 290 500 676 677 678 682 683 686 688 690",
    (5, 10): "27 82 358 685",
    (5, 15): "49",
    (6, 9): "40 252 298 299 352 359 376 421 508 597 672 681 687",
    (6, 12): "39 53 62 63 86 95 98 243 353 381 880 882",
    (7, 9): """46 48 65 220 230 231 238 239 241 246 248 254 265 267 269 291 297 354 372 423 501 507
            592 595 599 670 673 674 675 679 680 691 692 960 961 967 975""",
    (8, 8): """45 47 216 222 223 226 227 228 232 235 236 253 257 266 268 350 356 357 370 371 373 374
            386 389 502 503 504 505 506 509 591 598 689 800 808 852 853 965 968 973 974 993""",
    (8, 12): """20 32 36 51 57 60 64 66 213 224 250 258 264 355 377 378 383 385 387 593 850 855 856
            886 962 963 964 970 971 972 976 977""",
    (9, 9): """34 56 61 93 94 211 212 218 221 233 237 240 242 244 245 249 251 255 256 260 261 262
            263 351 375 380 420 590 594 596 966 979 992 994 995 996 998""",
    (9, 11): "31 33 41 44 54 55 81 84 92 870 878 881 888",
    (10, 10): "1 7 30 52 58 90 91 225 229 234",
}
_LENGTHS = {code: lengths for lengths, codes in _PLANS.items() for code in codes.split()}

_PLUS = re.compile(rf"{STARTS}(?:\+|00(?=[1-9][0-9]{{0,2}}[^0-9]))")
_GROUPS = re.compile(r"[0-9]+")
_TRUNK = re.compile(r"\(0\)")  # dialled only inside the country
_LETTER = re.compile(r"[A-WYZa-wyz]")
_LONGEST = 15  # E.164


def _is_nanp(text: str) -> bool:
    """Area and exchange begin with 2-9 and are no service code (N11).

    https://www.nanpa.com/numbering/area-codes. Area 555 is nobody's; it is how a number is made up,
    and then the exchange is, too. Around an area in parentheses nothing else than a number stands.
    """
    digits = "".join(_GROUPS.findall(text))[-10:]
    area, exchange = digits[:3], digits[3:6]
    if area == "555" or "(" in text:
        return True
    return min(area[0], exchange[0]) > "1" and "11" not in (area[1:], exchange[1:])


_nanp = sifted(
    rf"{STARTS}(?<![0-9][.-])(?:1[ .-]?)?(?:\([0-9]{{3}}\) ?|[0-9]{{3}}[ .-])"
    rf"[0-9]{{3}}[ .-][0-9]{{4}}(?:{ENDS}|(?=x))",
    _is_nanp,
)


def _fits(digits: str) -> bool:
    """Whether a country could have given out this number."""
    code = next((digits[:n] for n in (1, 2, 3) if digits[:n] in _LENGTHS), None)
    if code is None:
        return False
    least, most = _LENGTHS[code]
    return least <= len(digits) - len(code) <= most and (code != "1" or _is_nanp(digits))


def _international(text: str) -> Iterator[tuple[int, int]]:
    """The number after a plus: as many whole groups as its country allows."""
    for plus in _PLUS.finditer(text):
        trunk = _TRUNK.search(text, plus.end())
        digits, end = "", None
        for group in _GROUPS.finditer(text, plus.end()):
            if trunk and trunk.start() < group.start() < trunk.end():
                continue
            digits += group[0]
            if len(digits) > _LONGEST:
                break
            if _fits(digits):
                end = group.end()
        # Letters that follow are those of an extension, or it is no number.
        if end is not None and not _LETTER.match(text, end):
            yield plus.start(), end


# How a country writes its own numbers differs too much to tell them from others; but where the
# text calls it a telephone's, 7 to 15 digits are one.
_NAME = (
    r"(?i:\b(?:phone|telephone|tel|mobile|cell|fax|whatsapp)(?:[ _-]?(?:number|phone|no|nr))?)"
    r"[a-z :=.#\"'_\\-]{0,16}"
)
_NATIONAL = r"\(?[0-9](?:[ .()/-]{0,2}[0-9]){6,14}"


def _is_national(text: str) -> bool:
    return not _DATE.match(text)


_DATE = re.compile(r"[12][0-9]{3}([/.-])[0-9]{1,2}\1[0-9]{1,2}(?![0-9])")
_named = sifted(rf"{_NAME}(?<![0-9])({_NATIONAL})(?:{ENDS}|(?=x))", _is_national)


def _phones(text: str) -> Iterator[tuple[int, int]]:
    yield from merged([*_international(text), *_nanp(text), *_named(text)])


PHONE = Detector(
    "phone",
    rf"{BEFORE}(?:\+[1-9]|00[1-9]\d{{0,2}}[ .()/-])(?:[ .()/-]{{0,3}}\d){{5,60}}{AFTER}"
    rf"|(?:\d[.-]|{BEFORE})(?:1[ .-]?)?(?:\(\d{{3}}\) ?|\d{{3}}[ .-])\d{{3}}[ .-]\d{{4}}{AFTER}"
    rf"|{_NAME}{_NATIONAL}{AFTER}",
    _phones,
    longest=250,
)
