"""Databases for tests, cloned from a template that is migrated once per schema."""

import fcntl
import hashlib
import os
import secrets
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import cache
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
_KEPT: Final = ("alembic_version", ThrottleKeyRow.__tablename__)
"""Tables whose rows come with the schema."""

_CATALOGUES: Final = (
    *("pg_class", "pg_attribute", "pg_attrdef", "pg_constraint", "pg_index", "pg_type", "pg_proc"),
    *("pg_trigger", "pg_event_trigger", "pg_namespace", "pg_default_acl"),
)
_EVERY_ROW: Final = "(SELECT ROW(count(*), max(xmin::text::bigint)) FROM {})"
_SCHEMA: Final = f"""
    SELECT ROW({", ".join(map(_EVERY_ROW.format, _CATALOGUES))},
        array_agg(reltuples ORDER BY oid), bool_or(pg_relation_size(oid) > 1000000))::text
    FROM pg_class WHERE relnamespace = 'public'::regnamespace
"""
"""Differs after each change of the schema, as that adds rows to a catalogue or deletes some.

It differs also with what plans depend on: after ANALYZE, and once a table is large.
"""
_IS_CONFIGURED: Final = """
    SELECT datacl IS NOT NULL OR setconfig IS NOT NULL
    FROM pg_database LEFT JOIN pg_db_role_setting ON setdatabase = pg_database.oid WHERE datname = $1
"""
_END_OTHERS: Final = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
    " WHERE datname = current_database() AND backend_type = 'client backend' AND pid <> pg_backend_pid()"
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

    def __init__(self, postgres: PostgresServer, connection: asyncpg.Connection) -> None:
        """`connection` is one to any database of the server that nobody creates another from."""
        self._postgres = postgres
        self._connection = connection
        self._made: set[str] = set()
        self._unused: list[str] = []
        self._template = ""
        self._schema = ""
        self._kept: dict[str, str] = {}

    @asynccontextmanager
    async def migrated(self) -> AsyncIterator[str]:
        """Yield the DSN of a migrated database without rows.

        A new one is a hundred times as much work as the removal of rows, so that a database whose schema is
        as it was is used again.
        """
        name = self._unused.pop() if self._unused else await self._clone()
        try:
            yield self._postgres.dsn_for(name)
        finally:
            if await self._is_as_new(name):
                self._unused.append(name)
            else:
                await self._drop(name)

    @asynccontextmanager
    async def empty(self) -> AsyncIterator[str]:
        """Yield the DSN of a new database without tables."""
        async with self.created("STRATEGY file_copy") as dsn:
            yield dsn

    @asynccontextmanager
    async def copied(self, dsn: str) -> AsyncIterator[str]:
        """Yield the DSN of a copy of a database without connections."""
        source = dsn.partition("?")[0].rpartition("/")[2]
        async with self.created(f"TEMPLATE {source} STRATEGY file_copy") as copy:
            yield copy

    @asynccontextmanager
    async def created(self, options: str) -> AsyncIterator[str]:
        """Yield the DSN of a new database, created with these options of CREATE DATABASE."""
        name = await self._create(options)
        try:
            yield self._postgres.dsn_for(name)
        finally:
            await self._drop(name)

    async def drop_all(self) -> None:
        """Drop all databases that are left."""
        for name in list(self._made):
            await self._drop(name)

    async def _clone(self) -> str:
        if not self._template:
            self._template = await self._migrated_template()
        name = await self._create(f"TEMPLATE {self._template} STRATEGY file_copy")
        if not self._schema:
            async with self._connected(name) as connection:
                self._schema = await connection.fetchval(_SCHEMA)
                for table in _KEPT:
                    rows = f"SELECT array_agg(kept)::text FROM {table} AS kept"
                    self._kept[table] = await connection.fetchval(rows)
        return name

    async def _is_as_new(self, name: str) -> bool:
        """Return whether the schema is as it was; if so, restore the rows."""
        if await self._connection.fetchval(_IS_CONFIGURED, name):
            return False
        async with self._connected(name) as connection:
            await connection.execute(_END_OTHERS)
            if await connection.fetchval(_SCHEMA) != self._schema:
                return False
            await connection.execute(_EMPTY_ALL)
            for table, rows in self._kept.items():
                await connection.execute(f"DELETE FROM {table}")
                restore = f"INSERT INTO {table} SELECT * FROM unnest($1::text::{table}[])"
                await connection.execute(restore, rows)
        return True

    async def _migrated_template(self) -> str:
        name = f"template_{schema_digest()}"
        with locked(ROOT / "var/test-template.lock"):
            exists = "SELECT 1 FROM pg_database WHERE datname = $1"
            if not await self._connection.fetchval(exists, name):
                building = f"{name}_building"
                await self._connection.execute(f"DROP DATABASE IF EXISTS {building} WITH (FORCE)")
                await self._connection.execute(f"CREATE DATABASE {building}")
                await upgrade(self._postgres.dsn_for(building))
                await self._connection.execute(f"ALTER DATABASE {building} RENAME TO {name}")
        return name

    async def _create(self, options: str) -> str:
        name = f"test_{os.getpid()}_{secrets.token_hex(4)}"
        self._made.add(name)
        await self._connection.execute(f"CREATE DATABASE {name} {options}")
        return name

    async def _drop(self, name: str) -> None:
        self._made.discard(name)
        await self._connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")

    @asynccontextmanager
    async def _connected(self, name: str) -> AsyncIterator[asyncpg.Connection]:
        connection = await asyncpg.connect(self._postgres.dsn_for(name))
        try:
            yield connection
        finally:
            await connection.close()


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


@cache
def schema_digest() -> str:
    """Return a digest of the revisions, so that a changed one gets a new template."""
    sources = sorted((ROOT / "alembic").rglob("*.py")) + sorted((ROOT / "service/db/migrations").glob("*.py"))
    return hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()[:16]


@contextmanager
def locked(lock: Path) -> Iterator[None]:
    """Exclude all other workers and runs during the block."""
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
