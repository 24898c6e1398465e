"""Passkeys: what they sign, whose they are, and logging in by one alone."""

from tests.security.mutations.mutation import Mutation

_CHALLENGES_SQL = "service/db/repositories/passkey_challenges.py"
_PASSKEYS = "service/usecases/passkeys.py"
_PASSKEY_API = "tests/api/test_passkeys.py"
_PASSKEY_LOGIN = "service/usecases/passkey_login.py"
_PASSKEY_TESTS = "tests/flows/test_passkey_login.py"
_REGISTRATION_TESTS = "tests/security/test_webauthn_registration.py"
_WEBAUTHN = "service/security/webauthn.py"
_WEBAUTHN_TESTS = "tests/security/test_webauthn.py"

MUTATIONS = (
    Mutation(
        "A passkey answers the challenge that was given to it",
        _WEBAUTHN,
        '"expected_challenge": challenge,',
        '"expected_challenge": __import__("webauthn").base64url_to_bytes(client_data["challenge"]),',
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
        f"{_REGISTRATION_TESTS}::test_register_a_key_that_cannot_log_in_or_is_weak_is_rejected",
    ),
    Mutation(
        "No attestation is read that was not asked for",
        _WEBAUTHN,
        'if attestation["fmt"] not in _FORMATS:',
        "if False:",
        "tests/security/test_webauthn_vectors.py::test_vector_with_another_attestation_reaches_no_verifier",
    ),
    Mutation(
        "Nothing that a passkey sends raises anything but its rejection",
        _WEBAUTHN,
        "raise PasskeyRejected from error",
        "raise",
        "tests/security/test_webauthn_hostile.py::test_any_bytes_are_rejected",
    ),
    Mutation(
        "A challenge for a passkey is the user's own",
        _CHALLENGES_SQL,
        "        _of_user,\n",
        "        _of_user | PasskeyChallengeRow.user_id.is_not(None),\n",
        f"{_PASSKEY_API}::test_add_passkey_by_the_challenge_of_another_user_is_rejected",
    ),
    Mutation(
        "A challenge for a passkey ends",
        _CHALLENGES_SQL,
        "PasskeyChallengeRow.expires_at > func.now()",
        "PasskeyChallengeRow.created_at <= func.now()",
        f"{_PASSKEY_API}::test_add_passkey_by_an_expired_challenge_is_rejected",
    ),
    Mutation(
        "A challenge for a passkey is good for one try",
        _PASSKEYS,
        "    if challenge is None:\n",
        "    await parts.database.run(\n        lambda tx: PasskeyChallengeRepository(tx).add(\n"
        "            challenge_id, user_id, challenge=challenge or bytes(32), ttl=CHALLENGE_TTL\n        ),\n"
        "        caller=context.caller,\n    )\n    if challenge is None:\n",
        f"{_PASSKEY_API}::test_add_passkey_that_is_not_valid_uses_the_challenge_up",
    ),
    Mutation(
        "A passkey of another user is out of reach",
        "service/db/repositories/passkeys.py",
        '(PasskeyRow.id == bindparam("passkey_id")) & _of_user',
        '(PasskeyRow.id == bindparam("passkey_id")) & (_of_user | PasskeyRow.name.is_not(None))',
        f"{_PASSKEY_API}::test_change_passkey_of_another_user_gets_404",
    ),
    Mutation(
        "A user has a bounded number of passkeys",
        _PASSKEYS,
        "if len(await passkeys.list_all(owner.user.id)) >= PASSKEYS_PER_USER:",
        "if False:",
        f"{_PASSKEY_API}::test_add_more_passkeys_than_a_user_may_have_is_rejected",
    ),
    Mutation(
        "What a passkey sends does not grow when it is decoded",
        "service/security/plain_cbor.py",
        "if major == _TAG:",
        "if False:",
        "tests/security/test_plain_cbor.py::test_references_that_grow_exponentially_are_rejected"
        f" {_REGISTRATION_TESTS}::test_extensions_with_tags_are_rejected",
    ),
    Mutation(
        "A passkey that logs in alone has to name its user",
        _PASSKEY_LOGIN,
        " and user_handle == holder.passkey.user_id.bytes:",
        ":",
        f"{_PASSKEY_TESTS}::test_passkey_response_that_is_not_valid_fails_alike",
    ),
    Mutation(
        "Failed passkeys count for the networks of the client",
        _PASSKEY_LOGIN,
        "    error = await record_failure(tx, user_id, bucket, context=context, policies=policies)\n",
        "    error = None\n",
        f"{_PASSKEY_TESTS}::test_failures_of_passkeys_count_for_networks_alone",
    ),
    Mutation(
        "Failures in a network do not keep passkeys on a known device out",
        _PASSKEY_LOGIN,
        "if wait is not None and not is_known_device:",
        "if wait is not None:",
        f"{_PASSKEY_TESTS}::test_failures_of_passkeys_count_for_networks_alone",
    ),
    Mutation(
        "Challenges for passkeys are limited per network",
        _PASSKEY_LOGIN,
        '        wait = await counts.count("passkey challenge", context.networks, most)\n',
        "        wait = None\n",
        f"{_PASSKEY_TESTS}::test_challenges_for_passkeys_are_limited_per_network",
    ),
    Mutation(
        "A disabled user logs in by no passkey",
        _PASSKEY_LOGIN,
        "if user is None or user.state is not UserState.ACTIVE:",
        "if user is None:",
        f"{_PASSKEY_TESTS}::test_log_in_by_passkey_after_a_change_fails",
    ),
    Mutation(
        "A counter of signatures that goes back is recorded",
        "service/usecases/factor_proofs.py",
        "if is_there and self.login.sign_count_went_back:",
        "if False:",
        f"{_PASSKEY_TESTS}::test_counter_that_goes_back_is_told_and_not_fatal",
    ),
)
