"""Passkeys: the relying party's half of WebAuthn, around the library `webauthn`.

Options and responses are the JSON of `toJSON()` and `parse…OptionsFromJSON()`. Source: W3C Web
Authentication Level 3, 5.1.8 to 5.1.10, 7.1, 7.2.
"""

import json
import secrets
from base64 import urlsafe_b64encode
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from service.domain.factors import FactorPolicy, Passkey
from service.security.plain_cbor import require_plain_cbor

CHALLENGE_BYTES: Final = 32
"""Source: WebAuthn Level 3 13.4.3 (at least 16)."""
TIMEOUT_MS: Final = 300_000
"""Source: WebAuthn Level 3 15.1 (five minutes leave time for whoever needs it)."""

_ES256, _EDDSA, _RS256 = -7, -8, -257
_ALGORITHMS: Final = (_ES256, _EDDSA, _RS256)
_FORMATS: Final = frozenset({"none", "packed"})
"""What clients send if no attestation is asked for; verifiers of other formats stay out of reach."""
_MAX_CREDENTIAL_ID_BYTES: Final = 1023
_MAX_USER_HANDLE_BYTES: Final = 64
_FLAGS, _ATTESTED, _HEAD_BYTES, _AAGUID_BYTES, _LENGTH_BYTES = 32, 0x40, 37, 16, 2
"""Of authenticator data. Source: WebAuthn Level 3 6.1, 6.5.1."""
_MIN_RSA_BITS: Final = 2048

Response = Mapping[str, Any] | bytes
"""A credential as the client serialised it, parsed or not."""


class PasskeyRejected(Exception):
    """The response is malformed, or does not prove what was asked for. The cause is for the log alone."""


@dataclass(frozen=True, slots=True)
class NewPasskey:
    """A passkey that has been registered; `public_key` is a COSE key."""

    credential_id: bytes
    public_key: bytes
    sign_count: int
    aaguid: UUID
    """The model of the authenticator, as it says itself; nil if it does not say."""
    transports: tuple[str, ...]
    is_backup_eligible: bool
    is_backed_up: bool


@dataclass(frozen=True, slots=True)
class PasskeyLogin:
    """What a passkey said when it logged its user in."""

    sign_count: int
    sign_count_went_back: bool
    """The passkey may have been copied, or is synced between devices that count apart."""
    is_backed_up: bool
    user_verified: bool


@dataclass(frozen=True, slots=True)
class RelyingParty:
    """The service as passkeys know it: they work for `id` (a domain), on pages of `origins` alone."""

    id: str
    name: str
    origins: tuple[str, ...]

    def registration_options(
        self, user_id: UUID, login_id: str, name: str, challenge: bytes, exclude: Iterable[Passkey] = ()
    ) -> dict[str, Any]:
        """Return the options of `navigator.credentials.create()` for a discoverable credential.

        The user handle is the id of the user. Source: WebAuthn Level 3 5.4, 14.6.1.
        """
        return {
            "rp": {"id": self.id, "name": self.name},
            "user": {"id": _base64url(user_id.bytes), "name": login_id, "displayName": name},
            "challenge": _base64url(challenge),
            "pubKeyCredParams": [{"type": "public-key", "alg": algorithm} for algorithm in _ALGORITHMS],
            "timeout": TIMEOUT_MS,
            "excludeCredentials": [_descriptor(passkey) for passkey in exclude],
            "authenticatorSelection": {
                "residentKey": "required",
                "requireResidentKey": True,
                "userVerification": "required",
            },
            "attestation": "none",
        }

    def login_options(self, challenge: bytes, allow: Iterable[Passkey] = ()) -> dict[str, Any]:
        """Return the options of `navigator.credentials.get()`; without `allow`, any passkey may answer.

        Source: WebAuthn Level 3 5.5.
        """
        return {
            "challenge": _base64url(challenge),
            "rpId": self.id,
            "timeout": TIMEOUT_MS,
            "allowCredentials": [_descriptor(passkey) for passkey in allow],
            "userVerification": "required",
        }

    def verify_registration(self, response: Response, challenge: bytes) -> NewPasskey:
        """Return the passkey that was created for this challenge.

        Raises:
            PasskeyRejected: the response is not valid.

        Source: WebAuthn Level 3 7.1; 8.7 (attestation is not asked for, and proves nothing here).
        """
        with _rejecting():
            from webauthn import verify_registration_response
            from webauthn.helpers import parse_registration_credential_json
            from webauthn.helpers.cose import COSEAlgorithmIdentifier
            from webauthn.helpers.structs import CredentialDeviceType

            credential = parse_registration_credential_json(_object_of(response))
            expected = self._expected(credential, challenge)
            _require_plain_attestation(credential.response.attestation_object)
            algorithms = [COSEAlgorithmIdentifier(algorithm) for algorithm in _ALGORITHMS]
            verified = verify_registration_response(**expected, supported_pub_key_algs=algorithms)
            _require_length(verified.credential_id, _MAX_CREDENTIAL_ID_BYTES)
            _require_usable_key(verified.credential_public_key)
            transports = {transport.value for transport in credential.response.transports or ()}
            return NewPasskey(
                credential_id=verified.credential_id,
                public_key=verified.credential_public_key,
                sign_count=verified.sign_count,
                aaguid=UUID(verified.aaguid),
                transports=tuple(sorted(transports)),  # those that the standard names
                is_backup_eligible=verified.credential_device_type is CredentialDeviceType.MULTI_DEVICE,
                is_backed_up=verified.credential_backed_up,
            )

    def verify_login(
        self, response: Response, challenge: bytes, public_key: bytes, sign_count: int
    ) -> PasskeyLogin:
        """Return what the passkey with this public key said to the challenge.

        `sign_count` is the last known one. That the credential belongs to the user is the caller's to check.

        Raises:
            PasskeyRejected: the response is not valid.

        Source: WebAuthn Level 3 7.2.
        """
        with _rejecting():
            from webauthn import verify_authentication_response
            from webauthn.helpers import parse_authentication_credential_json

            credential = parse_authentication_credential_json(_object_of(response))
            expected = self._expected(credential, challenge)
            _require_plain_authenticator_data(credential.response.authenticator_data)
            verified = verify_authentication_response(
                **expected,
                credential_public_key=public_key,
                # The library rejects a counter that went back, which synced passkeys do: compared below.
                credential_current_sign_count=0,
            )
        counter = verified.new_sign_count
        return PasskeyLogin(
            sign_count=counter,
            sign_count_went_back=(counter, sign_count) != (0, 0) and counter <= sign_count,
            is_backed_up=verified.credential_backed_up,
            user_verified=verified.user_verified,
        )

    def _expected(self, credential: Any, challenge: bytes) -> dict[str, Any]:
        """Return what both ceremonies demand. Source: WebAuthn Level 3 7.1, 7.2, 13.4.9."""
        client_data = json.loads(credential.response.client_data_json)
        # In a frame of another site people do not see what they allow.
        if client_data.get("crossOrigin") or "topOrigin" in client_data:
            raise PasskeyRejected
        return {
            "credential": credential,
            "expected_challenge": challenge,
            "expected_rp_id": self.id,
            "expected_origin": list(self.origins),
            "require_user_verification": True,
        }


