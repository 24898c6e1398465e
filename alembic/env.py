"""Run migrations for the `alembic` command and for `python -m service database …`."""

import asyncio
import sys
from typing import Any

from alembic import context
from alembic.util import CommandError
from click import ClickException

from service.db.migrations import autogenerate, operations, running
from service.db.migrations.lock_retry import LockRetryPolicy
from service.db.release_guard import ReleaseGuard
from service.db.tables import Base
from service.embedded.binaries import EmbeddedUnavailable
from service.embedded.server import EmbeddedPostgres
from service.services import explaining_database_errors
from settings import Settings, SettingsError, get_settings
from settings.libpq import discard_libpq_variables

operations.register()
discard_libpq_variables()

OPTIONS: dict[str, Any] = {
    "target_metadata": Base.metadata,
    "transaction_per_migration": True,
    "process_revision_directives": autogenerate.process_directives,
    **autogenerate.COMPARISON,
}


def run_offline() -> None:
    guard = ReleaseGuard("")  # without a database it only writes serves_from
    context.configure(
        dialect_name="postgresql", literal_binds=True, on_version_apply=guard.on_version_apply, **OPTIONS
    )
    with context.begin_transaction():
        context.run_migrations()


def run_online() -> None:
    """Run on the database that the caller passes in the attributes, or else on the configured one."""
    given = context.config.attributes
    if "dsn" in given:
        name, force = given.get("guard", ("rollcall", False))
        run_on(given["dsn"], given["lock_retry"], given["report"], ReleaseGuard(name, force=force))
        return
    try:
        settings = get_settings()
        with explaining_database_errors(settings.migrations_dsn, settings.migrations_variable):
            run_configured(settings)
    except SettingsError as error:
        raise CommandError("; ".join(error.problems)) from error
    except EmbeddedUnavailable as error:
        raise CommandError(str(error)) from error
    except ClickException as error:
        raise CommandError(error.message) from error


def run_configured(settings: Settings) -> None:
    lock_retry = LockRetryPolicy(settings.migrations.lock_timeout, settings.migrations.deadline)
    # alembic -x force=true upgrade head
    guard = ReleaseGuard(settings.service_name, force="force" in context.get_x_argument(as_dictionary=True))
    dsn = settings.migrations_dsn
    if dsn is not None:
        run_on(dsn, lock_retry, print_line, guard)
        if role := settings.migrations.serving_role:
            asyncio.run(running.grant_rights(dsn, role, lock_retry, print_line))
        return
    with EmbeddedPostgres(settings.database.embedded_dir) as postgres:
        run_on(postgres.dsn, lock_retry, print_line, guard)


def run_on(dsn: str, lock_retry: LockRetryPolicy, report: running.Report, guard: ReleaseGuard) -> None:
    options = {**OPTIONS, "on_version_apply": guard.on_version_apply}
    asyncio.run(running.run(dsn, context, options, lock_retry, report, guard.check))


def reject_merge() -> None:
    """Reject `alembic merge`: revisions are numbered, so two heads become one line instead."""
    command = getattr(context.config.cmd_opts, "cmd", None)
    if command is not None and command[0].__name__ == "merge":
        raise CommandError(
            "the revisions are one line: give the later of two heads the next number and down_revision"
        )


def print_line(line: str) -> None:
    sys.stderr.write(f"{line}\n")


reject_merge()
if context.is_offline_mode():
    run_offline()
else:
    run_online()
