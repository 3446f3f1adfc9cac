"""What counts as personal data or a secret: per kind a pattern and a check of what it found.

The pattern is RE2 (linear time) and casts wide; the check throws out what only looks alike. A kind
is one row of `DETECTORS`.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from tokenomics.policy.regexes import Pattern, compile_pattern

_NOT_DIGITS = re.compile(r"\D")
_CARD_LENGTHS = range(13, 20)  # ISO/IEC 7812-1


def _digits(text: str) -> str:
    return _NOT_DIGITS.sub("", text)


def luhn(digits: str) -> bool:
    """The checksum of card numbers (ISO/IEC 7812-1 annex B)."""
    total = 0
    for i, char in enumerate(reversed(digits)):
        value = int(char)
        if i % 2:
            value = value * 2 - 9 if value > 4 else value * 2
        total += value
    return total % 10 == 0


def _is_card(text: str) -> bool:
    digits = _digits(text)
    return len(digits) in _CARD_LENGTHS and len(set(digits)) > 1 and luhn(digits)


def _is_ssn(text: str) -> bool:
    """Areas 000, 666 and 900-999, group 00 and serial 0000 are never issued (SSA, 2011)."""
    digits = _digits(text)
    area, group, serial = digits[:3], digits[3:5], digits[5:]
    return area not in ("000", "666") and area < "900" and group != "00" and serial != "0000"


def _is_phone(text: str) -> bool:
    digits = _digits(text)
    if text.startswith("+"):
        return 8 <= len(digits) <= 15  # E.164
    return len(digits) == 10 or (len(digits) == 11 and digits[0] == "1")


def _is_ip(text: str) -> bool:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return False
    return not address.is_unspecified


def _is_iban(text: str) -> bool:
    """Mod 97 of ISO 13616."""
    compact = text.replace(" ", "").upper()
    if not 15 <= len(compact) <= 34:
        return False
    return int("".join(str(int(c, 36)) for c in compact[4:] + compact[:4])) % 97 == 1


def _always(_text: str) -> bool:
    return True


@dataclass(frozen=True, slots=True)
class Detector:
    """One kind: what the pattern finds and `valid` accepts."""

    kind: str
    pattern: str
    valid: Callable[[str], bool] = _always

    def compiled(self) -> Pattern:
        """The pattern, compiled once per process."""
        return compile_pattern(self.pattern)

    def spans(self, text: str) -> Iterator[tuple[int, int]]:
        """Where `text` holds this kind."""
        for start, end in self.compiled().spans(text):
            if self.valid(text[start:end]):
                yield start, end


# Sources of the key formats: the providers' own documentation and GitHub's list of secret scanning
# patterns (https://docs.github.com/code-security/secret-scanning).
DETECTORS: dict[str, Detector] = {
    d.kind: d
    for d in (
        Detector("ssn", r"\b\d{3}[- ]\d{2}[- ]\d{4}\b", _is_ssn),
        Detector(
            "credit_card",
            # The usual groups first: the wide form would swallow an expiry date that follows.
            r"\b[2-5]\d{3}(?:[ .-]?\d{4}){3}\b|\b3[47]\d{2}[ .-]?\d{6}[ .-]?\d{5}\b"
            r"|\b\d(?:[ .-]?\d){12,18}\b",
            _is_card,
        ),
        Detector(
            "email",
            r"(?i)\b[a-z0-9][a-z0-9._%+'-]{0,63}@(?:[a-z0-9](?:[a-z0-9-]{0,62})\.)+[a-z]{2,24}\b",
        ),
        Detector(
            "phone",
            r"\+\d(?:[ .()-]{0,2}\d){7,14}\b"
            r"|(?:\b1[ .-]?)?(?:\([2-9]\d{2}\) ?|\b[2-9]\d{2}[ .-])[2-9]\d{2}[ .-]\d{4}\b",
            _is_phone,
        ),
        Detector(
            "ip_address",
            r"\b(?:\d{1,3}\.){3}\d{1,3}\b"
            # No letter may stand before or behind: `std::cout` holds no address.
            r"|(?i)(?:\b[0-9a-f]{1,4}:|\B:)(?::?[0-9a-f]{1,4}:?){1,7}(?:(?:\.\d{1,3}){3})?\b",
            _is_ip,
        ),
        Detector("aws_key", r"\b(?:AKIA|ASIA|AROA|AIDA|AGPA|ANPA|ABIA|ACCA)[A-Z2-7]{16}\b"),
        Detector(
            "api_key",
            r"\bsk-(?:ant-|proj-|svcacct-|admin-|or-v1-)?[A-Za-z0-9_-]{20,}"
            r"|\b(?:gsk_|xai-|r8_|hf_|pplx-|nvapi-)[A-Za-z0-9_-]{20,}"
            r"|\bAIza[A-Za-z0-9_-]{35}"
            r"|\b(?:sk|rk|pk)_(?:live|test)_[A-Za-z0-9]{16,}"
            r"|\bxox[abeoprs]-[A-Za-z0-9-]{10,}"
            r"|\btkn_[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"
            r"|(?i)\bapi[_-]?key[\"']?\s*[:=]\s*[\"']?[a-z0-9_-]{16,}",
        ),
        Detector("jwt", r"\beyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}"),
        Detector(
            "private_key",
            r"-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY(?: BLOCK)?-----"
            r"(?s:.*?)(?:-----END (?:[A-Z0-9]+ )*PRIVATE KEY(?: BLOCK)?-----|\z)",
        ),
        Detector(
            "connection_string",
            r"(?i)\b(?:postgres(?:ql)?|mysql|mariadb|mongodb(?:\+srv)?|rediss?|amqps?|mssql)"
            r"(?:\+[a-z0-9]+)?://[^\s\"'<>]*:[^\s\"'<>]*@[^\s\"'<>]+",
        ),
        Detector("github_token", r"\b(?:gh[pousr]_[A-Za-z0-9]{36,}|github_pat_[A-Za-z0-9_]{50,})"),
        Detector("iban", r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?\b", _is_iban),
    )
}
KINDS = tuple(DETECTORS)
