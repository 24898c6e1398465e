"""Who may do what."""

from tests.security.mutations.mutation import CALLERS, FAULTS, FLOWS, LOGINS_SQL, THROTTLE_SQL, Mutation

_KEYS = "service/usecases/keys.py"
_USERS_SQL = "service/db/repositories/users.py"

MUTATIONS = (
    Mutation(
        "No fast digest of a password is stored",
        "service/api/idempotency.py",
        " if name not in SECRET_FIELDS",
        "",
        "tests/api/test_idempotency.py::test_digest_of_a_request_is_the_same_for_any_password",
    ),
    Mutation(
        "A stored response is deleted with the user in it",
        "service/api/idempotency.py",
        'response.body or b"", user_id)',
        'response.body or b"", None)',
        "tests/api/test_idempotency.py::test_delete_user_takes_the_stored_response_along",
    ),
    Mutation(
        "Anonymous callers of one network have idempotency keys of their own",
        "service/api/idempotency.py",
        """f"anonymous {fields['login_id']}\"""",
        "request.context.network",
        "tests/api/test_idempotency.py::test_idempotency_key_of_anonymous_callers_belongs_to_the_login_id",
    ),
    Mutation(
        "A key changes an administrator only with the scope for it",
        CALLERS,
        "if UserRole.ADMIN in roles and self.key is not None and not self.has_scope(Scope.ADMINS_WRITE):",
        "if False:",
        f"{FLOWS}/test_keys.py::test_key_changes_an_administrator_only_with_the_scope_for_it",
    ),
    Mutation(
        "A key is revoked with the administrator who created it",
        "service/usecases/users.py",
        "    if user.is_active_admin and not changed.is_active_admin:\n",
        "    if False:\n",
        f"{FLOWS}/test_keys.py::test_key_is_revoked_with_the_administrator_who_created_it",
    ),
    Mutation(
        "A former administrator creates no key",
        _KEYS,
        "    if user is None or not user.is_active_admin:\n",
        "    if user is None:\n",
        f"{FLOWS}/test_keys.py::test_create_key_after_losing_the_role_in_a_concurrent_transaction_gets_401",
    ),
    Mutation(
        "A key expires",
        _KEYS,
        "    if max_ttl is not None and key.expires_at > key.created_at + max_ttl:\n",
        "    if False:\n",
        f"{FLOWS}/test_keys.py::test_create_key_with_an_expiry_beyond_two_years_gets_422",
    ),
    Mutation(
        "A key that may not read gets no user in response to a write",
        "service/api/v1/users.py",
        "    if request.caller.key is not None and not request.caller.has_scope(Scope.USERS_READ):\n",
        "    if False:\n",
        f"{FLOWS}/test_keys.py::test_update_user_by_key_without_read_scope_gets_204_without_the_user",
    ),
    Mutation(
        "The name of a key is not taken for a login id",
        "service/api/schemas/introspection.py",
        "username=user.login_id if user is not None else UNSET,",
        "username=user.login_id if user is not None else str(token.subject_id),",
        f"{FLOWS}/test_keys.py::test_introspect_key_returns_client_id_and_no_username",
    ),
    Mutation(
        "An administrator who cannot log in does not replace the last one",
        _USERS_SQL,
        " if row.can_log_in}",
        "}",
        "tests/api/test_users.py::test_last_admin_with_a_password_of_its_own_cannot_be_lost",
    ),
    Mutation(
        "A login counts only while the password is the one that was verified",
        LOGINS_SQL,
        'UserRow.password_hash == bindparam("verified_hash"),',
        'func.coalesce(bindparam("verified_hash"), "") != "",',
        f"{FAULTS}/test_login_races.py"
        "::test_change_password_during_logins_with_the_old_one_leaves_no_session_of_them",
    ),
    Mutation(
        "A login counts only while the account is active",
        LOGINS_SQL,
        "            UserRow.state == literal_column(\"'active'\"),\n",
        "",
        f"{FAULTS}/test_login_races.py::test_disable_during_logins_leaves_no_session",
    ),
    Mutation(
        "The last administrator survives two demotions at once",
        _USERS_SQL,
        "    .order_by(UserRow.id)\n    .with_for_update(key_share=True)\n",
        "    .order_by(UserRow.id)\n",
        f"{FAULTS}/test_login_races.py::test_demote_each_other_concurrently_leaves_one_administrator",
    ),
    Mutation(
        "A login during the deletion of its user is rejected, not a 5xx",
        THROTTLE_SQL,
        '        "user_id": _owner,\n',
        '        "user_id": bindparam("of_user", type_=_Bucket.user_id.type),\n',
        f"{FAULTS}/test_login_races.py::test_delete_during_logins_leaves_no_session_and_no_5xx",
    ),
    Mutation(
        "Another user's account is the same 404 as a missing one",
        "service/domain/callers.py",
        "            raise NotFound\n",
        "            pass\n",
        f"{FLOWS}/test_access.py::test_get_user_of_another_gets_the_same_404_as_a_missing_one",
    ),
    Mutation(
        "One request reads at most a hundred users by id",
        "service/api/schemas/users.py",
        "max_length=PAGE_MAX,",
        "max_length=None,",
        "tests/api/test_query_params.py::test_list_by_ids_misspelt_too_many_or_with_a_filter_is_rejected",
    ),
    Mutation(
        "What is not granted is denied",
        CALLERS,
        "            raise Forbidden\n",
        "            pass\n",
        f"{FLOWS}/test_access.py::test_call_operation_is_granted_exactly_as_in_the_contract",
    ),
    Mutation(
        "An unknown field is rejected",
        "service/api/schemas/common.py",
        "forbid_unknown_fields=True",
        "forbid_unknown_fields=False",
        f"{FLOWS}/test_access.py"
        "::test_update_user_with_privileged_field_gets_403_and_changes_nothing"
        f" {FLOWS}/test_access.py::test_request_with_user_id_in_body_gets_422",
    ),
    Mutation(
        "Nobody makes themselves an administrator",
        "service/usecases/users.py",
        "        raise Forbidden(PRIVILEGED)\n",
        "        pass\n",
        f"{FLOWS}/test_access.py::test_update_user_with_privileged_field_gets_403_and_changes_nothing",
    ),
    Mutation(
        "Open registration gives no rights",
        "service/usecases/users.py",
        " + _privilege_errors(request, caller)",
        "",
        f"{FLOWS}/test_access.py::test_open_registration_grants_no_rights_and_no_bypass_of_forced_change",
    ),
)
