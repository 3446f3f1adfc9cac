"""Encryption of policies at rest: AES-256-GCM under a key derived from the operator's secret.

The key is HKDF-SHA256 (RFC 5869) of the secret with the file's salt; each policy has a nonce of its
own, and the token's hash and revision as associated data, so that no ciphertext can be moved to
another token or time. `cryptography` is imported when a sealed file is opened.
"""

from __future__ import annotations

import hmac
import os
from typing import TYPE_CHECKING

from tokenomics.errors import Invalid
from tokenomics.store.journal import Header
from tokenomics.tokens import Secret

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

SALT_BYTES = 16
NONCE_BYTES = 12
_CHECK_TEXT = b"tokenomics key check"


class Seal:
    """Seals and opens the policies of one file."""

    def __init__(self, secret: Secret, salt: bytes) -> None:
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM
        from cryptography.hazmat.primitives.kdf.hkdf import HKDF

        kdf = HKDF(hashes.SHA256(), 64, salt, b"tokenomics policies")
        derived = kdf.derive(secret.reveal().encode())
        self._cipher: AESGCM = AESGCM(derived[:32])
        self.check = hmac.digest(derived[32:], _CHECK_TEXT, "sha256")[:16]

    def close(self, hash_: str, revision: int, text: str) -> bytes:
        """The sealed form of a policy."""
        nonce = os.urandom(NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, text.encode(), _bound(hash_, revision))

    def open(self, hash_: str, revision: int, sealed: bytes) -> str:
        """The policy. Raises Invalid if the bytes were changed or moved."""
        from cryptography.exceptions import InvalidTag

        try:
            text = self._cipher.decrypt(
                sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], _bound(hash_, revision)
            )
        except (InvalidTag, ValueError):  # ValueError: too short to hold a nonce
            raise Invalid(f"the sealed policy of token {hash_[:16]} does not open") from None
        return text.decode()


def _bound(hash_: str, revision: int) -> bytes:
    return f"{hash_}/{revision}".encode()


def new_header(id_: str, secret: Secret) -> tuple[Header, Seal | None]:
    """The header and seal of a new file; an empty secret leaves it in clear."""
    if not secret:
        return Header(id_, 1), None
    salt = os.urandom(SALT_BYTES)
    seal = Seal(secret, salt)
    return Header(id_, 1, salt, seal.check), seal


def seal_for(header: Header, secret: Secret, file: str, variable: str) -> Seal | None:
    """The seal that opens a file. Raises Invalid if the secret is missing, wrong, or not wanted."""
    if not header.key_check:
        if secret:
            raise Invalid(
                f"{file} is not encrypted, but {variable} is set: unset it to use this database,"
                " or point storage.db_path at a new one"
            )
        return None
    if not secret:
        raise Invalid(f"{file} is encrypted: set {variable} to the key it was made with")
    seal = Seal(secret, header.salt)
    if not hmac.compare_digest(seal.check, header.key_check):
        raise Invalid(f"{file} was encrypted with another key than {variable} holds")
    return seal
