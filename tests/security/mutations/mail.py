"""Mails, codes and addresses."""

from tests.security.mutations.mutation import Mutation

_ADAPTERS = "tests/adapters/test_smtp.py"
_CODES = "tests/flows/test_login_codes.py"
_DETAILS = "tests/api/test_details.py"
_MAIL = "tests/flows/test_mail.py"
_OUTBOX_SQL = "service/db/repositories/outbox.py"
_RENDERING = "tests/mail/test_rendering.py"
_REQUESTS = "service/usecases/mail_requests.py"
_SMTP = "service/adapters/smtp.py"

MUTATIONS = (
    Mutation(
        "A mail with a token goes to a verified address alone",
        _REQUESTS,
        "user is not None and user.verified_email is not None and user.state is UserState.ACTIVE",
        "user is not None and user.email is not None",
        f"{_MAIL}::test_recover_returns_the_same_bytes_and_mails_verified_addresses_of_active_users_alone",
    ),
    Mutation(
        "Whether there is an account decides nothing while a mail is asked for",
        _REQUESTS,
        "    if user is None or user.verified_email is None:\n        return\n    params",
        "    params",
        f"{_CODES}::test_request_a_code_without_a_user_looks_the_same_and_has_the_same_rows",
    ),
    Mutation(
        "Nobody's mailbox is flooded",
        "service/usecases/mail_throttle.py",
        "            raise MailThrottled(retry_after=max(1, ceil(wait.total_seconds())))\n",
        "            pass\n",
        f"{_MAIL}::test_request_mail_too_often_for_a_name_gets_429_whether_or_not_it_has_a_user"
        f" {_MAIL}::test_request_mail_too_often_from_a_network_gets_429",
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
        "        caller.require_recent_login(policies.sessions.step_up_ttl)\n",
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
        "return token_digest",
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
        f"{_CODES}::test_log_in_by_code_too_late_or_without_an_active_user_fails",
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
        "service/mail/filters.py",
        "escape(text).replace(",
        "Markup(text).replace(",
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
        "Mails are limited for the networks around a client too",
        _REQUESTS,
        "networks=context.networks,",
        "networks=context.networks[:1],",
        f"{_MAIL}::test_request_mail_too_often_from_the_networks_around_gets_429",
    ),
    Mutation(
        "A code ends with the sessions of its user",
        "service/db/repositories/sessions.py",
        '_under_way = (_challenges.cte("challenges"), _codes.cte("codes"))',
        '_under_way = (_challenges.cte("challenges"),)',
        f"{_CODES}::test_change_of_the_user_ends_a_code_that_was_mailed_before",
    ),
    Mutation(
        "A login under way ends with the address that its code may have come to",
        "service/usecases/details.py",
        "        await SessionRepository(tx).end_logins_under_way(user.id)\n",
        "",
        f"{_CODES}::test_change_of_the_user_ends_a_code_that_was_mailed_before"
        " tests/flows/test_second_factor.py::test_challenge_ends_with_the_sessions_of_its_user",
    ),
    Mutation(
        "Codes are tried, and failures recorded, so often from a network",
        "service/usecases/login_codes.py",
        "    error = await record_failure(tx, user_id, bucket, context=context, policies=policies)\n",
        "    error = None\n",
        f"{_CODES}::test_try_codes_without_end_is_limited_by_network_and_recorded_so_often",
    ),
    Mutation(
        "A network at its limit tries no code",
        "service/usecases/login_codes.py",
        "    if wait is not None and (",
        "    if False and (",
        f"{_CODES}::test_try_codes_without_end_is_limited_by_network_and_recorded_so_often",
    ),
    Mutation(
        "Strangers of a network do not keep the owner's device from a code",
        "service/usecases/login_codes.py",
        "user_id is None or await _known_device(tx, user_id, client) is None",
        "True",
        f"{_CODES}::test_try_codes_without_end_is_limited_by_network_and_recorded_so_often",
    ),
    Mutation(
        "A reset token ends when its user is disabled",
        "service/usecases/users.py",
        "        await ResetTokenRepository(tx).drop(user_id)\n",
        "",
        "tests/flows/test_passwords.py::test_disable_user_ends_its_reset_token",
    ),
    Mutation(
        "An address that a thief's session has asked for ends with a new password",
        "service/db/repositories/users.py",
        "        pending_email=null(),\n",
        "",
        f"{_MAIL}::test_end_of_a_stolen_session_ends_the_address_that_it_has_asked_for",
    ),
    Mutation(
        "An address that a thief's session has asked for ends with the sessions",
        "service/usecases/sessions.py",
        "    await forget_pending_address(tx, user)\n",
        "",
        f"{_MAIL}::test_end_of_a_stolen_session_ends_the_address_that_it_has_asked_for",
    ),
    Mutation(
        "An address that a thief's session has asked for ends when the user is disabled",
        "service/usecases/users.py",
        "        changed = await forget_pending_address(tx, changed)\n",
        "",
        f"{_MAIL}::test_end_of_a_stolen_session_ends_the_address_that_it_has_asked_for",
    ),
    Mutation(
        "Nobody has their link mailed to others as a login id",
        "service/mail/rendering.py",
        "if mail.kind == MailKind.VERIFY_EMAIL and ",
        "if False and ",
        f"{_RENDERING}::test_render_for_an_unverified_address_shows_no_login_id_that_reads_as_a_link",
    ),
    Mutation(
        "Notices of new devices do not flood a mailbox",
        "service/usecases/notices.py",
        'if not await may_mail(tx, "new device", str(user.id), policies=policies):',
        "if False:",
        f"{_CODES}::test_log_in_again_and_again_from_new_devices_mails_five_notices_an_hour",
    ),
)
