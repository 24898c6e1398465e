"""Operation: roles, databases, logs, imports, exports and what is parked."""

from tests.security.mutations.mutation import FLOWS, Mutation

_GRANTS = "tests/migrations/test_grants.py"

MUTATIONS = (
    Mutation(
        "A logged failure repeats no message",
        "service/observability/exception_report.py",
        'fields: dict[str, Any] = {"error": _name_of(error)}',
        'fields: dict[str, Any] = {"error": " ".join(map(str, chain))}',
        f"{FLOWS}/test_secrets.py",
    ),
    Mutation(
        "Security events are logged",
        "service/db/core/database.py",
        "            _audit.info(**record)\n",
        "",
        f"{FLOWS}/test_audit_trail.py::test_every_audited_action_is_logged_after_its_commit",
    ),
    Mutation(
        "The role that serves cannot change or delete events",
        "service/db/migrations/grants.py",
        '"events": ("SELECT", "INSERT"),',
        '"events": READ_AND_WRITE,',
        f"{_GRANTS}::test_change_schema_or_trail_with_the_granted_rights_is_rejected",
    ),
    Mutation(
        "The role that serves deletes no event that is younger than 30 days",
        "service/db/migrations/grants.py",
        "    IF age < interval '30 days' THEN\n",
        "    IF false THEN\n",
        f"{_GRANTS}::test_change_schema_or_trail_with_the_granted_rights_is_rejected",
    ),
    Mutation(
        "No password is in the arguments of a process",
        "service/db/migrations/scratch.py",
        'await _run(source, "pg_dump", "--no-owner",',
        'await _run(source, "pg_dump", "--dbname", source, "--no-owner",',
        "tests/migrations/test_scratch.py"
        "::test_copy_of_a_database_in_use_shows_no_password_in_the_arguments_of_a_process",
    ),
    Mutation(
        "A copy for a rehearsal has no credential that works",
        "service/db/migrations/scratch.py",
        "            await remove_credentials(dsn_of(dsn, name))\n",
        "            pass\n",
        "tests/migrations/test_scratch.py"
        "::test_copy_of_a_database_has_every_row_but_no_credential_and_goes_away",
    ),
    Mutation(
        "An exported file is private",
        "service/cli/files.py",
        "if is_special else _private_file_beside(target)",
        "if is_special else target.with_suffix('.new').open('wb')",
        "tests/cli/test_users.py::test_export_to_a_file_makes_it_private_and_is_recorded",
    ),
    Mutation(
        "An export is in the audit trail",
        "service/cli/bulk.py",
        "await services.database.run(lambda tx: record_export(tx, context=AS_OPERATOR), caller=OPERATOR)",
        "pass",
        "tests/cli/test_users.py::test_export_to_a_file_makes_it_private_and_is_recorded",
    ),
    Mutation(
        "A standby is not ready",
        "service/db/core/server.py",
        "    if facts.is_standby:\n",
        "    if facts.is_standby and facts.version < 0:\n",
        "tests/faults/test_read_replica.py::test_ready_on_a_standby_alone_gets_503_and_names_the_reason",
    ),
    Mutation(
        "Several hosts are asked for the one that accepts writes",
        "settings/dsn.py",
        """    if "," not in unquote(hosts) or""",
        """    if hosts or""",
        "tests/settings/test_dsn.py::test_imply_writable_asks_several_hosts_for_the_one_that_accepts_writes",
    ),
    Mutation(
        "The authorities of the machine verify the host name, too",
        "settings/dsn.py",
        """    if parameters.setdefault("sslmode", "verify-full") != "verify-full":""",
        """    if parameters.setdefault("sslmode", "verify-full") == "disable":""",
        "tests/settings/test_dsn.py::test_normalise_dsn_for_anything_else_raises_without_quoting_it",
    ),
    Mutation(
        "libpq's variables do not redirect the service",
        "settings/libpq.py",
        "        del os.environ[name]\n",
        "        os.environ[name] = os.environ[name]\n",
        "tests/settings/test_libpq.py::test_discard_libpq_variables_removes_them_and_remembers_their_names",
    ),
    Mutation(
        "An error of a connection reveals no password",
        "service/db/core/connect_errors.py",
        "        return _BY_SQLSTATE[state]\n",
        '        return f"{_BY_SQLSTATE[state]} {error}"\n',
        "tests/db/test_connect_errors.py::test_connect_rejected_by_the_server_is_explained",
    ),
    Mutation(
        "An import loses no user whose id is taken",
        "service/usecases/imports.py",
        "    if owner_id is not None and (owner_id == user.id or not line.has_id):\n",
        "    if owners:\n",
        "tests/cli/test_bulk.py::test_import_of_an_id_that_another_user_has_rejects_the_line",
    ),
    Mutation(
        "An import loses no user of a repeated login id",
        "service/cli/bulk.py",
        "    if first != line.number:\n",
        "    if False:\n",
        "tests/cli/test_bulk.py::test_import_of_a_login_id_twice_in_a_file_names_both_lines",
    ),
    Mutation(
        "A report of an import is for its owner only",
        "service/cli/import_report.py",
        "        os.fchmod(descriptor, 0o600)\n",
        "",
        "tests/cli/test_bulk.py::test_import_of_a_thousand_bad_lines_among_five_thousand_reports_each",
    ),
    Mutation(
        "What is revoked while it is parked stays revoked",
        "service/db/migrations/parked_guards.py",
        "f' THEN DELETE FROM {parked} WHERE \"{credentials_of}\" = NEW.id; END IF; RETURN NULL;',",
        '" THEN RETURN NULL; END IF; RETURN NULL;",',
        "tests/migrations/test_parking.py::test_change_of_a_user_ends_its_parked_credentials_only",
    ),
    Mutation(
        "Parked responses do not outlive the user that they name",
        "service/db/migrations/parked_guards.py",
        'f"DELETE FROM {parked} WHERE position(OLD.id::text IN {mentions}) > 0; RETURN NULL;",',
        '"RETURN NULL;",',
        "tests/migrations/test_parking.py::test_delete_of_a_user_erases_the_parked_responses_that_name_it",
    ),
    Mutation(
        "Parked rows expire",
        "service/db/migrations/parked_guards.py",
        'f"DELETE FROM {parked} WHERE ctid = ANY (ARRAY({batch}));"',
        '"NULL;"',
        "tests/migrations/test_parking.py::test_purge_deletes_expired_rows_of_parked_tables",
    ),
    Mutation(
        "Parked codes and links end with a change of their user",
        "alembic/versions/0017_create_mail_requests.py",
        "credentials_of=owner, ",
        "",
        "tests/migrations/test_parking.py::test_change_of_a_user_ends_its_parked_credentials_only",
    ),
    Mutation(
        "A parked login under way ends with a change of its user",
        "alembic/versions/0018_add_factors.py",
        "credentials_of=owner, ",
        "",
        "tests/migrations/test_parking.py::test_change_of_a_user_ends_its_parked_credentials_only",
    ),
    Mutation(
        "Parked requests for mails expire",
        "alembic/versions/0017_create_mail_requests.py",
        ", expired=EXPIRED[table])",
        ")",
        "tests/migrations/test_parking.py::test_purge_deletes_expired_rows_of_parked_tables",
    ),
)
