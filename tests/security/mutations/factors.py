"""Second factors and passkeys."""

from tests.security.mutations.mutation import Mutation

_RECOVERY_CODES = "service/security/recovery_codes.py"
_TOTP = "service/security/totp.py"
_WEBAUTHN = "service/security/webauthn.py"
_WEBAUTHN_TESTS = "tests/security/test_webauthn.py"
_CHALLENGES_SQL = "service/db/repositories/passkey_challenges.py"
_DEVICE_API = "tests/api/test_devices.py"
_ENROLMENT = "service/usecases/totp.py"
_FACTORS = "service/usecases/factors.py"
_FACTOR_TESTS = "tests/flows/test_factors.py"
_FLOWS = "tests/flows"
_PASSKEY_API = "tests/api/test_passkeys.py"
_TOTP_API = "tests/api/test_totp.py"

_FACTORS_SQL = "service/db/repositories/second_factors.py"

_LOGIN = "service/usecases/login.py"

_PASSKEY_LOGIN = "service/usecases/passkey_login.py"

_PASSKEY_TESTS = "tests/flows/test_passkey_login.py"

_PROOFS = "service/usecases/factor_proofs.py"

_SECOND = "service/usecases/second_factor.py"

_SECOND_RACES = "tests/faults/test_second_factor_races.py"

_SECOND_TESTS = "tests/flows/test_second_factor.py"

_SESSIONS_SQL = "service/db/repositories/sessions.py"

