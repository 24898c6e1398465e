"""One migration at a time."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from time import monotonic, sleep
from typing import Any, TypeVar

from alembic.operations import Operations
from alembic.util import CommandError
from sqlalchemy import Result, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from service.db.migrations.lock_retry import Attempts, LockRetryPolicy, is_lock_conflict

ResultT = TypeVar("ResultT")

# "rollcall" in ASCII, as a number of 64 bits.
LOCK_ID = int.from_bytes(b"rollcall")

IN_USE = "in use by {blockers}; trying again in {pause_s:.1f} s"

_POLL_INTERVAL_S = 0.2

_WAIT_CHECK_INTERVAL_S = 2.0

_OLDEST_TRANSACTIONS = """
SELECT pid, application_name AS name, state, round(extract(epoch FROM now() - xact_start)) AS seconds
FROM pg_stat_activity
WHERE datname = current_database() AND xact_start < statement_timestamp() AND pid <> pg_backend_pid() AND (
    NOT :awaited_by_index OR pid = ANY (
        SELECT unnest(pg_blocking_pids(pid)) FROM pg_stat_activity
        WHERE application_name = current_setting('application_name') AND datname = current_database()
          AND wait_event = 'virtualxid'
    )
)
ORDER BY xact_start LIMIT 3
"""


def ignore(_line: str) -> None:
    """Report nothing."""


class LockHeld(CommandError):
    """Another migration held the lock until the deadline."""


@asynccontextmanager
async def migration_lock(
    engine: AsyncEngine, lock_retry: LockRetryPolicy, report: Callable[[str], None]
) -> AsyncIterator[None]:
    """Hold the database's migration lock while the block runs; PostgreSQL releases it if the process dies.

    The lock is polled outside a transaction: a statement that waits holds a snapshot, and CREATE INDEX
    CONCURRENTLY waits for every snapshot.

    Raises:
        LockHeld: another migration held it until the deadline.
    """
    async with engine.connect() as connection:
        connection = await connection.execution_options(isolation_level="AUTOCOMMIT")
        await _acquire(connection, lock_retry, report)
        try:
            yield
        finally:
            await connection.execute(text("SELECT pg_advisory_unlock(:id)"), {"id": LOCK_ID})


async def blocking_sessions(engine: AsyncEngine) -> str:
    """Return a description of the oldest open transactions of this database."""
    return await _oldest_transactions(engine) or "others"


@asynccontextmanager
async def waits_reported(engine: AsyncEngine, report: Callable[[str], None]) -> AsyncIterator[None]:
    """Say for which transactions an index waits that is built or dropped concurrently while the block runs.

    It waits for each that is open, for up to the deadline: without a word, it would seem to hang.
    """
    reporter = asyncio.create_task(_report_waits(engine, report))
    try:
        yield
    finally:
        reporter.cancel()
        await asyncio.gather(reporter, return_exceptions=True)  # what it could not ask, the work could not do


async def _report_waits(engine: AsyncEngine, report: Callable[[str], None]) -> None:
    is_reported = False
    while True:
        await asyncio.sleep(_WAIT_CHECK_INTERVAL_S)
        awaited = await _oldest_transactions(engine, awaited_by_index=True)
        if awaited and not is_reported:
            report(f"waiting for {awaited}")
        is_reported = bool(awaited)


def retry_on_lock(operations: Operations, work: Callable[[], ResultT]) -> ResultT:
    """Repeat a part of a revision until what it locks is free, and say who holds it.

    Raises:
        StillLocked: it was held until the deadline.
    """
    options, connection = operations.get_context().opts, operations.get_bind()
    attempts: Attempts = options.get("lock_retry", LockRetryPolicy()).start()
    while True:
        try:
            return work()
        except DBAPIError as error:
            if not is_lock_conflict(error):
                raise
            blockers = _describe(connection.execute(text(_OLDEST_TRANSACTIONS), {"awaited_by_index": False}))
            pause_s = attempts.next_pause_s(error, blockers or "others")
        options.get("report", ignore)(IN_USE.format(blockers=blockers or "others", pause_s=pause_s))
        sleep(pause_s)


async def _oldest_transactions(engine: AsyncEngine, *, awaited_by_index: bool = False) -> str:
    async with engine.connect() as connection:
        parameters = {"awaited_by_index": awaited_by_index}
        return _describe(await connection.execute(text(_OLDEST_TRANSACTIONS), parameters))


def _describe(found: Result[Any]) -> str:
    return ", ".join(
        f"process {row.pid} ({row.name or 'no name'}, {row.state} for {row.seconds} s)" for row in found
    )


async def _acquire(
    connection: AsyncConnection, lock_retry: LockRetryPolicy, report: Callable[[str], None]
) -> None:
    ends_at, is_reported = monotonic() + lock_retry.deadline.total_seconds(), False
    while not await connection.scalar(text("SELECT pg_try_advisory_lock(:id)"), {"id": LOCK_ID}):
        if monotonic() > ends_at:
            raise LockHeld("another migration is still running on this database")
        if not is_reported:
            report("another migration is running; waiting for it")
            is_reported = True
        await asyncio.sleep(_POLL_INTERVAL_S)
