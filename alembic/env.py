"""Run migrations for the `alembic` command and for `python -m service database …`."""

import asyncio
import sys
from typing import Any

from alembic import context
from alembic.util import CommandError

from service.db.migrations import autogenerate, operations, running
from service.db.migrations.lock_retry import LockRetryPolicy
from service.db.tables import Base
from service.embedded.binaries import EmbeddedUnavailable
from service.embedded.server import EmbeddedPostgres
from settings import Settings, SettingsError, get_settings

operations.register()

OPTIONS: dict[str, Any] = {
    "target_metadata": Base.metadata,
    "transaction_per_migration": True,
    "process_revision_directives": autogenerate.process_directives,
    **autogenerate.COMPARISON,
}


def run_offline() -> None:
    context.configure(dialect_name="postgresql", literal_binds=True, **OPTIONS)
    with context.begin_transaction():
        context.run_migrations()


def run_online() -> None:
    """Run on the database that the caller passes in the attributes, or else on the configured one."""
    given = context.config.attributes
    if "dsn" in given:
        run_on(given["dsn"], given["lock_retry"], given["report"])
        return
    try:
        run_configured(get_settings())
    except SettingsError as error:
        raise CommandError("; ".join(error.problems)) from error
    except EmbeddedUnavailable as error:
        raise CommandError(str(error)) from error


def run_configured(settings: Settings) -> None:
    lock_retry = LockRetryPolicy(settings.migrations.lock_timeout, settings.migrations.deadline)
    dsn = settings.migrations_dsn
    if dsn is not None:
        run_on(dsn, lock_retry, say)
        return
    with EmbeddedPostgres(settings.database.embedded_dir) as postgres:
        run_on(postgres.dsn, lock_retry, say)


def run_on(dsn: str, lock_retry: LockRetryPolicy, report: running.Report) -> None:
    asyncio.run(running.run(dsn, context, OPTIONS, lock_retry, report))


def say(line: str) -> None:
    sys.stderr.write(f"{line}\n")


if context.is_offline_mode():
    run_offline()
else:
    run_online()
