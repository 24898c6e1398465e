"""A relying party, and passkeys that register and log in with it."""

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable
from hashlib import sha256
from typing import Any
from uuid import UUID

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from rollcall_testkit.passkeys import SoftwarePasskey

from service.security.webauthn import NewPasskey, RelyingParty

ORIGIN = "https://login.example.org"
RP = RelyingParty("example.org", "Example", ("https://example.org", ORIGIN))
ADA = UUID("01890a5d-ac96-774b-bcce-b302099a8057")
CHALLENGE, OTHER_CHALLENGE = bytes(range(32)), bytes(range(1, 33))
PRESENT, VERIFIED, BACKED_UP, ATTESTED, EXTENDED = 0x01, 0x04, 0x10, 0x40, 0x80
"""Flags of authenticator data. Source: WebAuthn Level 3 6.1."""

Json = dict[str, Any]


def base64url(value: bytes | bytearray) -> str:
    return urlsafe_b64encode(value).rstrip(b"=").decode()


def bytes_of(text: str) -> bytes:
    return urlsafe_b64decode(text + "===")


def options() -> Json:
    """Return the options to register a passkey for Ada."""
    return RP.registration_options(ADA, "ada@example.org", "Ada", CHALLENGE)


def register(passkey: SoftwarePasskey) -> NewPasskey:
    """Register a passkey for Ada."""
    return RP.verify_registration(passkey.create(options(), ORIGIN), CHALLENGE)


def log_in(passkey: SoftwarePasskey, origin: str = ORIGIN) -> Json:
    """Return the response of a passkey to the challenge."""
    return passkey.get(RP.login_options(CHALLENGE), origin)


def resigned(passkey: SoftwarePasskey, change: Callable[[Json, bytearray], None]) -> Json:
    """Return a response that was changed before the passkey signed it."""
    response = log_in(passkey)
    client_data = json.loads(bytes_of(response["response"]["clientDataJSON"]))
    data = bytearray(bytes_of(response["response"]["authenticatorData"]))
    change(client_data, data)
    text = json.dumps(client_data).encode()
    signature = passkey.credentials[0].private_key.sign(data + sha256(text).digest(), ec.ECDSA(SHA256()))
    signed = {
        "clientDataJSON": base64url(text),
        "authenticatorData": base64url(data),
        "signature": base64url(signature),
    }
    return {**response, "response": {**response["response"], **signed}}
