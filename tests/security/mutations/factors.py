"""Second factors and passkeys."""

from tests.security.mutations.mutation import Mutation

_RECOVERY_CODES = "service/security/recovery_codes.py"
_TOTP = "service/security/totp.py"
_WEBAUTHN = "service/security/webauthn.py"
_WEBAUTHN_TESTS = "tests/security/test_webauthn.py"
MUTATIONS = (
    Mutation(
        "A code of an authenticator app counts once",
        _TOTP,
        "if is_equal and step >= earliest",
        "if is_equal",
        "tests/security/test_totp.py::test_code_matches_only_a_step_after_the_last_accepted_one",
    ),
    Mutation(
        "A code of an authenticator app counts one step early or late",
        _TOTP,
        "(-1, 0, 1)",
        "(-2, -1, 0, 1, 2)",
        "tests/security/test_totp.py::test_code_matches_one_step_early_or_late_and_no_more",
    ),
    Mutation(
        "The digest of a recovery code belongs to its user",
        _RECOVERY_CODES,
        "_PURPOSE + user_id.bytes + code",
        "_PURPOSE + code",
        "tests/security/test_recovery_codes.py::test_digest_of_the_same_code_of_another_user_differs",
    ),
    Mutation(
        "A passkey answers the challenge that was given to it",
        _WEBAUTHN,
        '"expected_challenge": challenge,',
        '"expected_challenge": _bytes_of(client_data["challenge"]),',
        f"{_WEBAUTHN_TESTS}::test_response_to_another_challenge_is_rejected",
    ),
    Mutation(
        "A passkey works on pages of the configured origins alone",
        _WEBAUTHN,
        '"expected_origin": list(self.origins),',
        '"expected_origin": client_data["origin"],',
        f"{_WEBAUTHN_TESTS}::test_page_of_another_origin_is_rejected",
    ),
    Mutation(
        "A passkey belongs to one relying party",
        _WEBAUTHN,
        '"expected_rp_id": self.id,',
        '"expected_rp_id": client_data["origin"].removeprefix("https://"),',
        f"{_WEBAUTHN_TESTS}::test_passkey_of_another_relying_party_is_rejected",
    ),
    Mutation(
        "A passkey verifies its user",
        _WEBAUTHN,
        '"require_user_verification": True,',
        '"require_user_verification": False,',
        f"{_WEBAUTHN_TESTS}::test_user_who_was_not_verified_is_rejected",
    ),
    Mutation(
        "A passkey is not used in a frame of another site",
        _WEBAUTHN,
        'if client_data.get("crossOrigin") or "topOrigin" in client_data:',
        "if False:",
        f"{_WEBAUTHN_TESTS}::test_signed_login_that_breaks_a_rule_is_rejected",
    ),
    Mutation(
        "A passkey has a key that is strong and can log in",
        _WEBAUTHN,
        "_require_usable_key(verified.credential_public_key)",
        "pass",
        f"{_WEBAUTHN_TESTS}::test_register_a_key_that_cannot_log_in_or_is_weak_is_rejected",
    ),
    Mutation(
        "No attestation is read that was not asked for",
        _WEBAUTHN,
        "if parse_attestation_object(attestation).fmt not in _FORMATS:",
        "if False:",
        "tests/security/test_webauthn_vectors.py::test_vector_that_is_not_asked_for_is_rejected",
    ),
    Mutation(
        "Nothing that a passkey sends raises anything but its rejection",
        _WEBAUTHN,
        "raise PasskeyRejected from error",
        "raise",
        "tests/security/test_webauthn_hostile.py::test_any_bytes_are_rejected",
    ),
)
