"""Sealed policies: what opens, and everything that must not."""

from __future__ import annotations

import pytest

from tests.store.stores import hash_of
from tokenomics.errors import Invalid
from tokenomics.store.journal import Header
from tokenomics.store.seal import NONCE_BYTES, Seal, new_header, seal_for
from tokenomics.tokens import Secret

SECRET, SALT = Secret("correct horse"), bytes(range(16))
POLICY = '{"base_key_env":"OPENAI_KEY","metadata":{"team":"Bücher"}}'


def test_a_policy_opens_where_it_was_sealed() -> None:
    seal = Seal(SECRET, SALT)
    sealed = seal.close(hash_of(1), 7, POLICY)
    assert b"OPENAI" not in sealed
    assert Seal(SECRET, SALT).open(hash_of(1), 7, sealed) == POLICY


def test_files_of_every_version_before_open() -> None:
    """RFC 5869 worked out by hand with HMAC, then AES-GCM: the format does not move."""
    seal = Seal(SECRET, SALT)
    assert seal.check.hex() == "e6026cfe014310a493ffa266fafb5b70"
    sealed = bytes.fromhex(
        "01010101010101010101010197337894e602807bf3c32dfc3243fbdc5496a907eb7945a73942594fba6bd61f"
    )
    assert seal.open(hash_of(1), 7, sealed) == '{"max_tokens":5}'


def test_the_same_policy_never_looks_the_same() -> None:
    seal = Seal(SECRET, SALT)
    sealed = {seal.close(hash_of(1), 7, POLICY)[:NONCE_BYTES] for _ in range(50)}
    assert len(sealed) == 50


@pytest.mark.parametrize(
    ("secret", "salt", "number", "revision"),
    [
        (SECRET, SALT, 2, 7),
        (SECRET, SALT, 1, 8),
        (SECRET, b"another salt....", 1, 7),
        (Secret("correct horses"), SALT, 1, 7),
    ],
    ids=["another token", "another revision", "another file", "another key"],
)
def test_a_moved_policy_does_not_open(
    secret: Secret, salt: bytes, number: int, revision: int
) -> None:
    sealed = Seal(SECRET, SALT).close(hash_of(1), 7, POLICY)
    with pytest.raises(Invalid, match=f"{hash_of(number)[:16]} does not open"):
        Seal(secret, salt).open(hash_of(number), revision, sealed)


def test_a_changed_policy_does_not_open() -> None:
    seal = Seal(SECRET, SALT)
    sealed = seal.close(hash_of(1), 7, "{}")
    for n in range(len(sealed)):
        changed = sealed[:n] + bytes([sealed[n] ^ 1]) + sealed[n + 1 :]
        for wrong in (changed, sealed[:n], sealed[n + 1 :]):
            with pytest.raises(Invalid, match="does not open"):
                seal.open(hash_of(1), 7, wrong)


def test_a_new_file_has_a_salt_of_its_own() -> None:
    (one, _), (two, _) = new_header("id", SECRET), new_header("id", SECRET)
    assert one.salt != two.salt
    assert one.key_check != two.key_check
    assert new_header("id", Secret()) == (Header("id", 1), None)


SEALED, PLAIN = new_header("id", SECRET)[0], Header("id", 1)


@pytest.mark.parametrize(
    ("header", "secret", "problem"),
    [
        (SEALED, Secret(), "a.db is encrypted: set A_KEY to the key"),
        (SEALED, Secret("wrong"), "a.db was encrypted with another key than A_KEY holds"),
        (PLAIN, SECRET, "a.db is not encrypted, but A_KEY is set"),
    ],
    ids=["missing", "wrong", "not wanted"],
)
def test_a_key_that_does_not_fit_is_named(header: Header, secret: Secret, problem: str) -> None:
    with pytest.raises(Invalid, match=problem) as caught:
        seal_for(header, secret, "a.db", "A_KEY")
    assert not secret or secret.reveal() not in str(caught.value)


def test_a_key_that_fits() -> None:
    assert seal_for(PLAIN, Secret(), "a.db", "A_KEY") is None
    seal = seal_for(SEALED, SECRET, "a.db", "A_KEY")
    assert seal is not None
    assert seal.check == SEALED.key_check
