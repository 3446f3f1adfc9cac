"""Numbers with rules of their own: US social security, payment cards, bank accounts."""

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

_NOT_DIGITS = re.compile(r"[^0-9]")


def digits_of(text: str) -> str:
    return _NOT_DIGITS.sub("", text)


# --- US social security numbers


def _is_ssn(text: str) -> bool:
    """Areas 000, 666 and 900-999, group 00 and serial 0000 are never issued.

    https://www.ssa.gov/employer/randomization.html
    """
    digits = digits_of(text)
    area, group, serial = digits[:3], digits[3:5], digits[5:]
    return area not in ("000", "666") and area < "900" and group != "00" and serial != "0000"


# Nine digits without separators are a social security number only where the text says so.
_SSN_LABEL = r"(?i:ssn|social security)[ A-Za-z.:#=_\"'-]{0,24}?"

SSN = Detector(
    "ssn",
    rf"{BEFORE}\d{{3}}(?:-\d\d-| \d\d )\d{{4}}{AFTER}|{_SSN_LABEL}\d{{9}}{AFTER}",
    sifted(
        rf"{STARTS}\d{{3}}(?:-\d\d-| \d\d )\d{{4}}{ENDS}|{_SSN_LABEL}{STARTS}(\d{{9}}){ENDS}",
        _is_ssn,
    ),
    longest=50,
)

# --- Payment cards

# First digits, from and to, and the lengths that are issued under them: ISO/IEC 7812-1 and
# https://en.wikipedia.org/wiki/Payment_card_number#Issuer_identification_number_(IIN)
_RANGES: tuple[tuple[str, str, tuple[int, ...]], ...] = (
    ("1", "1", (15,)),  # UATP
    ("1800", "1800", (15,)),  # JCB, old
    ("2131", "2131", (15,)),
    ("2200", "2204", (16, 17, 18, 19)),  # Mir
    ("2221", "2720", (16,)),  # Mastercard
    ("300", "305", (14, 16, 17, 18, 19)),  # Diners Club
    ("3095", "3095", (14, 16, 17, 18, 19)),
    ("34", "34", (15,)),  # American Express
    ("37", "37", (15,)),
    ("35", "35", (16, 17, 18, 19)),  # JCB has 3528-3589; makers of test cards use all
    ("36", "36", (14, 15, 16, 17, 18, 19)),
    ("38", "39", (14, 16, 17, 18, 19)),
    ("4", "4", (13, 16, 18, 19)),  # Visa
    ("50", "50", (12, 13, 14, 15, 16, 17, 18, 19)),  # Maestro, RuPay, Verve, Elo
    ("51", "55", (16,)),  # Mastercard
    ("56", "58", (12, 13, 14, 15, 16, 17, 18, 19)),  # Maestro
    ("60", "60", (16, 17, 18, 19)),  # Discover, RuPay, Hipercard
    ("6304", "6304", (12, 13, 14, 15, 16, 17, 18, 19)),
    ("6390", "6390", (12, 13, 14, 15, 16, 17, 18, 19)),
    ("62", "65", (16, 17, 18, 19)),  # UnionPay, Discover, Elo
    ("67", "67", (12, 13, 14, 15, 16, 17, 18, 19)),  # Maestro
    ("81", "82", (16, 17, 18, 19)),  # UnionPay, RuPay
    ("9792", "9792", (16,)),  # Troy
)
_FIRST = 4


def _firsts(length: int) -> frozenset[str]:
    """The first digits of all numbers of a length that an issuer may give out."""
    return frozenset(
        f"{number:0{_FIRST}}"
        for low, high, lengths in _RANGES
        if length in lengths
        for number in range(int(low.ljust(_FIRST, "0")), int(high.ljust(_FIRST, "9")) + 1)
    )


# Sets, for a table of numbers holds thousands that are as long as a card's.
_BEGINS = {length: _firsts(length) for length in range(12, 20)}
_GROUPED_BEGINS = frozenset().union(*_BEGINS.values())
_LONGEST_CARD = 19


def luhn(digits: str) -> bool:
    """The checksum of card numbers (ISO/IEC 7812-1 annex B)."""
    data = digits.encode()
    odd, even = data[-1::-2], data[-2::-2].translate(_DOUBLED)
    return (sum(odd) + sum(even) - ord("0") * len(digits)) % 10 == 0


_DOUBLED = bytes.maketrans(b"0123456789", b"0246813579")


def is_card(digits: str) -> bool:
    """Whether an issuer gives out such a number, and its checksum is right."""
    return digits[:_FIRST] in _BEGINS.get(len(digits), ()) and luhn(digits)


