"""Sessions and their tokens."""

from tests.security.mutations.mutation import CALLERS, FLOWS, LOGINS_SQL, PASSWORDS, THROTTLE, Mutation

_SESSIONS = "service/usecases/sessions.py"
_SESSIONS_SQL = "service/db/repositories/sessions.py"

MUTATIONS = (
    Mutation(
        "An unused session ends",
        _SESSIONS_SQL,
        "(SessionRow.expires_at > func.now()) & (SessionRow.idle_expires_at > func.now())",
        "(SessionRow.expires_at > func.now())",
        f"{FLOWS}/test_sessions.py::test_session_unused_beyond_idle_ttl_is_rejected",
    ),
    Mutation(
        "A session ends at its absolute lifetime, in use or not",
        _SESSIONS_SQL,
        "(SessionRow.expires_at > func.now()) & (SessionRow.idle_expires_at > func.now())",
        "(SessionRow.idle_expires_at > func.now())",
        f"{FLOWS}/test_sessions.py::test_session_in_use_beyond_absolute_ttl_is_rejected",
    ),
    Mutation(
        "A use recorded late does not revive a session",
        _SESSIONS_SQL,
        '(SessionRow.last_used_at < func.now() - bindparam("touch_interval", type_=Interval)),\n'
        "        is_live(),\n",
        '(SessionRow.last_used_at < func.now() - bindparam("touch_interval", type_=Interval)),\n',
        f"{FLOWS}/test_sessions.py::test_touch_of_expired_session_does_not_revive_it",
    ),
    Mutation(
        "At most two hundred sessions an account",
        "service/usecases/open_session.py",
        "kept_count=policy.per_user",
        "kept_count=1000",
        "tests/flows/test_sessions.py::test_login_beyond_two_hundred_sessions_ends_the_longest_unused",
    ),
    Mutation(
        "A session in use outlives those that never were",
        LOGINS_SQL,
        "used_at.desc().nulls_last()",
        "used_at.desc().nulls_first()",
        f"{FLOWS}/test_sessions.py"
        "::test_login_beyond_two_hundred_sessions_ends_one_that_was_never_used_first",
    ),
    Mutation(
        "A session in use is known before its use is written",
        "service/usecases/open_session.py",
        "used_ids=parts.last_used.recorded_sessions_of(user.id)",
        "used_ids=()",
        "tests/flows/test_sessions.py::test_login_beyond_two_hundred_sessions_keeps_one_whose_use_is_not_written_yet",
    ),
    Mutation(
        "A new role ends old sessions",
        "service/usecases/users.py",
        "    elif changed.role is not user.role:\n",
        "    elif False:\n",
        f"{FLOWS}/test_session_revocation.py::test_change_role_ends_the_sessions_of_the_user",
    ),
    Mutation(
        "A body that was held back is authenticated when it is there",
        "service/api/pipeline.py",
        "        body = await _read_body(operation, fields, receive)\n"
        "        caller = await self._authenticate(fields, body, operation)\n",
        "        caller = await self._authenticate(fields, None, operation)\n"
        "        body = await _read_body(operation, fields, receive)\n",
        f"{FLOWS}/test_revocation_races.py"
        "::test_key_revoked_while_the_body_is_held_gets_401_and_changes_nothing",
    ),
    Mutation(
        "What was revoked before a transaction changes nothing in it",
        "service/db/core/transaction.py",
        '        if status == "SELECT 0":\n',
        '        if status == "SELECT never":\n',
        f"{FLOWS}/test_revocation_races.py"
        "::test_session_revoked_before_the_transaction_gets_401_and_changes_nothing"
        f" {FLOWS}/test_revocation_races.py"
        "::test_key_revoked_before_the_transaction_gets_401_and_changes_nothing",
    ),
    Mutation(
        "A session that has expired opens no transaction",
        "service/db/repositories/authority.py",
        "        is_live(),\n",
        "",
        f"{FLOWS}/test_revocation_races.py::test_session_expired_before_the_transaction_gets_401",
    ),
    Mutation(
        "Disabling ends sessions for good",
        "service/usecases/users.py",
        "    if changed.state is UserState.DISABLED and user.state is UserState.ACTIVE:\n",
        "    if False:\n",
        f"{FLOWS}/test_session_revocation.py::test_enable_user_does_not_restore_its_sessions",
    ),
    Mutation(
        "A powerful operation needs a recent login",
        CALLERS,
        "if self.authenticated_session is not None and self.authenticated_session.auth_age > ttl:",
        "if False:",
        f"{FLOWS}/test_step_up.py::test_powerful_operation_with_a_login_ten_minutes_old_gets_403"
        f" {FLOWS}/test_sessions.py::test_delete_own_user_needs_a_login_within_ten_minutes",
    ),
    Mutation(
        "A login with a session of the same user ends that session",
        "service/usecases/open_session.py",
        "    await end_replaced_session(tx, user, client.replaced_digest, context)\n",
        "",
        "tests/flows/test_step_up.py::test_log_in_with_a_session_of_the_same_user_ends_that_session",
    ),
    Mutation(
        "Changing one's own password forgets the other devices",
        PASSWORDS,
        "    await DeviceRepository(tx).delete_all(user_id, but_of_session=kept_id)\n",
        "",
        f"{FLOWS}/test_step_up.py::test_change_own_password_forgets_all_devices_except_that_of_the_session",
    ),
    Mutation(
        "A thief of one session cannot block the password change in another",
        THROTTLE,
        'digests.of("session", str(session_id))',
        'digests.of("session", str(user_id))',
        f"{FLOWS}/test_step_up.py::test_wrong_passwords_in_one_session_do_not_block_the_change_in_another",
    ),
    Mutation(
        "The database holds digests of tokens only",
        "service/usecases/open_session.py",
        "user.id, token.digest, lifetime",
        "user.id, token.digest + token.value.encode(), lifetime",
        "tests/flows/test_login.py::test_login_tokens_are_not_stored",
    ),
    Mutation(
        "Tokens have 256 random bits",
        "service/security/tokens.py",
        "_SECRET_BYTES = 32",
        "_SECRET_BYTES = 8",
        "tests/security/test_tokens.py",
    ),
    Mutation(
        "A token counts only after Bearer",
        "service/api/authentication.py",
        ' if scheme.lower() == "bearer" else None',
        "",
        f"{FLOWS}/test_access.py::test_authenticate_by_other_headers_gets_401",
    ),
    Mutation(
        "The challenge distinguishes a bad token from none",
        "service/api/http/problems.py",
        'return b\'Bearer error="invalid_token"\' if isinstance(error, InvalidToken) else b"Bearer"',
        'return b"Bearer"',
        f"{FLOWS}/test_access.py::test_authenticate_with_bad_token_names_the_error_in_the_challenge",
    ),
    Mutation(
        "Users end their own sessions only",
        _SESSIONS,
        "return caller.is_admin or caller.user_id == session.user_id",
        "return session is not None",
        f"{FLOWS}/test_sessions.py::test_end_session_of_another_user_gets_404_and_changes_nothing",
    ),
    Mutation(
        "Users read their own sessions only",
        _SESSIONS,
        "if session is None or not _may_access(caller, session):",
        "if session is None:",
        "tests/api/test_sessions.py::test_get_session_of_another_is_the_same_404_as_of_nobody",
    ),
    Mutation(
        "Forgetting a device ends its sessions",
        "service/usecases/devices.py",
        ".end_of_device(device_id, user_id=user_id, kept_id=session.session.id)",
        ".end_of_device(user_id, user_id=user_id, kept_id=session.session.id)",
        "tests/api/test_devices.py::test_forget_device_ends_the_sessions_opened_from_it",
    ),
    Mutation(
        "A device of another user is out of reach",
        "service/db/repositories/devices.py",
        'bindparam("device_id"), DeviceRow.user_id ==',
        'bindparam("device_id"), DeviceRow.user_id !=',
        "tests/api/test_devices.py::test_forget_device_of_another_user_gets_404",
    ),
)
