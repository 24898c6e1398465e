"""Registration and login with passkeys: what is asked of the client, and what is believed of its response."""

import json
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from uuid import UUID

import pytest
from rollcall_testkit.passkeys import SoftwarePasskey

from service.domain.factors import FactorPolicy, Passkey
from service.security.webauthn import (
    NewPasskey,
    PasskeyLogin,
    PasskeyRejected,
    RelyingParty,
    credential_of,
    relying_party_of,
)
from tests.support.webauthn import (
    ADA,
    ATTESTED,
    BACKED_UP,
    CHALLENGE,
    ORIGIN,
    OTHER_CHALLENGE,
    PRESENT,
    RP,
    VERIFIED,
    Json,
    base64url,
    bytes_of,
    log_in,
    options,
    register,
    resigned,
)

WRONG_ORIGINS = [
    "https://evil.example",
    "https://example.org.evil.example",
    "https://evil.example/https://example.org",
    "https://other.example.org",
    "http://example.org",
    "https://example.org:8443",
    "https://example.org/",
    "https://EXAMPLE.org",
    "null",
    "",
]


def test_relying_party_of_a_policy_imports_the_library_if_passkeys_are_enabled(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """At start: in a login it would hold up all others."""
    monkeypatch.delitem(sys.modules, "webauthn", raising=False)
    assert relying_party_of(FactorPolicy()) is None
    assert "webauthn" not in sys.modules
    assert relying_party_of(FactorPolicy(issuer=RP.name, rp_id=RP.id, origins=RP.origins)) == RP
    assert "webauthn" in sys.modules


def enrolled(credential_id: bytes, *transports: str) -> Passkey:
    at = datetime(2026, 1, 1, tzinfo=UTC)
    return Passkey(ADA, ADA, "Passkey", credential_id, b"", 0, ADA, transports, False, False, at, None)


def test_registration_options_ask_for_a_discoverable_credential_and_a_verified_user() -> None:
    known = [enrolled(b"\xff\xfe", "internal"), enrolled(b"\x00")]
    assert RP.registration_options(ADA, "ada@example.org", "Ada", CHALLENGE, known) == {
        "rp": {"id": "example.org", "name": "Example"},
        "user": {"id": "AYkKXayWd0u8zrMCCZqAVw", "name": "ada@example.org", "displayName": "Ada"},
        "challenge": "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8",
        "pubKeyCredParams": [{"type": "public-key", "alg": algorithm} for algorithm in (-7, -8, -257)],
        "timeout": 300_000,
        "excludeCredentials": [
            {"type": "public-key", "id": "__4", "transports": ["internal"]},
            {"type": "public-key", "id": "AA"},
        ],
        "authenticatorSelection": {
            "residentKey": "required",
            "requireResidentKey": True,
            "userVerification": "required",
        },
        "attestation": "none",
    }


def test_login_options_ask_for_a_verified_user() -> None:
    assert RP.login_options(CHALLENGE, [enrolled(b"\x00", "usb", "nfc")]) == {
        "challenge": "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8",
        "rpId": "example.org",
        "timeout": 300_000,
        "allowCredentials": [{"type": "public-key", "id": "AA", "transports": ["usb", "nfc"]}],
        "userVerification": "required",
    }
    assert RP.login_options(CHALLENGE)["allowCredentials"] == []


def test_register_returns_the_passkey() -> None:
    passkey = SoftwarePasskey(sign_count=7, aaguid=ADA.bytes)
    new = register(passkey)
    assert new == NewPasskey(passkey.credentials[0].id, new.public_key, 7, ADA, ("internal",), False, False)


def test_register_a_synced_passkey_tells_that_it_is_backed_up() -> None:
    new = register(SoftwarePasskey(is_synced=True))
    assert (new.is_backup_eligible, new.is_backed_up, new.sign_count) == (True, True, 0)
    assert new.transports == ("hybrid", "internal")
    assert new.aaguid == UUID(int=0)


@pytest.mark.parametrize("origin", RP.origins)
def test_log_in_with_a_registered_passkey_on_each_origin_succeeds(origin: str) -> None:
    passkey = SoftwarePasskey()
    new = register(passkey)
    response = log_in(passkey, origin)
    assert credential_of(response) == (new.credential_id, ADA.bytes)
    assert RP.verify_login(response, CHALLENGE, new.public_key, new.sign_count) == PasskeyLogin(
        sign_count=1, sign_count_went_back=False, is_backed_up=False, user_verified=True
    )


def test_response_may_be_json_text() -> None:
    passkey = SoftwarePasskey()
    new = RP.verify_registration(json.dumps(passkey.create(options(), ORIGIN)).encode(), CHALLENGE)
    response = json.dumps(log_in(passkey)).encode()
    assert credential_of(response) == (new.credential_id, ADA.bytes)
    assert RP.verify_login(response, CHALLENGE, new.public_key, 0).user_verified


@pytest.mark.parametrize(
    ("stored", "sent", "went_back"),
    [(0, 1, False), (4, 5, False), (5, 5, True), (6, 5, True), (5, 1, True), (0, 2**32 - 1, False)],
)
def test_log_in_compares_the_counter_and_accepts_it_anyway(stored: int, sent: int, went_back: bool) -> None:
    passkey = SoftwarePasskey()
    new = register(passkey)
    passkey.sign_count = sent - 1
    login = RP.verify_login(log_in(passkey), CHALLENGE, new.public_key, stored)
    assert (login.sign_count, login.sign_count_went_back) == (sent, went_back)


@pytest.mark.parametrize(("stored", "went_back"), [(0, False), (3, True)])
def test_log_in_with_counter_zero_went_back_only_if_the_stored_one_is_higher(
    stored: int, went_back: bool
) -> None:
    passkey = SoftwarePasskey(is_synced=True)
    new = register(passkey)
    login = RP.verify_login(log_in(passkey), CHALLENGE, new.public_key, stored)
    assert (login.sign_count_went_back, login.is_backed_up) == (went_back, True)


@pytest.mark.parametrize("origin", WRONG_ORIGINS)
def test_page_of_another_origin_is_rejected(origin: str) -> None:
    passkey = SoftwarePasskey()
    with pytest.raises(PasskeyRejected):
        RP.verify_registration(passkey.create(options(), origin), CHALLENGE)
    new = register(passkey)
    with pytest.raises(PasskeyRejected):
        RP.verify_login(log_in(passkey, origin), CHALLENGE, new.public_key, 0)


def test_response_to_another_challenge_is_rejected() -> None:
    passkey = SoftwarePasskey()
    with pytest.raises(PasskeyRejected):
        RP.verify_registration(passkey.create(options(), ORIGIN), OTHER_CHALLENGE)
    new = register(passkey)
    with pytest.raises(PasskeyRejected):
        RP.verify_login(log_in(passkey), OTHER_CHALLENGE, new.public_key, 0)


def test_passkey_of_another_relying_party_is_rejected() -> None:
    """Whose page was on the right origin: the authenticator says for whom it signs."""
    passkey, page = SoftwarePasskey(), RP.origins[0]
    new = RP.verify_registration(passkey.create(options(), page), CHALLENGE)
    assert RP.verify_login(log_in(passkey, page), CHALLENGE, new.public_key, 0)
    for rp_id in ("login.example.org", "evil.example", "org"):
        other = RelyingParty(rp_id, "Other", RP.origins)
        made = passkey.create(other.registration_options(ADA, "ada", "Ada", CHALLENGE), ORIGIN)
        with pytest.raises(PasskeyRejected):
            RP.verify_registration(made, CHALLENGE)
        response = passkey.get(other.login_options(CHALLENGE), ORIGIN)
        public_key = other.verify_registration(made, CHALLENGE).public_key
        with pytest.raises(PasskeyRejected):
            RP.verify_login(response, CHALLENGE, public_key, 0)


def test_user_who_was_not_verified_is_rejected() -> None:
    passkey = SoftwarePasskey()
    new = register(passkey)
    passkey.verifies_user = False
    with pytest.raises(PasskeyRejected):
        RP.verify_login(log_in(passkey), CHALLENGE, new.public_key, 0)
    with pytest.raises(PasskeyRejected):
        register(passkey)


def set_flags(flags: int) -> Callable[[Json, bytearray], None]:
    def change(_: Json, data: bytearray) -> None:
        data[32] = flags

    return change


@pytest.mark.parametrize(
    "change",
    [
        lambda client_data, _: client_data.update(crossOrigin=True),
        lambda client_data, _: client_data.update(topOrigin="https://example.com"),
        lambda client_data, _: client_data.update(type="webauthn.create"),
        lambda client_data, _: client_data.update(type="payment.get"),
        lambda client_data, _: client_data.pop("challenge"),
        lambda client_data, _: client_data.update(challenge=None),
        lambda client_data, _: client_data.update(origin=[ORIGIN]),
        lambda _, data: data.append(0),
        lambda _, data: data.clear(),
        set_flags(VERIFIED),
        set_flags(PRESENT | VERIFIED | BACKED_UP),
        set_flags(PRESENT | VERIFIED | ATTESTED),
    ],
    ids=[
        "frame of another site",
        "another site on top",
        "registration",
        "payment",
        "no challenge",
        "challenge null",
        "list of origins",
        "a byte too many",
        "no data",
        "nobody present",
        "backed up without being eligible",
        "credential missing",
    ],
)
def test_signed_login_that_breaks_a_rule_is_rejected(change: Callable[[Json, bytearray], None]) -> None:
    passkey = SoftwarePasskey()
    new = register(passkey)
    good = resigned(passkey, lambda client_data, _: client_data.update(later_additions=[1]))
    assert RP.verify_login(good, CHALLENGE, new.public_key, 0)
    with pytest.raises(PasskeyRejected):
        RP.verify_login(resigned(passkey, change), CHALLENGE, new.public_key, 0)


@pytest.mark.parametrize("member", ["clientDataJSON", "authenticatorData", "signature"])
def test_login_that_was_altered_after_signing_is_rejected(member: str) -> None:
    passkey = SoftwarePasskey()
    new = register(passkey)
    response = log_in(passkey)
    altered = bytearray(bytes_of(response["response"][member]))
    altered[-1] ^= 1
    changed = {**response, "response": {**response["response"], member: base64url(altered)}}
    with pytest.raises(PasskeyRejected):
        RP.verify_login(changed, CHALLENGE, new.public_key, 0)


def test_login_by_another_passkey_is_rejected() -> None:
    new = register(SoftwarePasskey())
    other = SoftwarePasskey()
    register(other)
    with pytest.raises(PasskeyRejected):
        RP.verify_login(log_in(other), CHALLENGE, new.public_key, 0)


def test_response_of_the_other_ceremony_is_rejected() -> None:
    passkey = SoftwarePasskey()
    made = passkey.create(options(), ORIGIN)
    new = RP.verify_registration(made, CHALLENGE)
    with pytest.raises(PasskeyRejected):
        RP.verify_login(made, CHALLENGE, new.public_key, 0)
    with pytest.raises(PasskeyRejected):
        RP.verify_registration(log_in(passkey), CHALLENGE)


@pytest.mark.parametrize("value", ["platform", "cross-platform", "of-the-future", None, 1])
def test_attachment_of_any_value_is_ignored(value: object) -> None:
    passkey = SoftwarePasskey()
    made = {**passkey.create(options(), ORIGIN), "authenticatorAttachment": value}
    new = RP.verify_registration(made, CHALLENGE)
    response = {**log_in(passkey), "authenticatorAttachment": value}
    assert RP.verify_login(response, CHALLENGE, new.public_key, 0)


@pytest.mark.parametrize(
    ("length", "is_accepted"), [(None, True), (0, False), (1, True), (64, True), (65, False)]
)
def test_credential_of_takes_a_user_handle_of_up_to_64_bytes(length: int | None, is_accepted: bool) -> None:
    passkey = SoftwarePasskey()
    register(passkey)
    response = log_in(passkey)
    user_handle = None if length is None else b"x" * length
    response["response"]["userHandle"] = None if user_handle is None else base64url(user_handle)
    if is_accepted:
        assert credential_of(response) == (passkey.credentials[0].id, user_handle)
    else:
        with pytest.raises(PasskeyRejected):
            credential_of(response)
