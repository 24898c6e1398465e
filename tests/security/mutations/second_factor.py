"""The second step of a login, and the step-up of a session."""

from tests.security.mutations.mutation import Mutation

_CHALLENGE_TESTS = "tests/flows/test_login_challenges.py"
_CHALLENGES_SQL = "service/db/repositories/login_challenges.py"
_FACTORS_SQL = "service/db/repositories/second_factors.py"
_PROOFS = "service/usecases/factor_proofs.py"
_RACES = "tests/faults/test_second_factor_races.py"
_SECOND_FACTOR = "service/usecases/second_factor.py"
_TESTS = "tests/flows/test_second_factor.py"
_THROTTLE_TESTS = "tests/flows/test_second_factor_throttle.py"

MUTATIONS = (
    Mutation(
        "A right password of a user with a second factor opens no session",
        "service/usecases/login.py",
        "    if user.factors:\n",
        "    if False:\n",
        f"{_TESTS}::test_right_password_with_a_factor_opens_no_session",
    ),
    Mutation(
        "A code by mail is one factor: a user with another is asked for it",
        "service/usecases/login_codes.py",
        "        if user.factors:\n",
        "        if False:\n",
        f"{_TESTS}::test_log_in_by_mailed_code_needs_the_second_factor_too",
    ),
    Mutation(
        "A right password forgives no failures while a second factor is to come",
        _SECOND_FACTOR,
        "await ThrottleRepository(tx).refund(bucket.digest)",
        "await ThrottleRepository(tx).clear(bucket.digest)",
        f"{_THROTTLE_TESTS}::test_right_password_clears_no_failures_of_a_known_network"
        f" {_THROTTLE_TESTS}::test_tries_count_with_wrong_passwords",
    ),
    Mutation(
        "Of the challenge of a login, the database holds a digest",
        _SECOND_FACTOR,
        ".add(token.digest, user.id, amr)",
        ".add(token.value.encode(), user.id, amr)",
        f"{_TESTS}::test_right_password_with_a_factor_opens_no_session",
    ),
    Mutation(
        "The challenge for a passkey is bound to that of the login",
        _PROOFS,
        'b"rollcall passkey\\0" + token.encode("ascii")',
        'b"rollcall passkey\\0"',
        f"{_CHALLENGE_TESTS}::test_passkey_response_is_good_for_its_own_challenge_only",
    ),
    Mutation(
        "Tries at a second factor count like wrong passwords",
        _SECOND_FACTOR,
        "refusal = await try_reserve(tx, step.bucket, policies=parts.policies)",
        "refusal: Refusal | None = None",
        f"{_THROTTLE_TESTS}::test_tries_count_with_wrong_passwords"
        f" {_RACES}::test_wrong_codes_at_once_are_verified_no_more_often_than_in_a_row",
    ),
    Mutation(
        "A challenge has five tries, counted before they are verified",
        _CHALLENGES_SQL,
        "& (LoginChallengeRow.tries < literal_column(str(CHALLENGE_TRIES)))",
        "",
        f"{_THROTTLE_TESTS}::test_challenge_has_five_tries"
        f" {_RACES}::test_tries_at_a_challenge_at_once_are_five",
    ),
    Mutation(
        "A throttled try is none at the challenge",
        _SECOND_FACTOR,
        "tx.abandon()  # the try was not made",
        "pass",
        f"{_THROTTLE_TESTS}::test_throttled_try_is_not_counted_at_the_challenge",
    ),
    Mutation(
        "A challenge expires",
        _CHALLENGES_SQL,
        "& (LoginChallengeRow.expires_at > func.now())",
        "",
        f"{_CHALLENGE_TESTS}::test_challenge_is_useless_after_a_change",
    ),
    Mutation(
        "A challenge opens one session",
        _SECOND_FACTOR,
        "    await challenges.use(step.digest)\n",
        "",
        f"{_CHALLENGE_TESTS}::test_challenge_is_served_once"
        f" {_RACES}::test_one_challenge_served_twenty_times_opens_one_session",
    ),
    Mutation(
        "A challenge is useless once its user is disabled or has no factor any more",
        _SECOND_FACTOR,
        "if user is None or user.state is not UserState.ACTIVE or not user.factors:",
        "if user is None:",
        f"{_CHALLENGE_TESTS}::test_challenge_is_useless_after_a_change",
    ),
    Mutation(
        "What ends all sessions of a user ends logins under way",
        "service/db/repositories/sessions.py",
        '_under_way = (_challenges.cte("challenges"), _codes.cte("codes"))',
        '_under_way = (_codes.cte("codes"),)',
        f"{_CHALLENGE_TESTS}::test_challenge_ends_with_the_sessions_of_its_user",
    ),
    Mutation(
        "A second factor beyond the limit of a network reveals nothing",
        _SECOND_FACTOR,
        "if proof is not None and wait is None else None",
        "if proof is not None else None",
        f"{_THROTTLE_TESTS}::test_second_factor_at_a_limit_that_is_reached_meanwhile_shows_nothing",
    ),
    Mutation(
        "A code of an authenticator app is good once, on every replica",
        _FACTORS_SQL,
        'TotpSecretRow.last_step < bindparam("step")',
        'TotpSecretRow.last_step <= bindparam("step")',
        f"{_RACES}::test_one_code_in_twenty_logins_opens_one_session",
    ),
    Mutation(
        "A recovery code is used up, with the session that it opens",
        _PROOFS,
        "if not await codes.use_recovery_code(user.id, self.digest):",
        "if not await codes.count_recovery_codes(user.id):",
        f"{_TESTS}::test_log_in_with_a_recovery_code_uses_it_up_and_tells_the_owner"
        f" {_RACES}::test_one_recovery_code_in_five_logins_opens_one_session",
    ),
    Mutation(
        "A passkey that is removed while it logs in opens no session",
        _FACTORS_SQL,
        "        return changed == 1",
        "        return changed >= 0",
        f"{_TESTS}::test_use_up_a_factor_removed_after_its_check_returns_none",
    ),
    Mutation(
        "A second factor belongs to the user of the challenge",
        _PROOFS,
        "passkey.user_id != user_id or ",
        "",
        f"{_TESTS}::test_factors_of_another_user_fail",
    ),
    Mutation(
        "Tries at a step-up are throttled in the session",
        "service/usecases/step_up.py",
        "        await reserve_attempt(tx, bucket, context=context, policies=parts.policies)\n",
        "",
        "tests/flows/test_passkey_login.py::test_step_up_with_a_wrong_factor_changes_nothing_and_is_throttled",
    ),
)
