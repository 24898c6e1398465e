"""Encryption at rest: AES-256-GCM under keys that the operator holds, apart from the database."""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Final
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

KEY_BYTES: Final = 32
HEADER_BYTES: Final = 9
"""A format byte and the id of the key; every ciphertext of a key begins with the same header."""

_FORMAT: Final = b"\x01"
_NONCE_BYTES: Final = 12
_KEY_ID_BYTES: Final = HEADER_BYTES - len(_FORMAT)


class SecretUnreadable(Exception):
    """A stored secret was encrypted under a key that is not configured, or was altered or moved."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a secret is stored. A ciphertext that is moved to another place cannot be decrypted."""

    purpose: str
    """Table and column, such as `signing_keys.private_key`."""
    row_id: UUID

    @property
    def associated_data(self) -> bytes:
        """The associated data of the encryption. Source: RFC 5116 2.1."""
        return self.purpose.encode("ascii") + b"\0" + self.row_id.bytes


class SecretCipher:
    """Encrypts under the first key, and decrypts under every one.

    A ciphertext is a header, a nonce, and the encrypted secret with its tag. Header and place are
    authenticated. Nonces are random: a key is good for 2^32 secrets.

    Source: NIST SP 800-38D 8.2.2, 8.3; OWASP ASVS 5.0 11.3.2, 11.3.3, 13.3.1.
    """

    def __init__(self, keys: Sequence[bytes]) -> None:
        """Take keys of 32 bytes, the newest first.

        Raises:
            ValueError: there is none, or one has another length.
        """
        if not keys or any(len(key) != KEY_BYTES for key in keys):
            raise ValueError(f"keys must be {KEY_BYTES} bytes")
        self._by_header = {_header_of(key): AESGCM(key) for key in keys}
        self.header = _header_of(keys[0])
        """The header of secrets under the newest key; one with another header needs `secrets rotate`."""

    @property
    def headers(self) -> frozenset[bytes]:
        """The headers of the secrets that it decrypts."""
        return frozenset(self._by_header)

    def encrypt(self, secret: bytes, place: Place) -> bytes:
        """Return the ciphertext of a secret for this place."""
        header, nonce = self.header, secrets.token_bytes(_NONCE_BYTES)
        cipher = self._by_header[header]
        return header + nonce + cipher.encrypt(nonce, secret, header + place.associated_data)

    def decrypt(self, ciphertext: bytes, place: Place) -> bytes:
        """Return the secret.

        Raises:
            SecretUnreadable: its key is not configured, or it is not the ciphertext written at this place.
        """
        header, rest = ciphertext[:HEADER_BYTES], ciphertext[HEADER_BYTES:]
        cipher = self._by_header.get(header)
        if cipher is None or len(rest) <= _NONCE_BYTES:
            raise SecretUnreadable
        try:
            return cipher.decrypt(rest[:_NONCE_BYTES], rest[_NONCE_BYTES:], header + place.associated_data)
        except InvalidTag:
            raise SecretUnreadable from None


def _header_of(key: bytes) -> bytes:
    return _FORMAT + sha256(b"rollcall key id\0" + key).digest()[:_KEY_ID_BYTES]
