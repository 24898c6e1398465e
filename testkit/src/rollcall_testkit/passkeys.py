"""An authenticator for passkeys that is software, for tests of registration and login.

It needs the package `cryptography`: install `rollcall-testkit[passkeys]`.
"""

import json
import secrets
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from rollcall_testkit.cbor import encode

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

_PRESENT, _VERIFIED, _BACKUP_ELIGIBLE, _BACKED_UP, _ATTESTED = 0x01, 0x04, 0x08, 0x10, 0x40
_ES256 = -7


class NoPasskey(Exception):
    """The authenticator has no passkey for these options, or must not create one."""


@dataclass(frozen=True)
class Credential:
    """A passkey: a key for one user of one relying party."""

    id: bytes
    rp_id: str
    user_handle: bytes
    private_key: "EllipticCurvePrivateKey" = field(repr=False)


@dataclass
class SoftwarePasskey:
    """Create passkeys and log in with them, as browser and authenticator do together.

    Options and results are the JSON of WebAuthn Level 3: what the service sends as `public_key`, and what it
    takes as `passkey`. Unlike a browser it does not compare `origin` with the relying party, so that tests
    can play a phishing site.
    """

    sign_count: int = 0
    """The counter of signatures, which every login increments. Set it to play a copied authenticator."""
    is_synced: bool = False
    """Whether passkeys are backed up and shared between devices; their counter stays at 0."""
    verifies_user: bool = True
    """Whether the user proves to be the owner, by a PIN or a finger."""
    aaguid: bytes = bytes(16)
    credentials: list[Credential] = field(default_factory=list)
    """The passkeys, the oldest first."""

    def create(self, public_key: Mapping[str, Any], origin: str) -> dict[str, Any]:
        """Create a passkey as `navigator.credentials.create()` does, and return its `toJSON()`.

        Raises: NoPasskey if one of `excludeCredentials` is here, or ES256 is not wanted.
        """
        from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key

        if self._held(public_key.get("excludeCredentials", ())):
            raise NoPasskey("a passkey of excludeCredentials is here already")
        if _ES256 not in [parameters["alg"] for parameters in public_key["pubKeyCredParams"]]:
            raise NoPasskey("the relying party does not take ES256")
        user_handle = _bytes_of(public_key["user"]["id"])
        rp_id, key = public_key["rp"]["id"], generate_private_key(SECP256R1())
        credential = Credential(secrets.token_bytes(32), rp_id, user_handle, key)
        self._replace(credential)
        attested = self.aaguid + len(credential.id).to_bytes(2, "big") + credential.id + _cose_key(key)
        data = self._authenticator_data(rp_id, _ATTESTED) + attested
        response = {
            "clientDataJSON": _client_data("webauthn.create", public_key["challenge"], origin),
            "attestationObject": _base64url(encode({"fmt": "none", "attStmt": {}, "authData": data})),
            "transports": ["hybrid", "internal"] if self.is_synced else ["internal"],
        }
        return _serialized(credential, response)

    def get(self, public_key: Mapping[str, Any], origin: str) -> dict[str, Any]:
        """Log in as `navigator.credentials.get()` does, and return its `toJSON()`.

        Of several passkeys that fit, the newest is used.

        Raises: NoPasskey.
        """
        credential = self._choose(public_key)
        self.sign_count += 0 if self.is_synced else 1
        data = self._authenticator_data(credential.rp_id)
        client_data = _client_data("webauthn.get", public_key["challenge"], origin)
        response = {
            "clientDataJSON": client_data,
            "authenticatorData": _base64url(data),
            "signature": _base64url(_sign(credential, data + sha256(_bytes_of(client_data)).digest())),
            "userHandle": _base64url(credential.user_handle),
        }
        return _serialized(credential, response)

    def _choose(self, public_key: Mapping[str, Any]) -> Credential:
        allowed = public_key.get("allowCredentials", ())
        candidates = self._held(allowed) if allowed else self.credentials
        fitting = [credential for credential in candidates if credential.rp_id == public_key["rpId"]]
        if not fitting:
            raise NoPasskey(f"no passkey for {public_key['rpId']} that the relying party allows")
        return fitting[-1]

    def _held(self, descriptors: Any) -> list[Credential]:
        ids = {_bytes_of(descriptor["id"]) for descriptor in descriptors}
        return [credential for credential in self.credentials if credential.id in ids]

    def _replace(self, new: Credential) -> None:
        """Keep one passkey per user and relying party, as authenticators do."""
        owner = (new.rp_id, new.user_handle)
        self.credentials = [old for old in self.credentials if (old.rp_id, old.user_handle) != owner]
        self.credentials.append(new)

    def _authenticator_data(self, rp_id: str, flags: int = 0) -> bytes:
        """Return the part before the attested credential. Source: WebAuthn Level 3 6.1."""
        flags |= _PRESENT | (_VERIFIED if self.verifies_user else 0)
        flags |= _BACKUP_ELIGIBLE | _BACKED_UP if self.is_synced else 0
        return sha256(rp_id.encode()).digest() + bytes([flags]) + self.sign_count.to_bytes(4, "big")


def _client_data(kind: str, challenge: str, origin: str) -> str:
    """Return what a browser says about the page. Source: WebAuthn Level 3 5.8.1.1."""
    data = {"type": kind, "challenge": challenge, "origin": origin, "crossOrigin": False}
    return _base64url(json.dumps(data, separators=(",", ":")).encode())


def _serialized(credential: Credential, response: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "id": _base64url(credential.id),
        "rawId": _base64url(credential.id),
        "type": "public-key",
        "authenticatorAttachment": "platform",
        "clientExtensionResults": {},
        "response": response,
    }


def _sign(credential: Credential, data: bytes) -> bytes:
    from cryptography.hazmat.primitives.asymmetric.ec import ECDSA
    from cryptography.hazmat.primitives.hashes import SHA256

    return credential.private_key.sign(data, ECDSA(SHA256()))


def _cose_key(key: "EllipticCurvePrivateKey") -> bytes:
    """Return the public key as COSE. Source: RFC 9053 2.1, 7.1."""
    numbers = key.public_key().public_numbers()
    x, y = (coordinate.to_bytes(32, "big") for coordinate in (numbers.x, numbers.y))
    return encode({1: 2, 3: _ES256, -1: 1, -2: x, -3: y})


def _bytes_of(base64url: str) -> bytes:
    return urlsafe_b64decode(f"{base64url}===")


def _base64url(value: bytes) -> str:
    return urlsafe_b64encode(value).rstrip(b"=").decode("ascii")
