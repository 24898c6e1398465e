"""What is registered: keys that can log in, and nothing that the client merely claims."""

from hashlib import sha256
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from rollcall_testkit.cbor import encode
from rollcall_testkit.passkeys import SoftwarePasskey

from service.security.webauthn import PasskeyRejected
from tests.support.webauthn import (
    ATTESTED,
    CHALLENGE,
    EXTENDED,
    ORIGIN,
    PRESENT,
    RP,
    VERIFIED,
    Json,
    base64url,
    options,
    register,
    resigned,
)

EXTENSIONS = {"plain": encode({"credProtect": 2}), "with a tag": b"\xa1\x61x\xd9\x17\x70\x02"}
"""The library takes both; a tag could as well be one that grows when it is decoded."""


@pytest.mark.parametrize(
    ("claimed", "kept"),
    [
        (["usb", "nfc", "usb"], ("nfc", "usb")),
        (["of-the-future", "x" * 1000, "ble"], ("ble",)),
        ([], ()),
        (None, ()),
        ("usb", ()),
    ],
)
def test_register_keeps_the_transports_that_the_standard_names(claimed: object, kept: tuple[str]) -> None:
    made = SoftwarePasskey().create(options(), ORIGIN)
    made["response"]["transports"] = claimed
    assert RP.verify_registration(made, CHALLENGE).transports == kept


def with_key(key: Any, *, credential_id: bytes = b"id" * 8, extensions: bytes = b"") -> Json:
    """A registration of this COSE key."""
    made = SoftwarePasskey().create(options(), ORIGIN)
    flags = PRESENT | VERIFIED | ATTESTED | (EXTENDED if extensions else 0)
    head = sha256(b"example.org").digest() + bytes([flags]) + bytes(4)
    attested = bytes(16) + len(credential_id).to_bytes(2, "big") + credential_id + encode(key)
    attestation = encode({"fmt": "none", "attStmt": {}, "authData": head + attested + extensions})
    response = {**made["response"], "attestationObject": base64url(attestation)}
    return {**made, "id": base64url(credential_id), "rawId": base64url(credential_id), "response": response}


def ec_key(curve: ec.EllipticCurve, *, alg: int = -7, crv: int = 1, y_offset: int = 0) -> Json:
    numbers = ec.generate_private_key(curve).public_key().public_numbers()
    size = (curve.key_size + 7) // 8
    x, y = (number.to_bytes(size, "big") for number in (numbers.x, numbers.y ^ y_offset))
    return {1: 2, 3: alg, -1: crv, -2: x, -3: y}  # type: ignore[dict-item]


def rsa_key(bits: int) -> Json:
    return {1: 3, 3: -257, -1: b"\x80" + bytes(bits // 8 - 2) + b"\x01", -2: b"\x01\x00\x01"}  # type: ignore[dict-item]


@pytest.mark.parametrize("key", [ec_key(ec.SECP256R1()), rsa_key(2048)], ids=["P-256", "RSA 2048"])
def test_register_a_key_that_can_log_in_succeeds(key: Json) -> None:
    assert RP.verify_registration(with_key(key), CHALLENGE).credential_id == b"id" * 8


@pytest.mark.parametrize(
    "key",
    [
        ec_key(ec.SECP256R1(), y_offset=1),
        ec_key(ec.SECP384R1(), crv=2),
        ec_key(ec.SECP384R1(), crv=2, alg=-35),
        rsa_key(1024),
        {1: 1, 3: -8, -1: 6, -2: bytes(31)},
        {1: 1, 3: -8, -1: 7, -2: bytes(57)},
        {1: 4, 3: -7, -1: b"symmetric"},
        {},
    ],
    ids=[
        "off the curve",
        "ES256 on P-384",
        "ES384",
        "RSA 1024",
        "Ed25519 too short",
        "Ed448",
        "symmetric",
        "empty",
    ],
)
def test_register_a_key_that_cannot_log_in_or_is_weak_is_rejected(key: Json) -> None:
    with pytest.raises(PasskeyRejected):
        RP.verify_registration(with_key(key), CHALLENGE)


@pytest.mark.parametrize(("length", "is_accepted"), [(0, False), (1, True), (1023, True), (1024, False)])
def test_register_a_credential_id_of_up_to_1023_bytes_succeeds(length: int, is_accepted: bool) -> None:
    made = with_key(ec_key(ec.SECP256R1()), credential_id=b"x" * length)
    if is_accepted:
        assert len(RP.verify_registration(made, CHALLENGE).credential_id) == length
    else:
        with pytest.raises(PasskeyRejected):
            RP.verify_registration(made, CHALLENGE)


@pytest.mark.parametrize("form", EXTENSIONS)
def test_extensions_with_tags_are_rejected(form: str) -> None:
    passkey = SoftwarePasskey()
    new = register(passkey)

    def extend(_: Json, data: bytearray) -> None:
        data[32] |= EXTENDED
        data += EXTENSIONS[form]

    made = with_key(ec_key(ec.SECP256R1()), extensions=EXTENSIONS[form])
    response = resigned(passkey, extend)
    if form == "plain":
        assert RP.verify_registration(made, CHALLENGE)
        assert RP.verify_login(response, CHALLENGE, new.public_key, 0)
    else:
        with pytest.raises(PasskeyRejected):
            RP.verify_registration(made, CHALLENGE)
        with pytest.raises(PasskeyRejected):
            RP.verify_login(response, CHALLENGE, new.public_key, 0)
