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
_LOGIN, _SESSIONS = "service/usecases/login.py", "service/usecases/sessions.py"
_THROTTLE, _RECOVERY = "service/usecases/throttle.py", "service/usecases/recovery.py"
_THROTTLE_SQL, _SESSIONS_SQL = "service/db/repositories/throttle.py", "service/db/repositories/sessions.py"
_POLICY, _CALLERS = "service/domain/passwords.py", "service/domain/callers.py"
_USERS_SQL, _LOGINS_SQL = "service/db/repositories/users.py", "service/db/repositories/login.py"
_PASSWORDS = "service/usecases/passwords.py"
_REQUESTS, _DETAILS = "service/usecases/mail_requests.py", "tests/api/test_details.py"
_MAIL, _CODES = "tests/flows/test_mail.py", "tests/flows/test_login_codes.py"
_OUTBOX_SQL, _SMTP = "service/db/repositories/outbox.py", "service/adapters/smtp.py"
_ADAPTERS, _RENDERING = "tests/adapters/test_smtp.py", "tests/mail/test_rendering.py"

MUTATIONS = (
    Mutation(
        "A disabled account is refused like a wrong password",
        _LOGIN,
        "if self.credential is None or self.credential.user.state is UserState.DISABLED:",
        "if self.credential is None:",
        f"{_FAULTS}/test_login_races.py::test_disable_during_logins_leaves_no_session"
        f" {_FLOWS}/test_login.py::test_login_without_usable_hash_verifies_with_current_parameters",
    ),
    Mutation(
        "A name without account costs a verification",
        "service/security/hashing/scheme.py",
        "            self._verify_dummy()\n            return False",
        "            return False",
        "tests/security/test_scheme.py",
    ),
    Mutation(
        "Guesses at once cost as much as guesses in a row",
        _THROTTLE_SQL,
        "where=not_(or_(_is_waiting, _hour_is_full, _in_a_row_is_full)),",
        "where=not_(literal(False)),",
        f"{_FLOWS}/test_throttle.py::test_concurrent_logins_verify_no_more_guesses_than_sequential_ones",
    ),
    Mutation(
        "Guesses beyond the limit of a network tell nothing",
        _THROTTLE,
        "    if is_within or not bucket.network_limited:\n",
        "    if is_within is not None:\n",
        f"{_FLOWS}/test_network_throttle.py::test_concurrent_logins_to_many_users_stop_at_the_network_limit",
    ),
    Mutation(
        "A right guess beyond the limit of a network tells nothing either",
        _LOGIN,
        "network=context.network if bucket.network_limited else None",
        "network=None",
        f"{_FLOWS}/test_network_throttle.py::test_login_at_network_limit_does_not_reveal_a_right_password",
    ),
    Mutation(
        "Strangers do not lock out the owner's device",
        _LOGIN,
        "    if credential.device_id is not None:\n        return",
        "    if False:\n        return",
        f"{_FLOWS}/test_throttle.py::test_failures_from_unknown_devices_do_not_lock_out_the_owner",
    ),
    Mutation(
        "Neighbours do not lock out the owner's device",
        _THROTTLE,
        'return Bucket(_digest("device", str(device_id)), user_id)',
        'return Bucket(_digest("device", str(device_id)), user_id, network_limited=True)',
        f"{_FLOWS}/test_network_throttle.py::test_failures_from_the_same_network_do_not_lock_out_a_known_device",
    ),
    Mutation(
        "A success clears its own bucket only",
        _LOGINS_SQL,
        'where(LoginBucketRow.digest == bindparam("bucket_digest"))',
        'where(LoginBucketRow.digest != b"", bindparam("bucket_digest") != b"")',
        f"{_FLOWS}/test_throttle.py::test_login_clears_only_its_own_bucket",
    ),
    Mutation(
        "At most a hundred failures in a row",
        _THROTTLE_SQL,
        '_Bucket.failures >= bindparam("failures_in_a_row", type_=Integer)',
        '_Bucket.failures >= 1000 * bindparam("failures_in_a_row", type_=Integer)',
        f"{_FLOWS}/test_throttle.py"
        "::test_login_after_a_hundred_failures_in_a_row_stays_blocked_for_unknown_devices",
    ),
    Mutation(
        "What was not verified is given back",
        _THROTTLE,
        "        await database.run(lambda tx: ThrottleRepository(tx).refund(bucket.digest))\n",
        "",
        f"{_FAULTS}/test_processes.py"
        "::test_log_in_without_memory_for_a_hash_gets_503_and_other_requests_succeed",
    ),
    Mutation(
        "A changed current password is throttled",
        _PASSWORDS,
        "    await reserve_attempt(tx, bucket, context=context, policies=policies)\n",
        "",
        f"{_FLOWS}/test_throttle.py::test_change_password_after_repeated_failures_has_to_wait",
    ),
    Mutation(
        "Forwarded addresses of anybody are not believed",
        "service/api/http/client_address.py",
        "if not trusted or (host and not _is_within(host, trusted)):",
        "if False:",
        f"{_FLOWS}/test_network_throttle.py::test_forwarded_address_from_untrusted_peer_is_ignored",
    ),
    Mutation(
        "An IPv6 client counts by its /64",
        "service/api/http/client_address.py",
        "32 if parsed.version == 4 else 64",
        "32 if parsed.version == 4 else 128",
        f"{_FLOWS}/test_network_throttle.py::test_login_after_twenty_network_failures_in_a_minute_has_to_wait",
    ),
    Mutation(
        "Imported hashes are bounded in cost",
        "service/security/hashing/imported_hashes.py",
        "    _require_affordable(memory_kib <= MAX_MEMORY_KIB)\n",
        "",
        f"{_FLOWS}/test_login.py::test_login_with_too_expensive_hash_fails_like_a_wrong_password",
    ),
    Mutation(
        "A hash of other parameters is replaced",
        _LOGIN,
        "or not hasher.needs_rehash(old_hash)",
        "or old_hash",
        f"{_FLOWS}/test_login.py::test_login_with_imported_hash_rehashes_it",
    ),
    Mutation(
        "A session that lies unused ends",
        _SESSIONS_SQL,
        "(SessionRow.expires_at > func.now()) & (SessionRow.idle_expires_at > func.now())",
        "(SessionRow.expires_at > func.now())",
        f"{_FLOWS}/test_sessions.py::test_session_unused_beyond_idle_ttl_is_rejected",
    ),
    Mutation(
        "A session ends, used or not",
        _SESSIONS_SQL,
        "(SessionRow.expires_at > func.now()) & (SessionRow.idle_expires_at > func.now())",
        "(SessionRow.idle_expires_at > func.now())",
        f"{_FLOWS}/test_sessions.py::test_session_in_use_beyond_absolute_ttl_is_rejected",
    ),
    Mutation(
        "A use noted late does not revive a session",
        _SESSIONS_SQL,
        '        SessionRow.last_used_at < func.now() - bindparam("touch_interval", type_=Interval),\n'
        "        is_live(),\n",
        '        SessionRow.last_used_at < func.now() - bindparam("touch_interval", type_=Interval),\n',
        f"{_FLOWS}/test_sessions.py::test_touch_of_expired_session_does_not_revive_it",
    ),
    Mutation(
        "At most fifty sessions an account",
        _LOGIN,
        "kept_count=policies.sessions.per_user",
        "kept_count=1000",
        f"{_FLOWS}/test_sessions.py::test_login_beyond_fifty_sessions_ends_the_longest_unused",
    ),
    Mutation(
        "A new role holds old sessions to its life",
        "service/usecases/users.py",
        "    if changed.role is not user.role:\n",
        "    if False:\n",
        f"{_FLOWS}/test_sessions.py::test_grant_admin_shortens_existing_sessions",
    ),
    Mutation(
        "Disabling ends sessions for good",
        "service/usecases/users.py",
        "    if changed.state is UserState.DISABLED and user.state is UserState.ACTIVE:\n",
        "    if False:\n",
        f"{_FLOWS}/test_sessions.py::test_enable_user_does_not_restore_its_sessions",
    ),
    Mutation(
        "Deleting oneself needs a recent log-in",
        "service/usecases/users.py",
        "        raise ReauthenticationRequired\n",
        "        pass\n",
        f"{_FLOWS}/test_sessions.py::test_delete_own_user_needs_a_login_within_ten_minutes",
    ),
    Mutation(
        "A log-in counts only while the password is the one that was verified",
        _LOGINS_SQL,
        'UserRow.password_hash == bindparam("verified_hash"),',
        'func.coalesce(bindparam("verified_hash"), "") != "",',
        f"{_FAULTS}/test_login_races.py"
        "::test_change_password_during_logins_with_the_old_one_leaves_no_session_of_them",
    ),
    Mutation(
        "A log-in counts only while the account is active",
        _LOGINS_SQL,
        "            UserRow.state == literal_column(\"'active'\"),\n",
        "",
        f"{_FAULTS}/test_login_races.py::test_disable_during_logins_leaves_no_session",
    ),
    Mutation(
        "The last administrator survives two demotions at once",
        _USERS_SQL,
        "    .order_by(UserRow.id)\n    .with_for_update(key_share=True)\n",
        "    .order_by(UserRow.id)\n",
        f"{_FAULTS}/test_login_races.py::test_demote_each_other_concurrently_leaves_one_administrator",
    ),
    Mutation(
        "A log-in beside the deletion of its account is refused, not failed",
        _THROTTLE_SQL,
        '        "user_id": _owner,\n',
        '        "user_id": bindparam("of_user", type_=_Bucket.user_id.type),\n',
        f"{_FAULTS}/test_login_races.py::test_delete_during_logins_leaves_no_session_and_no_5xx",
    ),
    Mutation(
        "A reset token works once",
        _RECOVERY,
        "if owner is None or taken is None or taken[0] != user.id:",
        "taken = taken or (user.id, None)\n        if owner is None:",
        f"{_FLOWS}/test_passwords.py::test_redeem_reset_token_concurrently_succeeds_exactly_once",
    ),
    Mutation(
        "A mail with a token goes to a verified address alone",
        _REQUESTS,
        "user is not None and user.verified_email is not None and user.state is UserState.ACTIVE",
        "user is not None and user.email is not None",
        f"{_MAIL}::test_recover_answers_the_same_bytes_and_mails_verified_addresses_of_active_users_alone",
    ),
    Mutation(
        "Whether there is an account decides nothing while a mail is asked for",
        _REQUESTS,
        "    if user is None or user.verified_email is None:\n        return\n    params",
        "    params",
        f"{_CODES}::test_ask_for_a_code_without_an_account_looks_the_same_and_has_the_same_rows",
    ),
    Mutation(
        "Nobody's mailbox is flooded",
        "service/usecases/mail_throttle.py",
        "            raise MailThrottled(retry_after=max(1, ceil(wait.total_seconds())))\n",
        "            pass\n",
        f"{_MAIL}::test_ask_too_often_for_a_name_gets_429_whether_or_not_it_has_an_account"
        f" {_MAIL}::test_ask_too_often_from_a_network_gets_429",
    ),
    Mutation(
        "A change of address ends the tokens that were mailed to the old one",
        "service/usecases/details.py",
        "        await ResetTokenRepository(tx).drop_mailed(user.id)\n",
        "",
        f"{_MAIL}::test_change_of_address_ends_a_token_mailed_to_the_old_one",
    ),
    Mutation(
        "An address is verified for the user who has it now",
        "service/usecases/emails.py",
        " or taken.email not in (user.pending_email, user.email)",
        "",
        f"{_MAIL}::test_verify_an_address_that_was_changed_meanwhile_gets_401",
    ),
    Mutation(
        "A verified address has one owner",
        "service/db/core/constraints.py",
        '    "uq_users_email": EmailTaken,\n',
        "",
        f"{_MAIL}::test_verify_an_address_that_another_has_verified_gets_409",
    ),
    Mutation(
        "Users set what is theirs alone",
        "service/usecases/details.py",
        "        raise Forbidden(_PRIVILEGED)\n",
        "        pass\n",
        f"{_DETAILS}::test_update_own_details_is_granted_for_language_and_address_only",
    ),
    Mutation(
        "A new address needs a recent log-in",
        "service/usecases/details.py",
        "        raise ReauthenticationRequired\n",
        "        pass\n",
        f"{_DETAILS}::test_update_own_address_needs_a_recent_login",
    ),
    Mutation(
        "The one before learns of a new address",
        "service/usecases/details.py",
        "await notify(tx, user, MailKind.EMAIL_CHANGED, recipient=user.verified_email, new_email=new)",
        "pass",
        f"{_DETAILS}::test_replace_a_verified_address_tells_the_old_one",
    ),
    Mutation(
        "No letter is folded into somebody's address",
        "service/domain/emails.py",
        "raw.translate(_ASCII_LOWER).rpartition",
        '__import__("unicodedata").normalize("NFKC", raw).lower().rpartition',
        "tests/domain/test_emails.py::test_canonical_email_of_anything_else_is_none",
    ),
    Mutation(
        "A code has five tries, however many at once",
        "service/db/repositories/login_codes.py",
        ", LoginCodeRow.tries < literal_column(str(TRIES))",
        "",
        f"{_CODES}::test_log_in_by_code_has_five_tries",
    ),
    Mutation(
        "A code is for the browser that asked for it",
        _REQUESTS,
        'return hmac.digest(token_digest, code.encode("utf-8", "surrogatepass"), sha256)',
        'return hmac.digest(b"", code.encode("utf-8", "surrogatepass"), sha256)',
        f"{_CODES}::test_log_in_by_code_of_another_browser_fails",
    ),
    Mutation(
        "A code works once",
        "service/usecases/login_codes.py",
        "if user is None or not await LoginCodeRepository(tx).use(digest):",
        "if user is None:",
        f"{_CODES}::test_log_in_by_code_opens_a_session_once"
        f" {_CODES}::test_log_in_by_code_concurrently_opens_one_session",
    ),
    Mutation(
        "A code does not let a disabled account in",
        "service/db/repositories/code_logins.py",
        ", UserRow.state == literal_column(\"'active'\")",
        "",
        f"{_CODES}::test_log_in_by_code_too_late_or_without_an_active_account_fails",
    ),
    Mutation(
        "An address that is not verified lets nobody in",
        "service/db/repositories/emails.py",
        ", UserRow.email_verified_at.is_not(None))",
        ")",
        f"{_CODES}::test_log_in_with_a_verified_address_and_a_password_succeeds",
    ),
    Mutation(
        "A mail is sent by one process at a time",
        _OUTBOX_SQL,
        "    .with_for_update(skip_locked=True)\n    .cte",
        "    .cte",
        "tests/jobs/test_outbox.py::test_run_by_many_dispatchers_sends_each_mail_once",
    ),
    Mutation(
        "A process that has lost its lease marks nothing",
        _OUTBOX_SQL,
        '(OutboxRow.attempts == bindparam("attempt"))',
        '(bindparam("attempt") > literal(0))',
        "tests/jobs/test_outbox.py::test_run_by_one_that_lost_its_lease_marks_nothing",
    ),
    Mutation(
        "The seed of a token goes with its mail",
        _OUTBOX_SQL,
        "last_error=null(), token_seed=null(), params={}",
        "last_error=null(), params={}",
        "tests/jobs/test_outbox.py::test_run_restores_the_token_from_its_seed",
    ),
    Mutation(
        "Without the key, the database gives no token of a mail",
        "service/security/mail_tokens.py",
        'return hmac.digest(key, _PURPOSE + seed, "sha256")',
        'return hmac.digest(b"", _PURPOSE + seed, "sha256")',
        "tests/security/test_mail_tokens.py::test_restore_without_the_key_gives_nothing",
    ),
    Mutation(
        "A mail goes to another machine over TLS alone",
        _SMTP,
        "(None if server.is_loopback else True)",
        "None",
        f"{_ADAPTERS}::test_send_to_another_machine_without_starttls_sends_nothing",
    ),
    Mutation(
        "A mail server proves who it is",
        _SMTP,
        "            tls_context=self._tls,\n",
        "            validate_certs=False,\n",
        f"{_ADAPTERS}::test_send_with_a_wrong_certificate_sends_nothing",
    ),
    Mutation(
        "The words of a mail server are not kept: they may hold an address",
        _SMTP,
        'return f"smtp {code}"',
        'return f"smtp {code} {Exception}"',
        f"{_ADAPTERS}::test_send_to_a_refusing_server_tells_for_good_from_for_now_without_its_words",
    ),
    Mutation(
        "Names are escaped in mails",
        "service/mail/templates.py",
        "html_paragraphs, autoescape=True",
        "html_paragraphs, autoescape=False",
        f"{_RENDERING}::test_render_escapes_a_name_in_html",
    ),
    Mutation(
        "Nobody has their link mailed to others as a name",
        "service/mail/filters.py",
        'return "" if len(name) > _NAME_MAX or _LINK_LIKE.search(name) else name',
        "return name",
        f"{_RENDERING}::test_render_greets_nobody_by_what_may_be_read_as_an_address",
    ),
    Mutation(
        "A name from right to left reorders nothing around it",
        "service/mail/filters.py",
        'return f"{_ISOLATE}{text}{_END}"',
        "return text",
        f"{_RENDERING}::test_render_isolates_a_name_that_runs_from_right_to_left",
    ),
    Mutation(
        "A changed password ends the other sessions",
        _PASSWORDS,
        "    await SessionRepository(tx).end_all(user_id, kept_id=context.caller.session_id)\n",
        "",
        f"{_FLOWS}/test_passwords.py::test_change_password_ends_other_sessions_and_the_reset_token",
    ),
    Mutation(
        "A password set by another allows nothing but its change",
        "service/domain/callers.py",
        "        if caller.must_change_password and not self.allowed_during_forced_change:\n",
        "        if False:\n",
        f"{_FLOWS}/test_passwords.py::test_session_with_forced_change_can_only_change_password_or_log_out",
    ),
    Mutation(
        "A password set by another cannot be kept",
        _PASSWORDS,
        "        raise ValidationFailed(_PASSWORD_KEPT)\n",
        "        pass\n",
        f"{_FLOWS}/test_passwords.py::test_change_password_to_the_one_set_by_an_admin_gets_422",
    ),
    Mutation(
        "Another's account reads as one that never was",
        "service/domain/callers.py",
        "            raise NotFound\n",
        "            pass\n",
        f"{_FLOWS}/test_access.py::test_get_user_of_another_gets_the_same_404_as_a_missing_one",
    ),
    Mutation(
        "The database holds digests of tokens only",
        _LOGIN,
        "NewSession(session_id, user.id, token.digest,",
        "NewSession(session_id, user.id, token.digest + token.value.encode(),",
        f"{_FLOWS}/test_login.py::test_login_tokens_are_not_stored",
    ),
    Mutation(
        "What is logged of a failure repeats nothing",
        "service/observability/exception_report.py",
        'fields: dict[str, Any] = {"error": _name_of(error)}',
        'fields: dict[str, Any] = {"error": " ".join(map(str, chain))}',
        f"{_FLOWS}/test_secrets.py",
    ),
    Mutation(
        "Security events are logged",
        "service/db/core/database.py",
        "            _audit.info(**record)\n",
        "        pass\n",
        f"{_FLOWS}/test_audit_trail.py::test_every_audited_action_is_logged_after_its_commit",
    ),
    Mutation(
        "A cancelled request leaves its hashing thread taken, and the queue",
        "service/security/hashing/pool.py",
        "await asyncio.wrap_future(future)",
        "await asyncio.shield(asyncio.wrap_future(future))",
        f"{_FLOWS}/test_admission.py"
        "::test_disconnect_while_hashing_keeps_the_thread_and_while_queued_leaves_the_queue",
    ),
    Mutation(
        "A flood from one network leaves room for others",
        "service/security/hashing/limiter.py",
        "if self._queue.is_over_share(flow):",
        "if True:",
        f"{_FLOWS}/test_admission.py::test_login_during_flood_from_another_network_succeeds",
    ),
    Mutation(
        "The work around hashes is let in a few at a time",
        "service/security/hashing/hasher.py",
        "_PERMITS_PER_WORKER = 3 ",
        "_PERMITS_PER_WORKER = 1000 ",
        f"{_FLOWS}/test_admission.py::test_login_without_free_permit_waits_and_other_requests_do_not",
    ),
    Mutation(
        "A new password is long enough",
        _POLICY,
        "        if len(normal) < self.min_length:\n",
        "        if False:\n",
        f"{_FLOWS}/test_passwords.py::test_set_invalid_password_names_the_rule_and_does_not_echo_it",
    ),
    Mutation(
        "A password beyond all bounds is not hashed",
        _POLICY,
        "        if self._is_too_long(password) or self._is_too_long(normal := _normal(password)):\n",
        "        if not (normal := _normal(password)):\n",
        f"{_FLOWS}/test_passwords.py::test_set_oversized_password_is_not_hashed",
    ),
    Mutation(
        "A password is taken whole",
        _POLICY,
        "return nfc(raw.translate(_SPACES))",
        "return nfc(raw.translate(_SPACES)[:72])",
        f"{_FLOWS}/test_login.py::test_login_with_other_spelling_succeeds_only_for_equal_normal_form",
    ),
    Mutation(
        "A password is the same in every Unicode spelling",
        _POLICY,
        "return nfc(raw.translate(_SPACES))",
        "return raw.translate(_SPACES)",
        f"{_FLOWS}/test_login.py::test_login_with_other_spelling_succeeds_only_for_equal_normal_form",
    ),
    Mutation(
        "A common password is refused",
        _POLICY,
        "        if is_common(normal):\n",
        "        if False:\n",
        f"{_FLOWS}/test_passwords.py::test_set_invalid_password_names_the_rule_and_does_not_echo_it",
    ),
    Mutation(
        "A password made of the login id is refused",
        _POLICY,
        "        if _is_derived(folded, context):\n",
        "        if False:\n",
        f"{_FLOWS}/test_passwords.py::test_set_invalid_password_names_the_rule_and_does_not_echo_it",
    ),
    Mutation(
        "Cheap argon2 parameters do not start",
        "settings/passwords.py",
        "any(self.memory_kib >= memory and self.iterations >= least for memory, least in OWASP_MINIMUMS)",
        "bool(OWASP_MINIMUMS)",
        "tests/settings/test_sections.py",
    ),
    Mutation(
        "A hash that cannot be renewed does not fail the log-in",
        _LOGIN,
        "    except Exception as error:  # noqa: BLE001 - the login has succeeded\n",
        "    except ZeroDivisionError as error:\n",
        f"{_FLOWS}/test_login.py::test_login_succeeds_if_the_rehash_fails",
    ),
    Mutation(
        "No more passwords wait to be hashed than there is room for",
        "service/security/hashing/limiter.py",
        "        self.max_queue = max_queue\n",
        "        self.max_queue = 10**9\n",
        f"{_FLOWS}/test_admission.py::test_disconnect_repeatedly_exceeds_neither_threads_nor_queue",
    ),
    Mutation(
        "A hash without memory is refused, and fails nothing",
        "service/security/hashing/hasher.py",
        "        except MemoryError:\n",
        "        except ZeroDivisionError:\n",
        f"{_FAULTS}/test_processes.py"
        "::test_log_in_without_memory_for_a_hash_gets_503_and_other_requests_succeed",
    ),
    Mutation(
        "Changing the password needs the current one",
        _PASSWORDS,
        "if not await permit.verify(old_hash, current):",
        "if await permit.verify(old_hash, current) is None:",
        f"{_FLOWS}/test_passwords.py::test_change_password_with_wrong_current_password_changes_nothing",
    ),
    Mutation(
        "A reset token has an end",
        "service/db/repositories/reset_tokens.py",
        " & (ResetTokenRow.expires_at > func.now())",
        "",
        f"{_FLOWS}/test_passwords.py::test_redeem_bad_reset_token_has_the_same_response_without_hashing",
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
        f"{_FLOWS}/test_access.py::test_authenticate_by_other_headers_gets_401",
    ),
    Mutation(
        "A bad token is told from none by the challenge",
        "service/api/http/problems.py",
        'challenge = b\'Bearer error="invalid_token"\' if isinstance(error, InvalidToken) else b"Bearer"',
        'challenge = b"Bearer"',
        f"{_FLOWS}/test_access.py::test_authenticate_with_bad_token_names_the_error_in_the_challenge",
    ),
    Mutation(
        "Users end their own sessions only",
        _SESSIONS,
        "return caller.is_admin or caller.user_id == session.user_id",
        "return session is not None",
        f"{_FLOWS}/test_sessions.py::test_end_session_of_another_user_gets_404_and_changes_nothing",
    ),
    Mutation(
        "What is not granted is denied",
        _CALLERS,
        "            raise Forbidden\n",
        "            pass\n",
        f"{_FLOWS}/test_access.py::test_call_operation_is_granted_exactly_as_in_the_contract",
    ),
    Mutation(
        "A field that there is not is refused",
        "service/api/schemas/common.py",
        "forbid_unknown_fields=True",
        "forbid_unknown_fields=False",
        f"{_FLOWS}/test_access.py"
        "::test_update_user_with_privileged_field_gets_403_and_changes_nothing"
        f" {_FLOWS}/test_access.py::test_request_with_user_id_in_body_gets_422",
    ),
    Mutation(
        "Nobody makes themselves an administrator",
        "service/usecases/users.py",
        "        raise Forbidden(_PRIVILEGED)\n",
        "        pass\n",
        f"{_FLOWS}/test_access.py::test_update_user_with_privileged_field_gets_403_and_changes_nothing",
    ),
    Mutation(
        "Open registration gives no rights",
        "service/usecases/users.py",
        " + _privilege_errors(request, context.caller)",
        "",
        f"{_FLOWS}/test_access.py::test_open_registration_grants_no_rights_and_no_bypass_of_forced_change",
    ),
    Mutation(
        "A login id has one form for all its spellings",
        "service/domain/users.py",
        "    login_id = raw.translate(_ASCII_LOWER)\n",
        "    login_id = raw\n",
        f"{_FAULTS}/test_login_races.py::test_create_one_login_id_fifty_times_concurrently_creates_one_account",
    ),
    Mutation(
        "No other character is folded into a login id",
        "service/domain/users.py",
        "    login_id = raw.translate(_ASCII_LOWER)\n",
        '    login_id = __import__("unicodedata").normalize("NFKC", raw).lower().strip()\n',
        f"{_FLOWS}/test_login.py::test_login_with_other_spelling_of_login_id_ignores_ascii_case_only",
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
