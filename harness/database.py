"""A database past the service: what is in it, and faults that PostgreSQL itself can have."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

import asyncpg

_FAILING_WRITES: Final = """
CREATE FUNCTION fail_write() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$ BEGIN
  IF nextval('write_attempts') <= {times} AND random() < {share} THEN
    RAISE EXCEPTION 'secret %', NEW.id USING ERRCODE = '{sqlstate}';
  END IF;
  RETURN NULL; END $$
"""
_READ_ONLY_TIMEOUT_S: Final = 5.0


@dataclass(frozen=True)
class DatabaseProbe:
    """A database, reached past the service; each call has a connection of its own."""

    dsn: str

    async def fetch(self, statement: str) -> list[tuple[Any, ...]]:
        """Return the rows of a statement."""
        async with self.connected() as connection:
            return [tuple(row) for row in await connection.fetch(statement)]

    async def run(self, *statements: str) -> None:
        """Run statements, each in a transaction of its own."""
        async with self.connected() as connection:
            for statement in statements:
                await connection.execute(statement)

    @asynccontextmanager
    async def connected(self) -> AsyncIterator[asyncpg.Connection]:
        """Open a connection for the block."""
        connection = await asyncpg.connect(self.dsn)
        try:
            yield connection
        finally:
            await connection.close()


@asynccontextmanager
async def holding_lock(database: DatabaseProbe, lock: str) -> AsyncIterator[None]:
    """Hold what a statement locks while the block runs."""
    async with database.connected() as connection, connection.transaction():
        await connection.execute(lock)
        yield


@asynccontextmanager
async def failing_writes(
    database: DatabaseProbe,
    sqlstate: str,
    *,
    times: int = 1_000_000,
    share: float = 1.0,
    at_commit: bool = False,
) -> AsyncIterator[None]:
    """Have a share of the first `times` writes of an event fail, in the statement or at COMMIT.

    The sequence `write_attempts` counts the writes.
    """
    kind, when = ("CONSTRAINT", "DEFERRABLE INITIALLY DEFERRED") if at_commit else ("", "")
    await database.run(
        "CREATE SEQUENCE write_attempts",
        _FAILING_WRITES.format(times=times, share=share, sqlstate=sqlstate),
        f"CREATE {kind} TRIGGER fail_write AFTER INSERT ON events {when}"
        " FOR EACH ROW EXECUTE FUNCTION fail_write()",
    )
    try:
        yield
    finally:
        await database.run("DROP FUNCTION fail_write CASCADE", "DROP SEQUENCE write_attempts")


@asynccontextmanager
async def read_only(database: DatabaseProbe) -> AsyncIterator[None]:
    """Have the server reject writes while the block runs, as a standby does."""
    await _set_read_only(database, "on")
    try:
        yield
    finally:
        await _set_read_only(database, "off")


async def _set_read_only(database: DatabaseProbe, state: str) -> None:
    await database.run(f"ALTER SYSTEM SET default_transaction_read_only = {state}", "SELECT pg_reload_conf()")
    async with asyncio.timeout(_READ_ONLY_TIMEOUT_S):
        while await database.fetch("SHOW default_transaction_read_only") != [(state,)]:
            pass  # the reload is asynchronous
