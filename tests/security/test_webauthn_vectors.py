"""The test vectors of WebAuthn Level 3, chapter 16.

`webauthn_vectors.json` has them as they stand there (W3C Software and Document License).
"""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import webauthn

from service.security.webauthn import PasskeyRejected, RelyingParty
from tests.support.webauthn import base64url

VECTORS: dict[str, Any] = json.loads(Path(__file__).with_name("webauthn_vectors.json").read_text())
ACCEPTED = [
    "none-es256",
    "packed-self-es256",
    "none-es256-long-credential-id",
    "packed-es256",
    "packed-rs256",
    "packed-eddsa",
]
REJECTED = {
    "none-es256-crossOrigin": "in a frame of another site",
    "none-es256-topOrigin": "in a frame of another site",
    "packed-es384": "algorithm",
    "packed-es512": "algorithm",
    "packed-ed448": "algorithm",
    "tpm-es256": "format",
    "android-key-es256": "format",
    "apple-es256": "format",
    "fido-u2f-es256": "format",
}
RP = RelyingParty("example.org", "Example", ("https://example.org",))
VERIFIED = 0x04


@contextmanager
def any_user() -> Iterator[None]:
    """Ask for no user verification, which the vectors have at random."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("verify_registration_response", "verify_authentication_response"):
            patch.setattr(webauthn, name, partial(_without_user_verification, getattr(webauthn, name)))
        yield


def _without_user_verification(verify: Callable[..., Any], **expected: Any) -> Any:
    return verify(**{**expected, "require_user_verification": False})


def credential(vector: Any, ceremony: str) -> tuple[dict[str, Any], bytes]:
    """The response in JSON, and its challenge."""
    parts = {name: bytes.fromhex(value) for name, value in vector[ceremony].items()}
    challenge = parts.pop("challenge")
    parts.pop("credential_id", None)
    identity = base64url(bytes.fromhex(vector["registration"]["credential_id"]))
    response = {name: base64url(value) for name, value in parts.items()}
    return {"id": identity, "rawId": identity, "type": "public-key", "response": response}, challenge


def test_every_vector_is_looked_at() -> None:
    assert sorted(VECTORS) == sorted([*ACCEPTED, *REJECTED])


@pytest.mark.parametrize("name", ACCEPTED)
def test_vector_registers_and_logs_in(name: str) -> None:
    vector = VECTORS[name]
    response, challenge = credential(vector, "login")
    with any_user():
        new = RP.verify_registration(*credential(vector, "registration"))
        login = RP.verify_login(response, challenge, new.public_key, 0)
    assert new.credential_id == bytes.fromhex(vector["registration"]["credential_id"])
    assert (login.sign_count, login.user_verified) == (0, is_verified(vector))


def is_verified(vector: Any) -> bool:
    return bool(bytes.fromhex(vector["login"]["authenticatorData"])[32] & VERIFIED)


@pytest.mark.parametrize("name", ACCEPTED)
def test_vector_without_user_verification_is_rejected(name: str) -> None:
    vector = VECTORS[name]
    with any_user():
        new = RP.verify_registration(*credential(vector, "registration"))
    response, challenge = credential(vector, "login")
    if is_verified(vector):
        assert RP.verify_login(response, challenge, new.public_key, 0).user_verified
    else:
        with pytest.raises(PasskeyRejected) as rejected:
            RP.verify_login(response, challenge, new.public_key, 0)
        assert "User verification is required" in str(rejected.value.__cause__)


@pytest.mark.parametrize("name", REJECTED)
def test_vector_with_an_unsupported_algorithm_or_format_is_rejected(name: str) -> None:
    with any_user(), pytest.raises(PasskeyRejected):
        RP.verify_registration(*credential(VECTORS[name], "registration"))


@pytest.mark.parametrize("name", [name for name, reason in REJECTED.items() if reason == "format"])
def test_vector_with_another_attestation_reaches_no_verifier(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    reached: list[str] = []
    monkeypatch.setattr(webauthn, "verify_registration_response", lambda **_: reached.append(name))
    with pytest.raises(PasskeyRejected):
        RP.verify_registration(*credential(VECTORS[name], "registration"))
    assert reached == []
