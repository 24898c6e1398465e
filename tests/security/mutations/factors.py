"""Second factors: what enrols, changes and removes them."""

from tests.security.mutations.mutation import Mutation

_CODE_TESTS = "tests/security/test_totp.py"
_ENROLMENT = "service/usecases/totp.py"
_FACTORS = "service/usecases/factors.py"
_FACTORS_API = "service/api/v1/factors.py"
_FACTOR_TESTS = "tests/flows/test_factors.py"
_RACES = "tests/faults/test_factor_races.py"
_TOTP = "service/security/totp.py"
_TOTP_API = "tests/api/test_totp.py"

MUTATIONS = (
    Mutation(
        "A code of an authenticator app counts once",
        _TOTP,
        "if is_equal and step >= earliest",
        "if is_equal",
        f"{_CODE_TESTS}::test_code_matches_only_a_step_after_the_last_accepted_one",
    ),
    Mutation(
        "A code of an authenticator app counts one step early or late",
        _TOTP,
        "(-1, 0, 1)",
        "(-2, -1, 0, 1, 2)",
        f"{_CODE_TESTS}::test_code_matches_one_step_early_or_late_and_no_more",
    ),
    Mutation(
        "The digest of a recovery code belongs to its user",
        "service/security/recovery_codes.py",
        "_PURPOSE + user_id.bytes + code",
        "_PURPOSE + code",
        "tests/security/test_recovery_codes.py::test_digest_of_the_same_code_of_another_user_differs",
    ),
    Mutation(
        "The first second factor ends every session that has shown none",
        _FACTORS,
        "        await SessionRepository(tx).end_all(user.id, kept_id=session.id)\n",
        "        pass\n",
        f"{_FACTOR_TESTS}::test_first_factor_ends_all_other_sessions_of_the_user"
        f" {_FACTOR_TESTS}::test_first_factor_ends_the_logins_under_way",
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
        f"{_RACES}::test_confirm_one_code_many_times_at_once_enrols_once",
    ),
    Mutation(
        "A session that has ended meanwhile enrols nothing",
        _FACTORS,
        "await SessionRepository(tx).get(session_id) if session_id is not None else None",
        'getattr(context.caller.authenticated_session, "session", None)',
        f"{_RACES}::test_remove_all_factors_beside_enrolment_leaves_none_or_a_whole_one",
    ),
    Mutation(
        "The last second factor takes the recovery codes with it",
        _FACTORS,
        "        await RecoveryCodeRepository(tx).delete_all(user_id)\n",
        "        pass\n",
        "tests/api/test_recovery_codes.py::test_remove_the_last_factor_removes_the_recovery_codes",
    ),
    Mutation(
        "Removing a user's second factors ends the user's sessions",
        _FACTORS,
        "    await SessionRepository(tx).end_all(user_id)\n",
        "",
        f"{_FACTOR_TESTS}::test_remove_factors_removes_all_and_ends_all_sessions",
    ),
    Mutation(
        "The owner is notified of new second factors",
        _FACTORS,
        "    await notify(tx, user, MailKind.FACTOR_ADDED, factor=factor.value)\n",
        "",
        f"{_FACTOR_TESTS}::test_change_of_factors_is_told_by_mail",
    ),
    Mutation(
        "A key removes second factors with authority over administrators alone",
        _FACTORS_API,
        "scope=Scope.ADMINS_WRITE",
        "scope=Scope.USERS_WRITE",
        f"{_FACTOR_TESTS}::test_remove_factors_by_key_needs_authority_over_administrators",
    ),
    Mutation(
        "Removing the factors of another needs a recent login",
        _FACTORS_API,
        "fresh=True",
        "fresh=False",
        "tests/flows/test_step_up.py::test_powerful_operation_with_a_login_ten_minutes_old_gets_403",
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
        "A session whose user removed a demanded factor may only enrol one",
        "service/domain/sessions.py",
        "return not self.user.factors or self.session.assurance",
        "return self.session.assurance",
        f"{_TOTP_API}::test_session_without_a_required_factor_may_only_enrol_one",
    ),
    Mutation(
        "A step-up ends the token that may have been stolen",
        "service/usecases/step_up.py",
        "    await sessions.renew_token(session.id, token.digest)\n",
        "",
        "tests/flows/test_passkey_login.py::test_step_up_ends_the_token_that_it_renews",
    ),
    Mutation(
        "An administrator removes no factor of its own by a password alone",
        _FACTORS,
        "    if user_id == context.caller.user_id:\n",
        "    if False:\n",
        "tests/flows/test_factors.py::test_admin_removes_no_factor_of_its_own_by_a_password_alone",
    ),
)