# Digits behind a point are a fraction.
_CONTIGUOUS = re.compile(rf"{STARTS}(?<![0-9]\.)[0-9]{{12,{_LONGEST_CARD}}}{ENDS}")
# As cards print them, all gaps alike: 4-4-4-4, perhaps with 3 more; 4-6-5, 4-6-4. Other digits may
# be glued on before.
_GROUPED = re.compile(
    r"(?:(?<![A-Za-z])|(?<=\\[nrtbf]))[0-9]{4}([ -]{1,3}|\.)"
    rf"(?:[0-9]{{4}}\1[0-9]{{4}}\1[0-9]{{4}}|[0-9]{{6}}\1[0-9]{{4,5}}){ENDS}(\1[0-9]{{3}}{ENDS})?"
)
_GAPS = re.compile(r"[^0-9]+")
_WHOLE = re.compile(r"(?:\\[nrtbf])?([0-9](?:[ -]{0,3}[0-9]){11,18})")


def _cards_in(text: str) -> Iterator[tuple[int, int]]:
    """Cards in a run of digits and gaps: as one group, in the usual groups, or as the whole run.

    Only the whole run may be grouped in any way (`4-111-1111-1111-1111`): some window of any table
    of numbers would pass the checksum.
    """
    for found in _CONTIGUOUS.finditer(text):
        if is_card(found[0]):
            yield found.span()
    place = 0
    while grouped := _GROUPED.search(text, place):
        place = grouped.start() + 1
        if text[grouped.start() : grouped.start() + _FIRST] not in _GROUPED_BEGINS:
            continue
        ends = (grouped.end(), grouped.start(2)) if grouped[2] else (grouped.end(),)
        for end in ends:
            if is_card(text[grouped.start() : end].replace(grouped[1], "")):
                yield grouped.start(), end
    whole = _WHOLE.fullmatch(text)
    if whole and len(set(_GAPS.findall(whole[1]))) == 1 and is_card(digits_of(whole[1])):
        yield whole.span(1)


def _cards(text: str) -> Iterator[tuple[int, int]]:
    if text.isdigit():  # nearly always: an id, a time
        if len(text) <= _LONGEST_CARD and is_card(text):
            yield 0, len(text)
        return
    yield from merged(_cards_in(text))


CREDIT_CARD = Detector(
    "credit_card",
    # A table of numbers is one run, cut into candidates: where it is cut a card can be missed, so
    # they are long. But a text that streams is held back while a candidate grows. Points stand in
    # versions and fractions too often to let every one be a gap.
    r"(?:\\[nrtbf]|\d\.|[0-9A-Za-z])?"
    rf"(?:\d(?:[ -]{{0,3}}\d){{11,250}}|\d{{4,40}}(?:\.\d{{3,6}}){{2,60}}){AFTER}",
    _cards,
    longest=2 + 1 + 250 * 4 + 1,
)

# --- Bank accounts

# Characters of an account per country: the registry of ISO 13616,
# https://www.swift.com/standards/data-standards/iban-international-bank-account-number
_IBAN_LENGTHS = {
    word[:2]: int(word[2:])
    for word in """AD24 AE23 AL28 AT20 AZ28 BA20 BE16 BG22 BH22 BI27 BR29 BY28 CH21 CR22 CY28 CZ24
    DE22 DJ27 DK18 DO28 EE20 EG29 ES24 FI18 FK18 FO18 FR27 GB22 GE22 GI23 GL18 GR27 GT28 HN28 HR21
    HU28 IE22 IL23 IQ23 IS26 IT27 JO30 KW30 KZ20 LB28 LC32 LI21 LT20 LU20 LV21 LY25 MC27 MD24 ME22
    MK19 MN20 MR27 MT31 MU30 NI28 NL18 NO15 OM23 PK24 PL28 PS29 PT25 QA29 RO24 RS22 RU33 SA24 SC31
    SD18 SE24 SI19 SK24 SM27 SO23 ST25 SV28 TL23 TN24 TR26 UA29 VA22 VG24 XK20 YE30""".split()
}
_COUNTRY = "|".join(_IBAN_LENGTHS)
_IBAN_START = re.compile(rf"(?i){STARTS}(?:{_COUNTRY})[0-9]{{2}}", re.ASCII)
_IBAN_WHOLE = {
    length: re.compile(rf"(?i)[A-Z0-9](?:[ -]?[A-Z0-9]){{{length - 1}}}{ENDS}")
    for length in set(_IBAN_LENGTHS.values())
}


def _is_iban(text: str) -> bool:
    """Mod 97 of ISO 13616."""
    compact = text.replace(" ", "").replace("-", "").upper()
    return int("".join(str(int(c, 36)) for c in compact[4:] + compact[:4])) % 97 == 1


def _ibans(text: str) -> Iterator[tuple[int, int]]:
    done = 0
    for start in _IBAN_START.finditer(text):
        length = _IBAN_LENGTHS[start[0][:2].upper()]
        whole = _IBAN_WHOLE[length].match(text, start.start())
        if whole and whole.start() >= done and _is_iban(whole[0]):
            yield whole.span()
            done = whole.end()


IBAN = Detector(
    # Up to 60 more characters: beside it may stand what only begins like one.
    "iban",
    rf"(?i){BEFORE}(?:{_COUNTRY})\d\d(?:[ -]?[A-Z0-9]){{11,60}}",
    _ibans,
    longest=126,
)
