"""Databases for tests, cloned from a template that is migrated once per schema."""

import fcntl
import hashlib
import os
import secrets
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

import asyncpg
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from service.db.migrations.running import upgrade
from service.db.migrations.scratch import dsn_of
from service.db.tables import Base, ThrottleKeyRow

ROOT = Path(__file__).resolve().parents[2]
_EMPTY_ALL = "; ".join(
    f"DELETE FROM {table.name}"
    for table in reversed(Base.metadata.sorted_tables)
    if table.name != ThrottleKeyRow.__tablename__  # its row comes with the schema
)

IS_WAITING: Final = (
    "SELECT count(*) > 0 FROM pg_stat_activity"
    " WHERE datname = current_database() AND wait_event_type = 'Lock'"
)
"""Whether a connection to this database waits for a lock; `pg_locks` has those of other workers as well."""


class PostgresServer(Protocol):
    """A server on which tests create databases."""

    def dsn_for(self, database: str) -> str:
        """Return the DSN of one of its databases."""


@dataclass(frozen=True)
class GivenServer:
    """The server that TEST_DATABASE_URL names: one that listens on a unix socket, and a superuser of it."""

    dsn: str

    def dsn_for(self, database: str) -> str:
        """Return the DSN of one of its databases."""
        return dsn_of(self.dsn, database)


class Databases:
    """Creates and drops databases on the test server."""

    def __init__(self, postgres: PostgresServer) -> None:
        self._postgres = postgres
        self._made: set[str] = set()

    @asynccontextmanager
    async def migrated(self) -> AsyncIterator[str]:
        """Yield the DSN of a new migrated database."""
        template = await self._template()
        async with self.created(f"TEMPLATE {template} STRATEGY file_copy") as dsn:
            yield dsn

    @asynccontextmanager
    async def empty(self) -> AsyncIterator[str]:
        """Yield the DSN of a new database without tables."""
        async with self.created("") as dsn:
            yield dsn

    async def clone(self, dsn: str) -> str:
        """Return the DSN of a copy of a database without connections."""
        name = self._name()
        await self._run(f"CREATE DATABASE {name} TEMPLATE {_database_in(dsn)} STRATEGY file_copy")
        return self._postgres.dsn_for(name)

    async def drop_all(self) -> None:
        """Drop all databases that are left."""
        for name in list(self._made):
            await self._drop(name)

    @asynccontextmanager
    async def created(self, options: str) -> AsyncIterator[str]:
        """Yield the DSN of a new database, created with these options of CREATE DATABASE."""
        name = self._name()
        await self._run(f"CREATE DATABASE {name} {options}")
        try:
            yield self._postgres.dsn_for(name)
        finally:
            await self._drop(name)

    async def _template(self) -> str:
        name = f"template_{_schema_digest()}"
        with _locked(ROOT / "var/test-template.lock"):
            if not await self._exists(name):
                building = f"{name}_building"
                await self._run(f"DROP DATABASE IF EXISTS {building} WITH (FORCE)")
                await self._run(f"CREATE DATABASE {building}")
                await upgrade(self._postgres.dsn_for(building))
                await self._run(f"ALTER DATABASE {building} RENAME TO {name}")
        return name

    async def _exists(self, name: str) -> bool:
        connection = await asyncpg.connect(self._postgres.dsn_for("postgres"))
        try:
            return bool(await connection.fetchval("SELECT 1 FROM pg_database WHERE datname = $1", name))
        finally:
            await connection.close()

    async def _drop(self, name: str) -> None:
        self._made.discard(name)
        await self._run(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")

    async def _run(self, statement: str) -> None:
        connection = await asyncpg.connect(self._postgres.dsn_for("postgres"))
        try:
            await connection.execute(statement)
        finally:
            await connection.close()

    def _name(self) -> str:
        name = f"test_{os.getpid()}_{secrets.token_hex(4)}"
        self._made.add(name)
        return name


async def empty_all_tables(engine: AsyncEngine) -> None:
    """Delete every row of every table in one round trip."""
    async with engine.connect() as connection:
        raw = await connection.get_raw_connection()
        driver = raw.driver_connection
        assert driver is not None
        await driver.execute(_EMPTY_ALL)


async def fetch_values(engine: AsyncEngine, statement: str, **values: object) -> list[tuple[object, ...]]:
    """Return rows, past the application."""
    async with engine.connect() as connection:
        return [tuple(row) for row in await connection.execute(text(statement), values)]


async def count_rows(engine: AsyncEngine, table: str) -> int:
    """Return how many rows a table has."""
    ((number,),) = await fetch_values(engine, f"SELECT count(*) FROM {table}")
    assert isinstance(number, int)
    return number


async def execute(engine: AsyncEngine, statement: str, **values: object) -> None:
    """Run a statement, past the application."""
    async with engine.begin() as connection:
        await connection.execute(text(statement), values)


async def fingerprint(engine: AsyncEngine) -> list[tuple[object, ...]]:
    """Return digests of accounts and of what belongs to them, but for uses, which a task records later."""
    tables = ("users", "sessions", "devices", "api_keys", "reset_tokens", "idempotency_keys")
    row = "(to_jsonb(t) - 'last_used_at' - 'idle_expires_at')::text"
    digests = (f"(SELECT md5(string_agg({row}, ',' ORDER BY {row})) FROM {name} t)" for name in tables)
    return await fetch_values(engine, f"SELECT {', '.join(digests)}")


def _database_in(dsn: str) -> str:
    return dsn.partition("?")[0].rsplit("/", 1)[1]


def _schema_digest() -> str:
    """Return a digest of the revisions, so that a changed one gets a new template."""
    sources = sorted((ROOT / "alembic").rglob("*.py")) + sorted((ROOT / "service/db/migrations").glob("*.py"))
    return hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()[:16]


@contextmanager
def _locked(lock: Path) -> Iterator[None]:
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
