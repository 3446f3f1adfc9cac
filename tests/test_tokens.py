"""Tokens, their hashes, and secrets that do not print."""

from __future__ import annotations

import hashlib
import hmac
import uuid
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenomics.tokens import (
    Secret,
    hash_token,
    is_hash_prefix,
    key_fingerprint,
    make_token,
    same,
)

ANY_TEXT = st.text(st.characters(exclude_categories=()))  # lone surrogates too
VALUE = "hunter2"


@dataclass(frozen=True)
class Holder:
    secret: Secret


@pytest.mark.parametrize(
    "shown",
    [
        str(Secret(VALUE)),
        repr(Secret(VALUE)),
        f"{Secret(VALUE)}",
        "{}".format(Secret(VALUE)),  # noqa: UP032  one way to print it
        "%s" % Secret(VALUE),  # noqa: UP031  another
        str([Secret(VALUE)]),
        str(Holder(Secret(VALUE))),
    ],
    ids=["str", "repr", "f-string", "format", "percent", "list", "dataclass"],
)
def test_a_secret_does_not_print(shown: str) -> None:
    assert VALUE not in shown
    assert "***" in shown


def test_a_secret_is_revealed_on_request() -> None:
    assert Secret(VALUE).reveal() == VALUE


def test_an_empty_secret_is_false_and_shows_that_it_is_empty() -> None:
    assert not Secret()
    assert Secret(VALUE)
    assert repr(Secret()) == "''"


def test_secrets_are_equal_by_value_and_never_equal_to_text() -> None:
    assert Secret(VALUE) == Secret(VALUE)
    assert hash(Secret(VALUE)) == hash(Secret(VALUE))
    assert Secret(VALUE) != Secret("other")
    assert Secret(VALUE) != VALUE


def test_a_token_is_the_prefix_and_the_uuid() -> None:
    made = make_token(uuid.UUID("12345678-1234-4234-8234-123456789abc"))
    assert made == "tkn_12345678-1234-4234-8234-123456789abc"


def test_a_token_hash_is_hex_hmac_sha256() -> None:
    # RFC 4231, test case 2: databases of the original hold hashes made like this.
    assert hash_token(b"Jefe", "what do ya want for nothing?") == (
        "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
    )


@given(st.binary(min_size=1, max_size=80), ANY_TEXT)
def test_any_text_a_client_sends_has_a_hash_that_depends_on_the_key(key: bytes, token: str) -> None:
    hashed = hash_token(key, token)
    expected = hmac.new(key, token.encode("utf-8", "surrogatepass"), hashlib.sha256).hexdigest()
    assert hashed == expected
    assert is_hash_prefix(hashed)
    assert hashed != hash_token(key + b"x", token)


def test_a_fingerprint_tells_keys_apart_and_is_no_token_hash() -> None:
    assert key_fingerprint(b"one") == key_fingerprint(b"one")
    assert key_fingerprint(b"one") != key_fingerprint(b"two")
    assert len(key_fingerprint(b"one")) == 16


@given(ANY_TEXT, ANY_TEXT)
def test_same_is_equality(a: str, b: str) -> None:
    assert same(a, b) == (a == b)
    assert same(a, a)


@pytest.mark.parametrize(
    ("text", "may"),
    [
        ("abcdef", True),
        ("012345", True),
        ("a" * 64, True),
        ("abcde", False),
        ("a" * 65, False),
        ("ABCDEF", False),
        ("abcdeg", False),
        ("abcdef\n", False),
        ("٠١٢٣٤٥", False),
        ("", False),
    ],
)
def test_a_hash_prefix_is_6_to_64_hex_digits(text: str, may: bool) -> None:
    assert is_hash_prefix(text) is may
