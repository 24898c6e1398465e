"""Run revisions on a database that is in use."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from threading import Lock
from typing import Any, TypeAlias

from alembic import command
from alembic.runtime.migration import RevisionStep
from alembic.util import CommandError
from sqlalchemy import Connection, event, text
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from service.db.core.engine import create_engine
from service.db.core.server import unmet_need
from service.db.migrations import grants, parking
from service.db.migrations.history import alembic_config
from service.db.migrations.lock import IN_USE, blocking_sessions, ignore, migration_lock, waits_reported
from service.db.migrations.lock_retry import Attempts, LockRetryPolicy

Report = Callable[[str], None]

_DAY_S = 86_400.0

# A backend whose client was killed must not go on without the migration lock. What waits for an index for an
# hour, and the connection that holds the lock meanwhile, must not look dead to a firewall.
_SESSION_SETTINGS = """
    SELECT set_config(name, value, false)
    FROM pg_settings JOIN (VALUES
        ('client_connection_check_interval', '1000'), ('tcp_keepalives_idle', '60'),
        ('statement_timeout', '0'), ('transaction_timeout', '0'),
        ('idle_session_timeout', '0'), ('idle_in_transaction_session_timeout', '0')
    ) AS wanted (name, value) USING (name)
    WHERE source <> 'client'
