"""The faults within the database: ended sessions, locks, rejected statements, another schema."""

import asyncio
from contextlib import AbstractAsyncContextManager, suppress
from typing import Final

import asyncpg

from harness.database import failing_writes, holding_lock, read_only
from tools.chaos.context import FaultContext
from tools.chaos.environment import ROLE
from tools.chaos.faults import fault

_OTHER_SESSIONS: Final = (
    "FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
)
_END_ALL: Final = f"SELECT pg_terminate_backend(pid) {_OTHER_SESSIONS} AND usename = '{ROLE}'"
_END_OPEN: Final = f"{_END_ALL} AND state = 'idle in transaction'"
_FAILING_SHARE: Final = 0.4


@fault()
async def sessions_ended(context: FaultContext) -> None:
    """Have the database end every session of the service."""
    await context.database.run(_END_ALL)


@fault()
async def open_transactions_ended(context: FaultContext) -> None:
    """Have the database end sessions in the middle of their transactions."""
    for _ in range(50):
        await context.database.run(_END_OPEN)
        await asyncio.sleep(0.02)


@fault()
async def table_locked(context: FaultContext) -> None:
    """Lock a table that every write needs, so that the pool is exhausted."""
    await _hold(context, "LOCK TABLE events")


@fault()
async def rows_locked(context: FaultContext) -> None:
    """Lock every account."""
    await _hold(context, "SELECT count(*) FROM (SELECT 1 FROM users FOR UPDATE) AS locked")


async def _hold(context: FaultContext, lock: str) -> None:
    with suppress(asyncpg.PostgresError):  # it may be the victim of a deadlock with the workload
        async with holding_lock(context.database, lock):
            await context.sleep(0.5, 4)


@fault()
async def connections_refused(context: FaultContext) -> None:
    """Limit the service to one connection to the database."""
    await context.database.run(f"ALTER ROLE {ROLE} CONNECTION LIMIT 1", _END_ALL)
    await context.sleep(1, 3)
    await context.database.run(f"ALTER ROLE {ROLE} CONNECTION LIMIT -1")


@fault()
async def database_read_only(context: FaultContext) -> None:
    """Have the database reject writes, as a standby does."""
    await _during(context, read_only(context.database), 1, 3)


@fault()
async def transactions_in_conflict(context: FaultContext) -> None:
    """Have two in five writes fail with a serialization failure."""
    await _during(context, failing_writes(context.database, "40001", share=_FAILING_SHARE), 1, 2)


@fault()
async def disk_full(context: FaultContext) -> None:
    """Have two in five writes find no space."""
    await _during(context, failing_writes(context.database, "53100", share=_FAILING_SHARE), 1, 2)


@fault()
async def commits_refused(context: FaultContext) -> None:
    """Have two in five COMMITs fail in the database."""
    failing = failing_writes(context.database, "40001", share=_FAILING_SHARE, at_commit=True)
    await _during(context, failing, 1, 2)


async def _during(
    context: FaultContext, injected: AbstractAsyncContextManager[None], min_s: float, max_s: float
) -> None:
    async with injected:
        await context.sleep(min_s, max_s)


@fault()
async def schema_changed(context: FaultContext) -> None:
    """Add a column to the table of accounts, which invalidates every plan for it, and drop it."""
    await context.database.run("ALTER TABLE users ADD COLUMN chaos int")
    await context.sleep(0.2, 1)
    await context.database.run("ALTER TABLE users DROP COLUMN chaos")