_STEP_UP = "service/usecases/step_up.py"

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
        "service/security/webauthn.py",
        "_require_usable_key(verified.credential_public_key)",
        "pass",
        "tests/security/test_webauthn_registration.py::test_register_a_key_that_cannot_log_in_or_is_weak_is_rejected",
    ),
    Mutation(
        "No attestation is read that was not asked for",
        "service/security/webauthn.py",
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
        "The first second factor ends every session that has shown none",
        "service/usecases/factors.py",
        "        await SessionRepository(tx).end_all(user.id, kept_id=session.id)\n",
        "        pass\n",
        "tests/flows/test_factors.py::test_first_factor_ends_all_other_sessions_of_the_user"
        " tests/flows/test_factors.py::test_first_factor_ends_the_logins_under_way",
    ),
    Mutation(
        "A password alone changes no second factor of a user who has one",
        _FACTORS,
        "if user.factors and session.assurance < Assurance.TWO_FACTORS:",
        "if False:",
        f"{_FACTOR_TESTS}::test_session_of_a_password_alone_changes_no_factor_of_a_user_who_has_one",
    ),
    Mutation(
        "Changes of second factors come one after another",
        _FACTORS,
        "await UserRepository(tx).get_for_update(user_id) if",
        "await UserRepository(tx).get(user_id) if",
        "tests/faults/test_factor_races.py::test_confirm_one_code_many_times_at_once_enrols_once",
    ),
    Mutation(
        "A session that has ended meanwhile enrols nothing",
        _FACTORS,
        "await SessionRepository(tx).get(session_id) if session_id is not None else None",
        'getattr(context.caller.authenticated_session, "session", None)',
        "tests/faults/test_factor_races.py::test_remove_all_factors_beside_enrolment_leaves_none_or_a_whole_one",
    ),
    Mutation(
        "The last second factor takes the recovery codes with it",
        _FACTORS,
        "        await RecoveryCodeRepository(tx).remove_all(user_id)\n",
        "        pass\n",
        "tests/api/test_recovery_codes.py::test_remove_the_last_factor_removes_the_recovery_codes",
    ),
    Mutation(
        "Whose second factors are removed is logged out",
        _FACTORS,
        "    await SessionRepository(tx).end_all(user_id)\n",
        "",
        f"{_FACTOR_TESTS}::test_remove_factors_removes_all_and_ends_all_sessions",
    ),
    Mutation(
        "New second factors are told by mail",
        _FACTORS,
        "    await notify(tx, user, MailKind.FACTOR_ADDED, factor=factor.value)\n",
        "",
        f"{_FACTOR_TESTS}::test_change_of_factors_is_told_by_mail",
    ),
    Mutation(
        "A key removes second factors with authority over administrators alone",
        "service/api/v1/factors.py",
        "scope=Scope.ADMINS_WRITE",
        "scope=Scope.USERS_WRITE",
        f"{_FACTOR_TESTS}::test_remove_factors_by_key_needs_authority_over_administrators",
    ),
    Mutation(
        "Removing the factors of another needs a recent login",
        "service/api/v1/factors.py",
        "fresh=True",
        "fresh=False",
        f"{_FLOWS}/test_step_up.py::test_powerful_operation_with_a_login_ten_minutes_old_gets_403",
    ),
    Mutation(
        "Secrets of authenticator apps are encrypted at rest",
        _ENROLMENT,
        "secrets.encrypt(row_id, secret))",
        "secret)",
        f"{_TOTP_API}::test_enroll_totp_stores_the_secret_encrypted_for_its_row",
    ),
    Mutation(
        "Wrong codes of an enrolment are throttled",
        _ENROLMENT,
        "        await reserve_attempt(tx, bucket, context=context, policies=policies)\n",
        "",
        f"{_TOTP_API}::test_confirm_totp_with_wrong_codes_is_throttled_for_the_session_alone",
    ),
    Mutation(
        "The code that confirms an app cannot log in",
        _ENROLMENT,
        "confirm_pending(owner.user.id, step=step)",
        "confirm_pending(owner.user.id, step=0)",
        f"{_TOTP_API}::test_confirm_totp_notes_the_step_of_the_code",
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
        "service/usecases/passkeys.py",
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
        "service/usecases/passkeys.py",
        "if len(await passkeys.list_all(owner.user.id)) >= PASSKEYS_PER_USER:",
        "if False:",
        f"{_PASSKEY_API}::test_add_more_passkeys_than_a_user_may_have_is_rejected",
    ),
    Mutation(
        "To forget a device ends its sessions",
        "service/usecases/devices.py",
        ".end_of_device(device_id, user_id=user_id, kept_id=session.session.id)",
        ".end_of_device(user_id, user_id=user_id, kept_id=session.session.id)",
        f"{_DEVICE_API}::test_forget_device_ends_the_sessions_opened_from_it",
    ),
    Mutation(
        "A device of another user is out of reach",
        "service/db/repositories/devices.py",
        'bindparam("device_id"), DeviceRow.user_id ==',
        'bindparam("device_id"), DeviceRow.user_id !=',
        f"{_DEVICE_API}::test_forget_device_of_another_user_gets_404",
    ),
    Mutation(
        "What a passkey sends does not grow when it is decoded",
        "service/security/plain_cbor.py",
        "if major == _TAG:",
        "if False:",
        "tests/security/test_plain_cbor.py::test_references_that_grow_exponentially_are_rejected"
        " tests/security/test_webauthn_registration.py::test_extensions_with_tags_are_rejected",
    ),
    Mutation(
        "A right password of a user with a second factor opens no session",
        _LOGIN,
        "    if user.factors:\n",
        "    if False:\n",
        f"{_SECOND_TESTS}::test_right_password_with_a_factor_opens_no_session",
    ),
    Mutation(
        "A code by mail is one factor: a user with another is asked for it",
        "service/usecases/login_codes.py",
        "        if user.factors:\n",
        "        if False:\n",
        f"{_SECOND_TESTS}::test_log_in_by_mailed_code_needs_the_second_factor_too",
    ),
    Mutation(
        "A right password forgives no failures while a second factor is to come",
        "service/usecases/second_factor.py",
        "await ThrottleRepository(tx).refund(bucket.digest)",
        "await ThrottleRepository(tx).clear(bucket.digest)",
        "tests/flows/test_second_factor_throttle.py::test_right_password_clears_no_failures_of_a_known_network"
        " tests/flows/test_second_factor_throttle.py::test_tries_count_with_wrong_passwords",
    ),
    Mutation(
        "Of the challenge of a login, the database holds a digest",
        _SECOND,
        ".add(token.digest, user.id, amr)",
        ".add(token.value.encode(), user.id, amr)",
        f"{_SECOND_TESTS}::test_right_password_with_a_factor_opens_no_session",
    ),
    Mutation(
        "The challenge for a passkey is bound to that of the login",
        _PROOFS,
        'b"rollcall passkey\\0" + token.encode("ascii")',
        'b"rollcall passkey\\0"',
        f"{_SECOND_TESTS}::test_passkey_response_is_good_for_its_own_challenge_only",
    ),
    Mutation(
        "Tries at a second factor count like wrong passwords",
        "service/usecases/second_factor.py",
        "refusal = await try_reserve(tx, step.bucket, policies=parts.policies)",
        "refusal: Refusal | None = None",
        "tests/flows/test_second_factor_throttle.py::test_tries_count_with_wrong_passwords"
        f" {_SECOND_RACES}::test_wrong_codes_at_once_are_verified_no_more_often_than_in_a_row",
    ),
    Mutation(
        "A challenge has five tries, counted before they are verified",
        "service/db/repositories/login_challenges.py",
        "& (LoginChallengeRow.tries < literal_column(str(CHALLENGE_TRIES)))",
        "",
        "tests/flows/test_second_factor_throttle.py::test_challenge_has_five_tries"
        " tests/faults/test_second_factor_races.py::test_tries_at_a_challenge_at_once_are_five",
    ),
    Mutation(
        "A throttled try is none at the challenge",
        "service/usecases/second_factor.py",
        "tx.abandon()  # the try was not made",
        "pass",
        "tests/flows/test_second_factor_throttle.py::test_throttled_try_is_not_counted_at_the_challenge",
    ),
    Mutation(
        "A challenge expires",
        "service/db/repositories/login_challenges.py",
        "& (LoginChallengeRow.expires_at > func.now())",
        "",
        "tests/flows/test_second_factor.py::test_challenge_is_useless_after_a_change",
    ),
    Mutation(
        "A challenge opens one session",
        _SECOND,
        "    await challenges.use(step.digest)\n",
        "",
        f"{_SECOND_TESTS}::test_challenge_is_served_once"
        f" {_SECOND_RACES}::test_one_challenge_served_twenty_times_opens_one_session",
    ),
    Mutation(
        "A challenge is useless once its user is disabled or has no factor any more",
        _SECOND,
        "if user is None or user.state is not UserState.ACTIVE or not user.factors:",
        "if user is None:",
        f"{_SECOND_TESTS}::test_challenge_is_useless_after_a_change",
    ),
    Mutation(
        "What ends all sessions of a user ends logins under way",
        _SESSIONS_SQL,
        '_under_way = (_challenges.cte("challenges"), _codes.cte("codes"))',
        '_under_way = (_codes.cte("codes"),)',
        f"{_SECOND_TESTS}::test_challenge_ends_with_the_sessions_of_its_user",
    ),
    Mutation(
        "A second factor beyond the limit of a network tells nothing",
        "service/usecases/second_factor.py",
        "if proof is not None and wait is None else None",
        "if proof is not None else None",
        "tests/flows/test_second_factor_throttle.py::test_second_factor_at_a_limit_that_is_reached_meanwhile_shows_nothing",
    ),
    Mutation(
        "A code of an authenticator app is good once, on every replica",
        _FACTORS_SQL,
        'TotpSecretRow.last_step < bindparam("step")',
        'TotpSecretRow.last_step <= bindparam("step")',
        f"{_SECOND_RACES}::test_one_code_in_twenty_logins_opens_one_session",
    ),
    Mutation(
        "A recovery code is used up, with the session that it opens",
        _PROOFS,
        "if not await codes.use_recovery_code(user.id, self.digest):",
        "if not await codes.count_recovery_codes(user.id):",
        f"{_SECOND_TESTS}::test_log_in_with_a_recovery_code_uses_it_up_and_tells_the_owner"
        f" {_SECOND_RACES}::test_one_recovery_code_in_five_logins_opens_one_session",
    ),
    Mutation(
        "A passkey that is removed while it logs in opens no session",
        _FACTORS_SQL,
        "        return changed == 1",
        "        return changed >= 0",
        f"{_SECOND_TESTS}::test_factor_that_is_gone_when_it_is_used_up_is_none",
    ),
    Mutation(
        "A second factor belongs to the user of the challenge",
        _PROOFS,
        "passkey.user_id != user_id or ",
        "",
        f"{_SECOND_TESTS}::test_factors_of_another_user_fail",
    ),
    Mutation(
        "A passkey alone has to say whose it is",
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
        "Strangers in the network do not keep passkeys on a known device out",
        _PASSKEY_LOGIN,
        "if wait is not None and not is_known_device:",
        "if wait is not None:",
        f"{_PASSKEY_TESTS}::test_failures_of_passkeys_count_for_networks_alone",
    ),
    Mutation(
        "Challenges for passkeys are limited per network",
        _PASSKEY_LOGIN,
        "        wait = await counts.count_passkey_challenge(context.networks, policy)\n",
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
        "A counter of signatures that goes back is told",
        _PROOFS,
        "if is_there and self.login.sign_count_went_back:",
        "if False:",
        f"{_PASSKEY_TESTS}::test_counter_that_goes_back_is_told_and_not_fatal",
    ),
    Mutation(
        "Tries at a step-up are throttled in the session",
        _STEP_UP,
        "        await reserve_attempt(tx, bucket, context=context, policies=parts.policies)\n",
        "",
        f"{_PASSKEY_TESTS}::test_step_up_with_a_wrong_factor_changes_nothing_and_is_throttled",
    ),
    Mutation(
        "Who removes a factor that is demanded may only enrol another",
        "service/domain/sessions.py",
        "return not self.user.factors or self.session.assurance",
        "return self.session.assurance",
        f"{_TOTP_API}::test_session_without_a_required_factor_may_only_enrol_one",
    ),
    Mutation(
        "A step-up ends the token that may have been stolen",
        _STEP_UP,
        "    await sessions.renew_token(session.id, token.digest)\n",
        "",
        f"{_PASSKEY_TESTS}::test_step_up_ends_the_token_that_it_renews",
    ),
    Mutation(
        "An administrator removes no factor of its own by a password alone",
        _FACTORS,
        "    if user_id == context.caller.user_id:\n",
        "    if False:\n",
        "tests/flows/test_factors.py::test_admin_removes_no_factor_of_its_own_by_a_password_alone",
    ),
)
