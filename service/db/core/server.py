"""What the service needs of a PostgreSQL server and of the database in it."""

from typing import Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

OLDEST_VERSION: Final = 14
ENCODING: Final = "UTF8"

_FACTS = text(
    "SELECT current_setting('server_version_num')::int / 10000 AS version, "
    "current_setting('server_encoding') AS encoding, pg_is_in_recovery() AS is_standby"
)


async def unmet_need(connection: AsyncConnection) -> str | None:
    """Return why the server or the database cannot be used, as a sentence with the remedy, or None."""
    facts = (await connection.execute(_FACTS)).one()
    if facts.version < OLDEST_VERSION:
        return f"PostgreSQL {facts.version} is too old: use {OLDEST_VERSION} or newer."
    if facts.encoding != ENCODING:
        return (
            f"The encoding of this database, {facts.encoding}, cannot hold every text: "
            f"create it again with ENCODING '{ENCODING}' TEMPLATE template0."
        )
    if facts.is_standby:
        return "This server is a standby, which accepts no writes: use the primary."
    return None
