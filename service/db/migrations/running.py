"""Running revisions against a database that is in use."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from threading import Lock
from typing import Any

from alembic import command
from alembic.runtime.migration import RevisionStep
from alembic.util import CommandError
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from service.db.core.engine import create_engine
from service.db.migrations import parking
from service.db.migrations.history import alembic_config
from service.db.migrations.lock import blocking_sessions, migration_lock
from service.db.migrations.lock_retry import LockRetryPolicy

Report = Callable[[str], None]

_DAY_S = 86_400.0

# Alembic keeps what it is doing in a module: two threads would take each other's steps.
_ONE_AT_A_TIME = Lock()


class SchemaMoved(CommandError):
    """Another migration took the schema elsewhere while this one waited for it."""


def _say_nothing(_line: str) -> None:
    pass


def migrate(
    dsn: str,
    target: str,
    *,
    upward: bool,
    lock_retry: LockRetryPolicy | None = None,
    report: Report = _say_nothing,
    more_versions: Path | None = None,
) -> None:
    """Bring the database at a libpq DSN to a revision. What goes is parked; what was parked comes back.

    Raises:
        DataInTheWay, StillLocked, LockHeld, SchemaMoved: it stays at the last revision that was completed.
        alembic.util.CommandError: there is no such revision, or it lies the other way.
    """
    config = alembic_config(
        more_versions=more_versions, dsn=dsn, lock_retry=lock_retry or LockRetryPolicy(), report=report
    )
    with _ONE_AT_A_TIME:
        (command.upgrade if upward else command.downgrade)(config, target)


async def upgrade(dsn: str, target: str = "head", **options: Any) -> None:
    """Bring a database up to a revision; as `migrate`, from inside an event loop."""
    await asyncio.to_thread(partial(migrate, dsn, target, upward=True, **options))


async def downgrade(dsn: str, target: str = "-1", **options: Any) -> None:
    """Bring a database down to a revision, or down one step; as `migrate`, from inside an event loop."""
    await asyncio.to_thread(partial(migrate, dsn, target, upward=False, **options))


async def tidy(dsn: str, lock_retry: LockRetryPolicy, report: Report = _say_nothing) -> None:
    """Remove what an interrupted rollback prepared. Nothing else changes: its columns are still in place."""
    await _do(dsn, parking.drop_unfinished, lock_retry, report)


async def purge(dsn: str, lock_retry: LockRetryPolicy, report: Report = _say_nothing) -> None:
    """Remove for good what rollbacks parked. The next upgrade makes those tables and columns empty."""
    await _do(dsn, parking.drop_all, lock_retry, report)


async def _do(
    dsn: str, work: Callable[[Connection], None], lock_retry: LockRetryPolicy, report: Report
) -> None:
    def do(connection: Connection) -> None:
        _limit_waits(connection, lock_retry)
        work(connection)
        connection.commit()

    engine = migration_engine(dsn)
    try:
        async with migration_lock(engine, lock_retry, report):
            await _persist(engine, do, lock_retry, report)
    finally:
        await engine.dispose()


def migration_engine(dsn: str) -> AsyncEngine:
    """Return an engine for changing the schema: without the timeouts of a request, and nothing prepared."""
    return create_engine(
        dsn, pool_size=3, command_timeout=_DAY_S, application_name="rollcall-migrate", pgbouncer=True
    )


@asynccontextmanager
async def connection_to(dsn: str) -> AsyncIterator[AsyncConnection]:
    """Give one connection on which each statement stands by itself."""
    engine = migration_engine(dsn)
    try:
        async with engine.connect() as connection:
            yield await connection.execution_options(isolation_level="AUTOCOMMIT")
    finally:
        await engine.dispose()


async def run(
    dsn: str, context: Any, options: dict[str, Any], lock_retry: LockRetryPolicy, report: Report
) -> None:
    """Do what an `alembic` command asked for. For `alembic/env.py` only, whose context and options it takes.

    One transaction per revision. A revision that finds its tables locked is taken back and tried again; an
    interrupted run leaves the last completed revision, and the next run goes on from there.
    """
    options = {**options, "lock_retry": lock_retry}
    engine = migration_engine(dsn)
    try:
        async with engine.connect() as connection:
            steps = await connection.run_sync(_steps_asked_for, context, options)
        if steps:
            async with migration_lock(engine, lock_retry, report):
                await _persist(engine, partial(_take, context, options, steps, report), lock_retry, report)
    finally:
        await engine.dispose()


def _steps_asked_for(connection: Connection, context: Any, options: dict[str, Any]) -> list[Any]:
    """What the command would do now, resolved once: "one down" must not grow when it is tried again."""
    asked: list[Any] = []
    context.configure(connection=connection, **options)
    resolve = context.get_context().opts["fn"]

    def record(heads: tuple[str, ...], migration_context: Any) -> tuple[()]:
        asked.extend(resolve(heads, migration_context))
        return ()

    context.configure(connection=connection, fn=record, dont_mutate=True, **options)
    with context.begin_transaction():
        context.run_migrations()
    return asked


async def _persist(
    engine: AsyncEngine, take: Callable[[Connection], None], lock_retry: LockRetryPolicy, report: Report
) -> None:
    attempts = lock_retry.start()
    while True:
        try:
            async with engine.connect() as connection:
                return await connection.run_sync(take)
        except DBAPIError as error:
            in_the_way = await blocking_sessions(engine)
            pause_s = attempts.next_pause_s(error, in_the_way)
        report(f"in use by {in_the_way}; trying again in {pause_s:.1f} s")
        await asyncio.sleep(pause_s)


def _take(
    context: Any, options: dict[str, Any], steps: list[Any], report: Report, connection: Connection
) -> None:
    """Take the steps that are left, seen from where the database stands now."""
    _limit_waits(connection, options["lock_retry"])
    if any(isinstance(step, RevisionStep) and step.is_upgrade for step in steps):
        parking.drop_unfinished(connection)
        connection.commit()

    def left(heads: tuple[str, ...], _context: Any) -> Iterator[Any]:
        for step in _left(steps, heads):
            report(f"{'applying' if step.is_upgrade else 'taking back'} {_revision(step)}")
            yield step

    context.configure(connection=connection, fn=left, dont_mutate=False, **options)
    with context.begin_transaction():
        context.run_migrations()


def _left(steps: list[Any], heads: tuple[str, ...]) -> list[Any]:
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


def _limit_waits(connection: Connection, lock_retry: LockRetryPolicy) -> None:
    connection.execute(text(f"SET lock_timeout = {lock_retry.lock_timeout_ms}"))
    # A backend whose client was killed must not go on changing things after its lock is gone.
    # (PostgreSQL before 14 cannot.)
    connection.execute(
        text(
            "SELECT set_config(name, '1000', false) FROM pg_settings"
            " WHERE name = 'client_connection_check_interval'"
        )
    )
    connection.commit()
