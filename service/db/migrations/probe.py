"""What a start on the embedded database has to know before it serves, asked on one plain connection."""

from dataclasses import dataclass

import asyncpg

from service.db.migrations.compatibility import HEAD_ID

_WITHIN_S = 5.0


@dataclass(frozen=True, slots=True)
class DatabaseState:
    """What need not be done; where nothing was to be seen, all of it has to."""

    is_at_head: bool = False
    """The schema is at this release's newest revision."""
    has_accounts: bool = False


async def probe(dsn: str) -> DatabaseState:
    """Look at a database, which may be empty.

    One that does not answer is told by whoever works on it next: here, nothing was to be seen.
    """
    try:
        connection = await asyncpg.connect(dsn, timeout=_WITHIN_S, command_timeout=_WITHIN_S)
        try:
            revisions = await connection.fetch("SELECT version_num FROM alembic_version")
            has_accounts = await connection.fetchval("SELECT EXISTS (SELECT FROM users)")
        finally:
            await connection.close(timeout=_WITHIN_S)
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError):
        return DatabaseState()
    return DatabaseState([row["version_num"] for row in revisions] == [HEAD_ID], has_accounts)
