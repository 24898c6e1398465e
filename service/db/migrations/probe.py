"""Probe the embedded database at start: does it need a migration or an administrator?"""

from dataclasses import dataclass

import asyncpg

from service.db.migrations.compatibility import HEAD_ID

_TIMEOUT_S = 5.0


@dataclass(frozen=True, slots=True)
class DatabaseState:
    """What is already in the database; the default is nothing."""

    is_at_head: bool = False
    """The schema is at this release's newest revision."""
    has_accounts: bool = False


async def probe(dsn: str) -> DatabaseState:
    """Return the state of a database.

    An unreachable database is reported by the next step that connects; here it counts as empty.
    """
    try:
        connection = await asyncpg.connect(dsn, ssl=False, timeout=_TIMEOUT_S, command_timeout=_TIMEOUT_S)
        try:
            revisions = await connection.fetch("SELECT version_num FROM alembic_version")
            has_accounts = await connection.fetchval("SELECT EXISTS (SELECT FROM users)")
        finally:
            await connection.close(timeout=_TIMEOUT_S)
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError):
        return DatabaseState()
    return DatabaseState([row["version_num"] for row in revisions] == [HEAD_ID], has_accounts)
