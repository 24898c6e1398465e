"""The software passkey, held against the library that the service verifies with."""

from typing import Any

import cbor2
import pytest
import webauthn
from rollcall_testkit.cbor import encode
from rollcall_testkit.passkeys import NoPasskey, SoftwarePasskey

ORIGIN = "https://example.org"
CREATE: dict[str, Any] = {
    "rp": {"id": "example.org", "name": "Example"},
    "user": {"id": "AQID", "name": "ada", "displayName": "Ada"},
    "challenge": "AAECAwQFBgcICQoLDA0ODw",
    "pubKeyCredParams": [{"type": "public-key", "alg": -8}, {"type": "public-key", "alg": -7}],
}
GET: dict[str, Any] = {"rpId": "example.org", "challenge": "AAECAwQFBgcICQoLDA0ODw"}
EXPECTED: dict[str, Any] = {
    "expected_challenge": bytes(range(16)),
    "expected_rp_id": "example.org",
    "expected_origin": ORIGIN,
    "require_user_verification": True,
}


def create_for(passkey: SoftwarePasskey, user: str) -> dict[str, Any]:
    return passkey.create({**CREATE, "user": {**CREATE["user"], "id": user}}, ORIGIN)


@pytest.mark.parametrize("is_synced", [True, False])
def test_create_and_get_are_verified_by_the_library(is_synced: bool) -> None:
    passkey = SoftwarePasskey(is_synced=is_synced)
    made = webauthn.verify_registration_response(credential=passkey.create(CREATE, ORIGIN), **EXPECTED)
    for number in (1, 2):
        login = webauthn.verify_authentication_response(
            credential=passkey.get(GET, ORIGIN),
            credential_public_key=made.credential_public_key,
            credential_current_sign_count=made.sign_count,
            **EXPECTED,
        )
        assert login.new_sign_count == (0 if is_synced else number)
        assert login.credential_backed_up is is_synced


def test_get_keeps_the_user_handle() -> None:
    passkey = SoftwarePasskey()
    passkey.create(CREATE, ORIGIN)
    assert passkey.get(GET, ORIGIN)["response"]["userHandle"] == "AQID"


def test_get_takes_the_newest_passkey_that_is_allowed() -> None:
    passkey = SoftwarePasskey()
    first, second = (create_for(passkey, user)["id"] for user in ("AQID", "BAUG"))
    assert passkey.get(GET, ORIGIN)["id"] == second
    allowed = [{"type": "public-key", "id": first}, {"type": "public-key", "id": "AAAA"}]
    assert passkey.get({**GET, "allowCredentials": allowed}, ORIGIN)["id"] == first


def test_get_for_another_relying_party_or_list_has_no_passkey() -> None:
    passkey = SoftwarePasskey()
    passkey.create(CREATE, ORIGIN)
    with pytest.raises(NoPasskey, match="other"):
        passkey.get({**GET, "rpId": "other.example"}, ORIGIN)
    with pytest.raises(NoPasskey):
        passkey.get({**GET, "allowCredentials": [{"type": "public-key", "id": "AAAA"}]}, ORIGIN)


def test_create_for_a_user_again_replaces_the_passkey() -> None:
    passkey = SoftwarePasskey()
    passkey.create(CREATE, ORIGIN)
    second = passkey.create(CREATE, ORIGIN)["id"]
    assert len(passkey.credentials) == 1
    assert passkey.get(GET, ORIGIN)["id"] == second


def test_create_rejects_what_is_excluded_or_not_wanted() -> None:
    passkey = SoftwarePasskey()
    made = passkey.create(CREATE, ORIGIN)
    with pytest.raises(NoPasskey, match="already"):
        passkey.create({**CREATE, "excludeCredentials": [{"type": "public-key", "id": made["id"]}]}, ORIGIN)
    with pytest.raises(NoPasskey, match="ES256"):
        passkey.create({**CREATE, "pubKeyCredParams": [{"type": "public-key", "alg": -8}]}, ORIGIN)


@pytest.mark.parametrize(
    "value",
    [
        *(0, 23, 24, 255, 256, 65_535, 65_536, 2**32 - 1, 2**32, 2**64 - 1, -1, -24, -25, -257),
        *("", "é", "x" * 24, b"", b"\xff" * 256, {}, {"b": 1, "a": b"2"}, {-1: 1, 1: {"x": {}}}),
    ],
    ids=repr,
)
def test_encode_is_decoded_by_another_library(value: Any) -> None:
    assert cbor2.loads(encode(value)) == value
    if not isinstance(value, dict):
        assert encode(value) == cbor2.dumps(value, canonical=True)
