"""Passwords and how they are changed."""

from tests.security.mutations.mutation import FLOWS, LOGIN, PASSWORDS, Mutation

_POLICY = "service/domain/passwords.py"
_RESET_TOKENS = "service/usecases/reset_tokens.py"

MUTATIONS = (
    Mutation(
        "Imported hashes are bounded in cost",
        "service/security/hashing/imported_hashes.py",
        "    _require_affordable(memory_kib <= MAX_MEMORY_KIB)\n",
        "",
        f"{FLOWS}/test_login.py::test_login_with_too_expensive_hash_fails_like_a_wrong_password",
    ),
    Mutation(
        "A hash of other parameters is replaced",
        LOGIN,
        "or not hasher.needs_rehash(old_hash)",
        "or old_hash",
        f"{FLOWS}/test_login.py::test_login_with_imported_hash_rehashes_it",
    ),
    Mutation(
        "A reset token works once",
        _RESET_TOKENS,
        "if owner is None or taken is None or taken.user_id != user.id:",
        "from service.db.repositories.user_tokens import TakenToken\n"
        "        taken = taken or TakenToken(user.id, None)\n        if owner is None:",
        f"{FLOWS}/test_reset_tokens.py::test_redeem_reset_token_concurrently_succeeds_exactly_once",
    ),
    Mutation(
        "A changed password ends the other sessions",
        PASSWORDS,
        "    await SessionRepository(tx).end_all(user_id, kept_id=kept_id)\n",
        "",
        f"{FLOWS}/test_passwords.py::test_change_password_ends_other_sessions_and_the_reset_token",
    ),
    Mutation(
        "A password set by another allows nothing but its change",
        "service/domain/callers.py",
        "        if caller.must_change_password and not self.allowed_during_forced_change:\n",
        "        if False:\n",
        f"{FLOWS}/test_passwords.py::test_session_with_forced_change_can_only_change_password_or_log_out",
    ),
    Mutation(
        "A password that an administrator chooses for a new account has to be changed",
        "service/usecases/passwords.py",
        "return caller.is_admin if wanted is None else wanted",
        "return bool(wanted)",
        f"{FLOWS}/test_passwords.py::test_create_user_with_a_password_forces_its_change_by_caller_and_wish",
    ),
    Mutation(
        "A password set by another ends after a day",
        "service/db/repositories/user_columns.py",
        "case((~is_expired, UserRow.password_hash))",
        "case((is_expired.is_not(None), UserRow.password_hash))",
        f"{FLOWS}/test_passwords.py::test_password_set_by_another_is_rejected_a_day_later",
    ),
    Mutation(
        "A password set by another cannot be kept",
        PASSWORDS,
        "        raise ValidationFailed(_PASSWORD_KEPT)\n",
        "        pass\n",
        f"{FLOWS}/test_passwords.py::test_change_password_to_the_one_set_by_an_admin_gets_422",
    ),
    Mutation(
        "A new password is long enough",
        _POLICY,
        "        if len(normal) < self.min_length:\n",
        "        if False:\n",
        f"{FLOWS}/test_passwords.py::test_set_invalid_password_names_the_rule_and_does_not_echo_it",
    ),
    Mutation(
        "A password beyond all bounds is not hashed",
        _POLICY,
        "        if self._is_too_long(password) or self._is_too_long(normal := _normal(password)):\n",
        "        if not (normal := _normal(password)):\n",
        f"{FLOWS}/test_passwords.py::test_set_oversized_password_is_not_hashed",
    ),
    Mutation(
        "A password is taken whole",
        _POLICY,
        "return nfc(raw.translate(_SPACES))",
        "return nfc(raw.translate(_SPACES)[:72])",
        f"{FLOWS}/test_login.py::test_login_with_other_spelling_succeeds_only_for_equal_normal_form",
    ),
    Mutation(
        "A password is the same in every Unicode spelling",
        _POLICY,
        "return nfc(raw.translate(_SPACES))",
        "return raw.translate(_SPACES)",
        f"{FLOWS}/test_login.py::test_login_with_other_spelling_succeeds_only_for_equal_normal_form",
    ),
    Mutation(
        "A common password is refused",
        _POLICY,
        "        if is_common(normal):\n",
        "        if False:\n",
        f"{FLOWS}/test_passwords.py::test_set_invalid_password_names_the_rule_and_does_not_echo_it",
    ),
    Mutation(
        "A password made of the login id is refused",
        _POLICY,
        "        if _is_derived(folded, context, self.min_length):\n",
        "        if False:\n",
        f"{FLOWS}/test_passwords.py::test_set_invalid_password_names_the_rule_and_does_not_echo_it",
    ),
    Mutation(
        "A password cut from a repeated login id is refused",
        _POLICY,
        "(_alphanumeric, (min_length + 1) // 2),",
        "(_alphanumeric, 1),",
        "tests/domain/test_passwords.py::test_violations_of_password_made_of_context_blocks_it",
    ),
    Mutation(
        "Changing the password needs the current one",
        PASSWORDS,
        "if not await permit.verify(old_hash, *current):",
        "if await permit.verify(old_hash, *current) is None:",
        f"{FLOWS}/test_passwords.py::test_change_password_with_wrong_current_password_changes_nothing",
    ),
    Mutation(
        "A reset token has an end",
        "service/db/repositories/user_tokens.py",
        " & (table.expires_at > func.now())",
        "",
        f"{FLOWS}/test_reset_tokens.py::test_redeem_bad_reset_token_has_the_same_response_without_hashing",
    ),
)