def relying_party_of(policy: FactorPolicy) -> RelyingParty | None:
    """Return the service as passkeys know it, if they are enabled.

    The library is imported here, as that takes a fifth of a second: a login would keep all others waiting.
    """
    if policy.rp_id is None:
        return None
    import webauthn  # noqa: F401 - it is the import that counts

    return RelyingParty(policy.rp_id, policy.issuer, policy.origins)


def new_challenge() -> bytes:
    """Return the random bytes that a passkey signs. Source: WebAuthn Level 3 13.4.3."""
    return secrets.token_bytes(CHALLENGE_BYTES)


def credential_of(response: Response) -> tuple[bytes, bytes | None]:
    """Return the credential id and the user handle that a login response claims, both unverified.

    Raises:
        PasskeyRejected: the response is malformed.
    """
    with _rejecting():
        from webauthn.helpers import parse_authentication_credential_json

        credential = parse_authentication_credential_json(_object_of(response))
        user_handle = credential.response.user_handle
        _require_length(credential.raw_id, _MAX_CREDENTIAL_ID_BYTES)
        if user_handle is not None:
            _require_length(user_handle, _MAX_USER_HANDLE_BYTES)
        return credential.raw_id, user_handle


@contextmanager
def _rejecting() -> Iterator[None]:
    """Turn every exception into PasskeyRejected."""
    try:
        yield
    except PasskeyRejected:
        raise
    except Exception as error:  # parsers of hostile CBOR, JSON and keys raise nearly anything
        raise PasskeyRejected from error


def _object_of(response: Response) -> dict[str, Any]:
    parsed = json.loads(response) if isinstance(response, bytes) else dict(response)
    # A hint that nothing here uses, of which future values must not be refused (WebAuthn Level 3 5.1).
    return {**parsed, "authenticatorAttachment": None}


def _require_plain_attestation(encoded: bytes) -> None:
    """Refuse what the library's parsers must not see."""
    from webauthn.helpers import parse_cbor

    require_plain_cbor(encoded)
    attestation = parse_cbor(encoded)
    if attestation["fmt"] not in _FORMATS:
        raise PasskeyRejected
    _require_plain_authenticator_data(attestation["authData"])


def _require_plain_authenticator_data(data: bytes) -> None:
    """Check the key and the extensions that follow its fixed part."""
    start = _HEAD_BYTES
    if data[_FLAGS] & _ATTESTED:
        start += _AAGUID_BYTES + _LENGTH_BYTES
        start += int.from_bytes(data[start - _LENGTH_BYTES : start], "big")
    require_plain_cbor(data[start:])


def _require_length(value: bytes, at_most: int) -> None:
    if not 1 <= len(value) <= at_most:
        raise PasskeyRejected


def _require_usable_key(public_key: bytes) -> None:
    """Refuse a key that could not log in, or is weak: the library looks at no key without attestation.

    Source: WebAuthn Level 3 5.8.5 (ES256 is on P-256, EdDSA is Ed25519); NIST SP 800-131A 3.
    """
    from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
    from webauthn.helpers import decode_credential_public_key, decoded_public_key_to_cryptography

    key = decoded_public_key_to_cryptography(decode_credential_public_key(public_key))
    if isinstance(key, EllipticCurvePublicKey) and not isinstance(key.curve, SECP256R1):
        raise PasskeyRejected
    if isinstance(key, RSAPublicKey) and key.key_size < _MIN_RSA_BITS:
        raise PasskeyRejected


def _descriptor(passkey: Passkey) -> dict[str, Any]:
    """Return the `PublicKeyCredentialDescriptor` of a passkey. Source: WebAuthn Level 3 5.8.3."""
    identified = {"type": "public-key", "id": _base64url(passkey.credential_id)}
    return {**identified, "transports": list(passkey.transports)} if passkey.transports else identified


def _base64url(value: bytes) -> str:
    return urlsafe_b64encode(value).rstrip(b"=").decode("ascii")