"""

# Alembic keeps the current context in a module: only one thread may run it.
_ALEMBIC_LOCK = Lock()


MigrationFailed: TypeAlias = CommandError
"""What `migrate` raises with a sentence for the operator."""


class UnsuitableServer(CommandError):
    """The server or the database cannot hold the schema."""


class SchemaMoved(CommandError):
    """Another migration moved the schema while this one waited."""


def migrate(
    dsn: str,
    target: str,
    *,
    upward: bool,
    lock_retry: LockRetryPolicy | None = None,
    report: Report = ignore,
    more_versions: Path | None = None,
    service_name: str = "rollcall",
    force: bool = False,
) -> None:
    """Migrate the database at a libpq DSN to a revision. Drops are parked, and restored on the way up.

    Raises:
        DataCheckFailed, StillLocked, LockHeld, SchemaMoved, LiveProcessUnserved, UnsuitableServer: the
            schema is at the last completed revision. `force` does not raise the last but one.
        alembic.util.CommandError: the revision does not exist or is in the other direction.
    """
    config = alembic_config(
        more_versions=more_versions,
        dsn=dsn,
        lock_retry=lock_retry or LockRetryPolicy(),
        report=report,
        guard=(service_name, force),
    )
    with _ALEMBIC_LOCK:
        (command.upgrade if upward else command.downgrade)(config, target)


async def upgrade(dsn: str, target: str = "head", **options: Any) -> None:
    """Run `migrate` upward from inside an event loop."""
    await asyncio.to_thread(partial(migrate, dsn, target, upward=True, **options))


async def downgrade(dsn: str, target: str = "-1", **options: Any) -> None:
    """Run `migrate` downward from inside an event loop."""
    await asyncio.to_thread(partial(migrate, dsn, target, upward=False, **options))


async def drop_unfinished(dsn: str, lock_retry: LockRetryPolicy, report: Report = ignore) -> None:
    """Drop what an interrupted rollback has copied; its columns were not dropped yet."""
    await _run_locked(dsn, parking.drop_unfinished, lock_retry, report)


async def grant_rights(dsn: str, role: str, lock_retry: LockRetryPolicy, report: Report = ignore) -> None:
    """Grant the role that serves its rights in the present schema, and no others."""
    await _run_locked(dsn, partial(grants.grant, role=role), lock_retry, report)


async def purge(dsn: str, lock_retry: LockRetryPolicy, report: Report = ignore) -> None:
    """Delete everything parked. The next upgrade creates those tables and columns empty."""
    await _run_locked(dsn, parking.drop_all, lock_retry, report)


async def _run_locked(
    dsn: str, work: Callable[[Connection], None], lock_retry: LockRetryPolicy, report: Report
) -> None:
    def run_once(connection: Connection) -> None:
        _set_lock_timeout(connection, lock_retry)
        work(connection)
        connection.commit()

    engine = migration_engine(dsn)
    try:
        async with migration_lock(engine, lock_retry, report):
            await _retry_on_lock(engine, run_once, lock_retry.start(), report)
    finally:
        await engine.dispose()


def migration_engine(dsn: str) -> AsyncEngine:
    """Return an engine for schema changes: no request timeouts, no prepared statements.

    Timeouts of the role or the database are for requests, and end no migration; those of the DSN are kept.
    """
    engine = create_engine(
        dsn, pool_size=3, command_timeout=_DAY_S, application_name="rollcall-migrate", pgbouncer=True
    )
    event.listen(engine.sync_engine, "connect", _configure_session)
    return engine


def _configure_session(connection: DBAPIConnection, _record: object) -> None:
    cursor = connection.cursor()
    cursor.execute(_SESSION_SETTINGS)
    cursor.close()
    connection.commit()


async def require_suitable(connection: AsyncConnection) -> None:
    """Check that the server and the database can hold the schema.

    Raises:
        UnsuitableServer: they cannot; the message says what to do.
    """
    if unmet := await unmet_need(connection):
        raise UnsuitableServer(unmet)


@asynccontextmanager
async def connection_to(dsn: str) -> AsyncIterator[AsyncConnection]:
    """Yield a connection in autocommit mode."""
    engine = migration_engine(dsn)
    try:
        async with engine.connect() as connection:
            yield await connection.execution_options(isolation_level="AUTOCOMMIT")
    finally:
        await engine.dispose()


async def run(
    dsn: str,
    context: Any,
    options: dict[str, Any],
    lock_retry: LockRetryPolicy,
    report: Report,
    check: Callable[[Connection, list[Any]], None],
) -> None:
    """Run an `alembic` command with the context and options of `alembic/env.py`, its only caller.

    Each revision is one transaction. A revision whose lock times out is rolled back and retried. After an
    interruption, the next run continues at the last completed revision. `check` may reject the steps.
    """
    options = {**options, "lock_retry": lock_retry, "report": report}
    engine = migration_engine(dsn)
    try:
        async with engine.connect() as connection:
            steps = await connection.run_sync(_resolve_steps, context, options)
            await connection.run_sync(check, steps)
            if any(isinstance(step, RevisionStep) and step.is_upgrade for step in steps):
                await require_suitable(connection)
        if steps:
            async with migration_lock(engine, lock_retry, report):
                attempts = lock_retry.start()
                work = partial(_apply, context, options, steps, attempts, report)
                await _retry_on_lock(engine, work, attempts, report)
    finally:
        await engine.dispose()


def _resolve_steps(connection: Connection, context: Any, options: dict[str, Any]) -> list[Any]:
    """Resolve the steps once: a retry of `-1` must not go down a second step."""
    steps: list[Any] = []
    context.configure(connection=connection, **options)
    resolve = context.get_context().opts["fn"]

    def record(heads: tuple[str, ...], migration_context: Any) -> tuple[()]:
        steps.extend(resolve(heads, migration_context))
        return ()

    context.configure(connection=connection, fn=record, dont_mutate=True, **options)
    with context.begin_transaction():
        context.run_migrations()
    return steps


async def _retry_on_lock(
    engine: AsyncEngine, work: Callable[[Connection], None], attempts: Attempts, report: Report
) -> None:
    while True:
        try:
            async with engine.connect() as connection, waits_reported(engine, report):
                return await connection.run_sync(work)
        except DBAPIError as error:
            blockers = await blocking_sessions(engine)
            pause_s = attempts.next_pause_s(error, blockers)
        report(IN_USE.format(blockers=blockers, pause_s=pause_s))
        await asyncio.sleep(pause_s)


def _apply(
    context: Any,
    options: dict[str, Any],
    steps: list[Any],
    attempts: Attempts,
    report: Report,
    connection: Connection,
) -> None:
    """Apply the steps that remain from the current revision."""
    _set_lock_timeout(connection, options["lock_retry"])
    if any(isinstance(step, RevisionStep) and step.is_upgrade for step in steps):
        parking.drop_unfinished(connection)
        connection.commit()

    def remaining(heads: tuple[str, ...], _context: Any) -> Iterator[Any]:
        for step in _remaining(steps, heads):
            report(f"{'applying' if step.is_upgrade else 'rolling back'} {_revision(step)}")
            yield step
            attempts.restart()

    context.configure(connection=connection, fn=remaining, dont_mutate=False, **options)
    with context.begin_transaction():
        context.run_migrations()


def _remaining(steps: list[Any], heads: tuple[str, ...]) -> list[Any]:
    if not all(isinstance(step, RevisionStep) for step in steps):
        return steps
    for index, step in enumerate(steps):
        if set(step.from_revisions) == set(heads):
            return steps[index:]
    if set(steps[-1].to_revisions) == set(heads):
        return []
    raise SchemaMoved(f"another migration left the schema at {', '.join(heads) or 'base'} meanwhile")


def _revision(step: Any) -> str:
    return str(step.revision.revision) if isinstance(step, RevisionStep) else str(step)


def _set_lock_timeout(connection: Connection, lock_retry: LockRetryPolicy) -> None:
    connection.execute(text(f"SET lock_timeout = {lock_retry.lock_timeout_ms}"))
    connection.commit()
