"""Defences, how each is broken for a moment, and the test that has to notice. docs/security.md lists them."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Mutation:
    """One defence, taken out by replacing one piece of one file."""

    defence: str
    file: str
    old: str
    new: str
    test: str


_FLOWS, _FAULTS = "tests/flows", "tests/faults"
_SESSIONS, _THROTTLE = "service/usecases/sessions.py", "service/usecases/throttle.py"
_THROTTLE_SQL, _SESSIONS_SQL = "service/db/repositories/throttle.py", "service/db/repositories/sessions.py"
_POLICY, _CALLERS = "service/domain/passwords.py", "service/domain/callers.py"
_USERS_SQL, _LOGINS_SQL = "service/db/repositories/users.py", "service/db/repositories/login.py"
_PASSWORDS = "service/usecases/passwords.py"

MUTATIONS = (
    Mutation(
        "A disabled account is refused like a wrong password",
        _SESSIONS,
        "if self.credential is None or self.credential.user.state is State.DISABLED:",
        "if self.credential is None:",
        f"{_FAULTS}/test_login_races.py::test_disable_beside_log_ins_leaves_no_session_behind"
        f" {_FLOWS}/test_login.py::test_log_in_in_vain_verifies_against_the_parameters_of_the_day",
    ),
    Mutation(
        "A name without account costs a verification",
        "service/security/hashing/hasher.py",
        "            self._verify_dummy()\n            return False",
        "            return False",
        "tests/security/test_hashing.py",
    ),
    Mutation(
        "Guesses at once cost as much as guesses in a row",
        _THROTTLE_SQL,
        "where=not_(or_(_is_waiting, _hour_is_full, _in_a_row_is_full)),",
        "where=not_(literal(False)),",
        f"{_FLOWS}/test_throttle.py::test_guess_three_hundred_times_at_once_verifies_no_more_than_in_a_row",
    ),
    Mutation(
        "Guesses beyond the limit of a network tell nothing",
        _THROTTLE,
        "    if is_within or not bucket.network_limited:\n",
        "    if is_within is not None:\n",
        f"{_FLOWS}/test_throttle.py"
        "::test_guess_at_many_names_at_once_tells_no_more_than_the_limit_of_the_network",
    ),
    Mutation(
        "A right guess beyond the limit of a network tells nothing either",
        _SESSIONS,
        "network=context.network if bucket.network_limited else None",
        "network=None",
        f"{_FLOWS}/test_throttle.py"
        "::test_log_in_from_a_network_at_its_limit_is_not_told_that_the_password_was_right",
    ),
    Mutation(
        "Strangers do not lock out the owner's device",
        _SESSIONS,
        "    if credential.device_id is not None:\n        return",
        "    if False:\n        return",
        f"{_FLOWS}/test_throttle.py::test_guess_by_strangers_does_not_lock_out_the_owner",
    ),
    Mutation(
        "Neighbours do not lock out the owner's device",
        _THROTTLE,
        'return Bucket(_digest("device", str(device_id)), user_id)',
        'return Bucket(_digest("device", str(device_id)), user_id, network_limited=True)',
        f"{_FLOWS}/test_throttle.py::test_guess_by_neighbours_does_not_lock_out_the_owner_on_a_known_device",
    ),
    Mutation(
        "A success clears its own bucket only",
        _THROTTLE_SQL,
        'return delete(_Bucket).where(_Bucket.digest == bindparam("bucket"))',
        'return delete(_Bucket).where(_Bucket.digest != b"", bindparam("bucket") != b"")',
        f"{_FLOWS}/test_throttle.py::test_log_in_clears_its_own_bucket_and_no_other",
    ),
    Mutation(
        "At most a hundred failures in a row",
        _THROTTLE_SQL,
        '_Bucket.failures >= bindparam("failures_in_a_row", type_=Integer)',
        '_Bucket.failures >= 1000 * bindparam("failures_in_a_row", type_=Integer)',
        f"{_FLOWS}/test_throttle.py"
        "::test_guess_a_hundred_times_in_a_row_closes_the_account_to_strangers_for_good",
    ),
    Mutation(
        "What was not verified is given back",
        _THROTTLE,
        "        await uow.run(lambda tx: tx.throttle.refund(bucket.digest))\n",
        "",
        f"{_FAULTS}/test_processes.py"
        "::test_log_ins_without_memory_for_a_hash_are_refused_and_nothing_else_is",
    ),
    Mutation(
        "A changed current password is throttled",
        _PASSWORDS,
        "        if refusal is not None:\n            raise refusal\n",
        "",
        f"{_FLOWS}/test_throttle.py::test_change_the_password_wrongly_again_and_again_is_throttled",
    ),
    Mutation(
        "Forwarded addresses of anybody are not believed",
        "service/api/http/client_address.py",
        "if not trusted or (host and not _is_within(host, trusted)):",
        "if False:",
        f"{_FLOWS}/test_throttle.py::test_rotate_forwarded_addresses_changes_nothing_for_an_untrusted_peer",
    ),
    Mutation(
        "An IPv6 client counts by its /64",
        "service/api/http/client_address.py",
        "32 if parsed.version == 4 else 64",
        "32 if parsed.version == 4 else 128",
        f"{_FLOWS}/test_throttle.py::test_guess_from_one_network_more_than_twenty_times_a_minute_waits",
    ),
    Mutation(
        "Imported hashes are bounded in cost",
        "service/security/hashing/imported_hashes.py",
        "    _require_affordable(memory_kib <= MAX_MEMORY_KIB)\n",
        "",
        f"{_FLOWS}/test_login.py::test_log_in_on_a_hash_that_costs_too_much_fails_like_any_other",
    ),
    Mutation(
        "A hash of other parameters is replaced",
        _SESSIONS,
        "or not hasher.needs_rehash(old_hash)",
        "or old_hash",
        f"{_FLOWS}/test_login.py::test_log_in_on_an_imported_hash_replaces_it_by_ours",
    ),
    Mutation(
        "A session that lies unused ends",
        _SESSIONS_SQL,
        "(SessionRow.expires_at > func.now()) & (SessionRow.idle_expires_at > func.now())",
        "(SessionRow.expires_at > func.now())",
        f"{_FLOWS}/test_sessions.py::test_leave_a_session_unused_too_long_ends_it",
    ),
    Mutation(
        "A session ends, used or not",
        _SESSIONS_SQL,
        "(SessionRow.expires_at > func.now()) & (SessionRow.idle_expires_at > func.now())",
        "(SessionRow.idle_expires_at > func.now())",
        f"{_FLOWS}/test_sessions.py::test_use_a_session_beyond_its_life_ends_it",
    ),
    Mutation(
        "A use noted late does not revive a session",
        _SESSIONS_SQL,
        '        SessionRow.last_used_at < func.now() - bindparam("touch_interval", type_=Interval),\n'
        "        is_live(),\n",
        '        SessionRow.last_used_at < func.now() - bindparam("touch_interval", type_=Interval),\n',
        f"{_FLOWS}/test_sessions.py::test_touch_a_session_that_has_expired_leaves_it_expired",
    ),
    Mutation(
        "At most fifty sessions an account",
        _SESSIONS,
        "kept_count=policies.sessions.per_user",
        "kept_count=1000",
        f"{_FLOWS}/test_sessions.py::test_log_in_more_than_fifty_times_ends_the_longest_unused",
    ),
    Mutation(
        "A new role holds old sessions to its life",
        "service/usecases/users.py",
        "    if changed.role is not user.role:\n",
        "    if False:\n",
        f"{_FLOWS}/test_sessions.py::test_become_an_administrator_holds_old_sessions_to_the_shorter_life",
    ),
    Mutation(
        "Disabling ends sessions for good",
        "service/usecases/users.py",
        "    if changed.state is State.DISABLED and user.state is State.ACTIVE:\n",
        "    if False:\n",
        f"{_FLOWS}/test_sessions.py::test_enable_a_disabled_account_does_not_bring_its_sessions_back",
    ),
    Mutation(
        "Deleting oneself needs a recent log-in",
        "service/usecases/users.py",
        "        raise ReauthenticationRequired\n",
        "        pass\n",
        f"{_FLOWS}/test_sessions.py::test_delete_oneself_needs_a_log_in_of_the_last_ten_minutes",
    ),
    Mutation(
        "A log-in counts only while the password is the one that was verified",
        _LOGINS_SQL,
        'UserRow.password_hash == bindparam("verified_hash"),',
        'func.coalesce(bindparam("verified_hash"), "") != "",',
        f"{_FAULTS}/test_login_races.py"
        "::test_change_the_password_beside_log_ins_with_the_old_one_leaves_no_session_of_theirs",
    ),
    Mutation(
        "A log-in counts only while the account is active",
        _LOGINS_SQL,
        "            UserRow.state == literal_column(\"'active'\"),\n",
        "",
        f"{_FAULTS}/test_login_races.py::test_disable_beside_log_ins_leaves_no_session_behind",
    ),
    Mutation(
        "The last administrator survives two demotions at once",
        _USERS_SQL,
        "    .order_by(UserRow.id)\n    .with_for_update(key_share=True)\n",
        "    .order_by(UserRow.id)\n",
        f"{_FAULTS}/test_login_races.py::test_demote_each_other_at_once_leaves_one_administrator",
    ),
    Mutation(
        "A log-in beside the deletion of its account is refused, not failed",
        _THROTTLE_SQL,
        '        "user_id": _owner,\n',
        '        "user_id": bindparam("of_user", type_=_Bucket.user_id.type),\n',
        f"{_FAULTS}/test_login_races.py::test_delete_beside_log_ins_leaves_nothing_and_fails_nothing",
    ),
    Mutation(
        "A reset token works once",
        _PASSWORDS,
        "if owner is None or await tx.reset_tokens.take(digest) != user.id:",
        "if owner is None:",
        f"{_FLOWS}/test_passwords.py::test_redeem_a_reset_token_twenty_times_at_once_succeeds_exactly_once",
    ),
    Mutation(
        "A changed password ends the other sessions",
        _PASSWORDS,
        "    await tx.sessions.end_all(user_id, kept_id=session.session.id if session else None)\n",
        "",
        f"{_FLOWS}/test_passwords.py::test_change_the_password_ends_every_other_session_and_the_reset_token",
    ),
    Mutation(
        "A password set by another allows nothing but its change",
        "service/domain/callers.py",
        "        if caller.must_change_password and not self.while_password_change_is_due:\n",
        "        if False:\n",
        f"{_FLOWS}/test_passwords.py"
        "::test_log_in_with_a_password_set_by_another_allows_only_to_change_it_or_log_out",
    ),
    Mutation(
        "A password set by another cannot be kept",
        _PASSWORDS,
        "        raise ValidationFailed(_GIVEN)\n",
        "        pass\n",
        f"{_FLOWS}/test_passwords.py::test_keep_a_password_set_by_another_is_refused",
    ),
    Mutation(
        "Another's account reads as one that never was",
        "service/domain/callers.py",
        "            raise NotFound\n",
        "            pass\n",
        f"{_FLOWS}/test_access.py::test_look_at_another_account_reads_as_one_that_never_was",
    ),
    Mutation(
        "The database holds digests of tokens only",
        _SESSIONS,
        "NewSession(session_id, user.id, token.digest,",
        "NewSession(session_id, user.id, token.digest + token.value.encode(),",
        f"{_FLOWS}/test_login.py::test_log_in_gives_tokens_that_the_database_does_not_hold",
    ),
    Mutation(
        "What is logged of a failure repeats nothing",
        "service/observability/exception_report.py",
        'facts: dict[str, Any] = {"error": _name_of(error)}',
        'facts: dict[str, Any] = {"error": " ".join(map(str, chain))}',
        f"{_FLOWS}/test_secrets.py",
    ),
    Mutation(
        "Security events are logged",
        "service/db/core/unit_of_work.py",
        "        _audit.info(**line)\n",
        "        pass\n",
        f"{_FLOWS}/test_audit_trail.py::test_do_anything_that_matters_is_logged_once_it_is_done",
    ),
    Mutation(
        "A cancelled request leaves its hashing thread taken, and the queue",
        "service/security/hashing/pool.py",
        "await asyncio.wrap_future(future)",
        "await asyncio.shield(asyncio.wrap_future(future))",
        f"{_FLOWS}/test_admission.py"
        "::test_hang_up_while_hashing_keeps_the_thread_taken_and_while_waiting_leaves_the_queue",
    ),
    Mutation(
        "A flood from one network leaves room for others",
        "service/security/hashing/limiter.py",
        "if not self._line.gives_way_to(caller):",
        "if True:",
        f"{_FLOWS}/test_admission.py::test_flood_from_one_network_leaves_room_for_another",
    ),
    Mutation(
        "The work around hashes is let in a few at a time",
        "service/security/hashing/hasher.py",
        "_PERMITS_PER_WORKER = 3 ",
        "_PERMITS_PER_WORKER = 1000 ",
        f"{_FLOWS}/test_admission.py"
        "::test_log_in_while_others_are_let_in_waits_at_the_gate_and_nothing_else_does",
    ),
    Mutation(
        "A new password is long enough",
        _POLICY,
        "        if len(normal) < self.min_length:\n",
        "        if False:\n",
        f"{_FLOWS}/test_passwords.py::test_set_a_bad_password_anywhere_names_the_rule_and_repeats_nothing",
    ),
    Mutation(
        "A password beyond all bounds is not hashed",
        _POLICY,
        "        if self._is_too_long(password) or self._is_too_long(normal := _normal(password)):\n",
        "        if not (normal := _normal(password)):\n",
        f"{_FLOWS}/test_passwords.py::test_send_a_password_beyond_all_bounds_costs_no_hashing",
    ),
    Mutation(
        "A password is taken whole",
        _POLICY,
        "return nfc(raw.translate(_SPACES))",
        "return nfc(raw.translate(_SPACES)[:72])",
        f"{_FLOWS}/test_login.py::test_log_in_with_another_spelling_passes_only_where_the_text_is_the_same",
    ),
    Mutation(
        "A password is the same in every Unicode spelling",
        _POLICY,
        "return nfc(raw.translate(_SPACES))",
        "return raw.translate(_SPACES)",
        f"{_FLOWS}/test_login.py::test_log_in_with_another_spelling_passes_only_where_the_text_is_the_same",
    ),
    Mutation(
        "A common password is refused",
        _POLICY,
        "        if is_common(normal):\n",
        "        if False:\n",
        f"{_FLOWS}/test_passwords.py::test_set_a_bad_password_anywhere_names_the_rule_and_repeats_nothing",
    ),
    Mutation(
        "A password made of the login id is refused",
        _POLICY,
        "        if _is_derived(folded, context):\n",
        "        if False:\n",
        f"{_FLOWS}/test_passwords.py::test_set_a_bad_password_anywhere_names_the_rule_and_repeats_nothing",
    ),
    Mutation(
        "Cheap argon2 parameters do not start",
        "settings/passwords.py",
        "any(self.memory_kib >= memory and self.iterations >= least for memory, least in OWASP_FLOORS)",
        "bool(OWASP_FLOORS)",
        "tests/settings/test_sections.py",
    ),
    Mutation(
        "A hash that cannot be renewed does not fail the log-in",
        _SESSIONS,
        'await run_and_log("rehash", partial(_renew, uow, login, password, hasher))',
        "await _renew(uow, login, password, hasher)",
        f"{_FLOWS}/test_login.py::test_fail_to_renew_the_hash_leaves_the_log_in_standing",
    ),
    Mutation(
        "No more passwords wait to be hashed than there is room for",
        "service/security/hashing/limiter.py",
        "        self._limit = max_queue\n",
        "        self._limit = 10**9\n",
        f"{_FLOWS}/test_admission.py"
        "::test_hang_up_again_and_again_hashes_no_more_at_once_and_queues_no_more_than_allowed",
    ),
    Mutation(
        "A hash without memory is refused, and fails nothing",
        "service/security/hashing/hasher.py",
        "        except MemoryError:\n",
        "        except ZeroDivisionError:\n",
        f"{_FAULTS}/test_processes.py"
        "::test_log_ins_without_memory_for_a_hash_are_refused_and_nothing_else_is",
    ),
    Mutation(
        "Changing the password needs the current one",
        _PASSWORDS,
        "        if not is_right:\n            await uow.run(reject)\n",
        "        if False:\n            await uow.run(reject)\n",
        f"{_FLOWS}/test_passwords.py::test_change_the_password_without_the_right_current_one_changes_nothing",
    ),
    Mutation(
        "A reset token has an end",
        "service/db/repositories/reset_tokens.py",
        " & (ResetTokenRow.expires_at > func.now())",
        "",
        f"{_FLOWS}/test_passwords.py::test_redeem_every_bad_reset_token_gets_the_same_answer_and_no_hashing",
    ),
    Mutation(
        "A hop that cannot be read makes none believed",
        "service/api/http/client_address.py",
        "            return _canonical(host)\n",
        "            continue\n",
        "tests/api/test_client_address.py::test_client_of_a_trusted_proxy_gives_the_rightmost_stranger",
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
        '        if scheme.lower() != "bearer":\n',
        "        if False:\n",
        f"{_FLOWS}/test_access.py::test_send_other_headers_instead_of_a_token_gets_nowhere",
    ),
    Mutation(
        "A bad token is told from none by the challenge",
        "service/api/http/problems.py",
        'challenge = b\'Bearer error="invalid_token"\' if isinstance(error, InvalidToken) else b"Bearer"',
        'challenge = b"Bearer"',
        f"{_FLOWS}/test_access.py::test_refuse_a_bad_token_names_the_error_in_the_challenge",
    ),
    Mutation(
        "Users end their own sessions only",
        _SESSIONS,
        "return caller.is_admin or caller.user_id == session.user_id",
        "return session is not None",
        f"{_FLOWS}/test_sessions.py::test_end_another_users_session_is_not_found_and_changes_nothing",
    ),
    Mutation(
        "What is not granted is denied",
        _CALLERS,
        "            raise Forbidden\n",
        "            pass\n",
        f"{_FLOWS}/test_access.py"
        "::test_call_an_operation_is_granted_to_those_of_the_contract_and_to_nobody_else",
    ),
    Mutation(
        "A field that there is not is refused",
        "service/api/schemas/common.py",
        "forbid_unknown_fields=True",
        "forbid_unknown_fields=False",
        f"{_FLOWS}/test_access.py"
        "::test_change_a_field_of_oneself_that_is_not_ones_own_is_refused_whole"
        f" {_FLOWS}/test_access.py::test_act_in_the_name_of_another_by_body_is_refused",
    ),
    Mutation(
        "Nobody makes themselves an administrator",
        "service/usecases/users.py",
        "        raise Forbidden(_NOT_YOURS)\n",
        "        pass\n",
        f"{_FLOWS}/test_access.py::test_change_a_field_of_oneself_that_is_not_ones_own_is_refused_whole",
    ),
    Mutation(
        "Open registration gives no rights",
        "service/usecases/users.py",
        "    found += _privilege_faults(wanted, context.caller)\n",
        "",
        f"{_FLOWS}/test_access.py"
        "::test_register_openly_gives_no_rights_and_no_way_around_a_due_password_change",
    ),
    Mutation(
        "A login id has one form for all its spellings",
        "service/domain/users.py",
        "    login_id = raw.translate(_ASCII_LOWER)\n",
        "    login_id = raw\n",
        f"{_FAULTS}/test_login_races.py::test_create_one_login_id_fifty_times_at_once_makes_one_account",
    ),
    Mutation(
        "No other character is folded into a login id",
        "service/domain/users.py",
        "    login_id = raw.translate(_ASCII_LOWER)\n",
        '    login_id = __import__("unicodedata").normalize("NFKC", raw).lower().strip()\n',
        f"{_FLOWS}/test_login.py"
        "::test_log_in_with_another_spelling_of_the_login_id_reaches_the_account_only_by_ascii_case",
    ),
    Mutation(
        "A login id beyond ASCII keeps to RFC 8265",
        "service/domain/users.py",
        "            local = enforce_username(local)\n",
        "            pass\n",
        "tests/domain/test_users.py::test_canonical_login_id_that_precis_disallows_is_none",
    ),
    Mutation(
        "A name has a visible character",
        "service/domain/users.py",
        "(?=.*[LNPS])",
        "",
        "tests/api/test_login_ids.py::test_create_user_with_an_invisible_or_deceptive_name_names_the_rule",
    ),
    Mutation(
        "An id has one spelling",
        "service/domain/ids.py",
        "    if len(text) != _CANONICAL_LENGTH or not _CANONICAL_CHARACTERS.issuperset(text):\n"
        "        return None\n"
        "    try:\n"
        "        value = UUID(text)\n"
        "    except ValueError:\n"
        "        return None\n"
        "    return value if str(value) == text else None\n",
        "    try:\n        return UUID(text)\n    except ValueError:\n        return None\n",
        "tests/domain/test_ids.py",
    ),
)
