"""Wrapper tokens and the secrets around them."""

from __future__ import annotations

import hashlib
import hmac
import re
import uuid

PREFIX = "tkn_"
HASH_DIGITS = 64  # hex digits of a token hash
EVENT_HASH_DIGITS = 16  # how much of a hash goes into events, logs and memory
MIN_PREFIX_DIGITS = 6  # the shortest hash prefix a command takes

_HEX = re.compile(r"[0-9a-f]+")


class Secret:
    """A value that does not print: `str`, `repr` and formats are masked. Empty is falsy."""

    __slots__ = ("_value",)

    def __init__(self, value: str = "") -> None:
        self._value = value

    def reveal(self) -> str:
        """The value itself; call it only where it goes onto the wire or into a digest."""
        return self._value

    def __bool__(self) -> bool:
        return bool(self._value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and same(self._value, other._value)

    def __hash__(self) -> int:
        return hash(self._value)

    def __repr__(self) -> str:
        return "***" if self._value else "''"


def make_token(random_id: uuid.UUID) -> str:
    """The wrapper token for a random UUID (version 4)."""
    return PREFIX + str(random_id)


def hash_token(key: bytes, token: str) -> str:
    """Hex HMAC-SHA256 of a token: what the database is keyed by, as in the Go original."""
    return hmac.digest(key, token.encode("utf-8", "surrogatepass"), "sha256").hex()


def key_fingerprint(key: bytes) -> str:
    """16 hex digits that tell two hash keys apart and say nothing about either."""
    return hmac.digest(key, b"tokenomics hash key fingerprint", hashlib.sha256).hex()[:16]


def same(a: str, b: str) -> bool:
    """Compare two secrets in constant time."""
    return hmac.compare_digest(
        a.encode("utf-8", "surrogatepass"), b.encode("utf-8", "surrogatepass")
    )


def is_hash(text: str) -> bool:
    """Whether `text` is a whole token hash, or the name of an account, which has the same form."""
    return len(text) == HASH_DIGITS and bool(_HEX.fullmatch(text))


def is_hash_prefix(text: str) -> bool:
    """Whether `text` may stand for a token hash: hex, at least 6 digits, at most 64."""
    return MIN_PREFIX_DIGITS <= len(text) <= HASH_DIGITS and bool(_HEX.fullmatch(text))
