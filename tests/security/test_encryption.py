"""Encryption at rest."""

from base64 import b64encode, urlsafe_b64encode
from collections.abc import Callable
from hashlib import sha256
from uuid import UUID

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from service.security.encryption import HEADER_BYTES, Place, SecretCipher, SecretUnreadable
from settings.values import parse_keys

OLD, NEW = bytes(range(32)), bytes(range(32, 64))
PLACE = Place("signing_keys.private_key", UUID("01890a5d-ac96-774b-bcce-b302099a8057"))
SECRET = b"of the service"


def test_decrypt_what_was_encrypted_returns_the_secret() -> None:
    cipher = SecretCipher([OLD])
    assert cipher.decrypt(cipher.encrypt(SECRET, PLACE), PLACE) == SECRET


def test_decrypt_a_stored_ciphertext_of_an_earlier_release_returns_the_secret() -> None:
    """The format that is in databases: header, nonce, AES-256-GCM over header, purpose, NUL and id."""
    key_id = sha256(b"rollcall key id\0" + OLD).digest()[:8]
    header, nonce = b"\x01" + key_id, bytes(12)
    label = b"signing_keys.private_key\0" + PLACE.row_id.bytes
    stored = header + nonce + AESGCM(OLD).encrypt(nonce, SECRET, header + label)
    assert SecretCipher([NEW, OLD]).decrypt(stored, PLACE) == SECRET


def test_encrypt_twice_gives_two_ciphertexts_without_the_secret() -> None:
    cipher = SecretCipher([OLD])
    first, second = (cipher.encrypt(SECRET, PLACE) for _ in range(2))
    assert first != second
    assert SECRET not in first + second
    assert first[:HEADER_BYTES] == second[:HEADER_BYTES] == cipher.header


def test_encrypt_with_two_keys_uses_the_first_and_decrypts_with_both() -> None:
    old, both = SecretCipher([OLD]), SecretCipher([NEW, OLD])
    assert both.decrypt(old.encrypt(SECRET, PLACE), PLACE) == SECRET
    assert SecretCipher([NEW]).decrypt(both.encrypt(SECRET, PLACE), PLACE) == SECRET
    assert both.header == SecretCipher([NEW]).header != old.header


@pytest.mark.parametrize(
    "place",
    [Place("factors.secret", PLACE.row_id), Place(PLACE.purpose, UUID(int=1))],
    ids=["another column", "another row"],
)
def test_decrypt_a_ciphertext_that_was_moved_is_rejected(place: Place) -> None:
    cipher = SecretCipher([OLD])
    with pytest.raises(SecretUnreadable):
        cipher.decrypt(cipher.encrypt(SECRET, PLACE), place)


@pytest.mark.parametrize("position", [0, 1, HEADER_BYTES, HEADER_BYTES + 12, -1])
def test_decrypt_a_ciphertext_that_was_altered_is_rejected(position: int) -> None:
    cipher = SecretCipher([OLD])
    altered = bytearray(cipher.encrypt(SECRET, PLACE))
    altered[position] ^= 1
    with pytest.raises(SecretUnreadable):
        cipher.decrypt(bytes(altered), PLACE)


@pytest.mark.parametrize("length", [0, HEADER_BYTES, HEADER_BYTES + 12, HEADER_BYTES + 20])
def test_decrypt_a_ciphertext_that_was_cut_is_rejected(length: int) -> None:
    cipher = SecretCipher([OLD])
    with pytest.raises(SecretUnreadable):
        cipher.decrypt(cipher.encrypt(SECRET, PLACE)[:length], PLACE)


def test_decrypt_with_another_key_is_rejected() -> None:
    with pytest.raises(SecretUnreadable):
        SecretCipher([NEW]).decrypt(SecretCipher([OLD]).encrypt(SECRET, PLACE), PLACE)


def test_cipher_shows_no_key() -> None:
    shown = repr(vars(SecretCipher([OLD])))
    assert repr(OLD)[2:-1] not in shown
    assert OLD.hex() not in shown


@pytest.mark.parametrize("keys", [[], [bytes(16)], [OLD, bytes(31)]])
def test_cipher_of_no_or_short_keys_is_rejected(keys: list[bytes]) -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        SecretCipher(keys)


@pytest.mark.parametrize("encode", [b64encode, urlsafe_b64encode], ids=["base64", "base64url"])
def test_parse_keys_reads_both_alphabets_with_and_without_padding(encode: Callable[[bytes], bytes]) -> None:
    text = ", ".join([encode(b"\xff" * 32).decode(), encode(NEW).decode().rstrip("=")])
    assert parse_keys(text) == (b"\xff" * 32, NEW)


@pytest.mark.parametrize(
    "text",
    ["", ",", "x", "A" * 42, b64encode(bytes(16)).decode(), f"{b64encode(OLD).decode()},", "é" * 43],
)
def test_parse_keys_of_anything_else_is_rejected_without_a_word(text: str) -> None:
    with pytest.raises(ValueError, match=r"^$"):
        parse_keys(text)


def test_parse_keys_of_a_repeated_key_is_rejected() -> None:
    with pytest.raises(ValueError, match=r"^$"):
        parse_keys(",".join([b64encode(OLD).decode(), urlsafe_b64encode(OLD).decode()]))
