"""What the tests of the read pool share: a table, statements about it, and steps."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

import asyncpg
import pytest
from sqlalchemy import (
    ARRAY,
    Column,
    DateTime,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    Uuid,
    bindparam,
    func,
    literal_column,
    select,
)
from sqlalchemy.dialects.postgresql import INET, JSONB
from sqlalchemy.ext.asyncio import AsyncEngine

from service.db.core.driver import Record
from service.db.core.engine import pool_stats
from service.db.core.read_pool import ReadPool
from service.db.core.statements import Statement

Operator: TypeAlias = "asyncpg.Connection[asyncpg.Record]"
"""A connection of somebody else to the same database."""

ROWS = Table(
    "pool_rows",
    MetaData(),
    Column("n", Integer, primary_key=True),
    Column("id", Uuid),
    Column("word", Text),
    Column("words", ARRAY(Text)),
    Column("digest", LargeBinary),
    Column("document", JSONB),
    Column("address", INET),
    Column("seen_at", DateTime(timezone=True)),
)
CREATE = """
    DROP TABLE IF EXISTS pool_rows;
    CREATE TABLE pool_rows (n int PRIMARY KEY, id uuid, word text, words text[], digest bytea, document jsonb,
        address inet, seen_at timestamptz);
    INSERT INTO pool_rows VALUES (1, '11111111-1111-4111-8111-111111111111', 'one', '{a,b}', '\\x00ff',
        '{"k": [1]}', '192.0.2.7', '2026-01-02 03:04:05.678+02');
    INSERT INTO pool_rows (n) VALUES (2)
"""
LOCK = 4711

GET = Statement(select(ROWS).where(ROWS.c.n == bindparam("n")))
WORD = Statement(select(ROWS.c.word).where(ROWS.c.n == 1))
BACKEND = Statement(select(func.pg_backend_pid().label("pid")))
BLOCKED = Statement(select(func.pg_advisory_xact_lock(literal_column(str(LOCK)))))

kept_and_borrowed = pytest.mark.parametrize("size", [0, 2], ids=["borrowed", "kept"])


class TestedPool(ReadPool):
    """A read pool that shows its engine."""

    __test__ = False

    def __init__(self, engine: AsyncEngine, **options: Any) -> None:
        super().__init__(engine, **options)
        self.engine = engine

    @property
    def in_use(self) -> int:
        """Connections that are checked out of the engine's pool."""
        return pool_stats(self.engine, "engine").used


PoolFactory = Callable[..., Awaitable[TestedPool]]


async def values_of(read: Awaitable[Record | None]) -> tuple[Any, ...] | None:
    row = await read
    return tuple(row) if row is not None else None


async def backend_of(read_pool: ReadPool) -> int:
    row = await read_pool.fetch_one(BACKEND)
    assert row is not None
    return int(row["pid"])


async def terminate_all(operator: Operator) -> None:
    others = "datname = current_database() AND pid <> pg_backend_pid()"
    await operator.execute(f"SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE {others}")


async def block(operator: Operator) -> None:
    await operator.execute(f"SELECT pg_advisory_lock({LOCK})")


async def unblock(operator: Operator) -> None:
    await operator.execute(f"SELECT pg_advisory_unlock({LOCK})")


async def blocked_backend(operator: Operator) -> int | None:
    blocked = (
        "SELECT pid FROM pg_locks JOIN pg_database ON pg_database.oid = database"
        f" WHERE datname = current_database() AND objid = {LOCK} AND NOT granted"
    )
    pid: int | None = await operator.fetchval(blocked)
    return pid


async def start_blocked_read(read_pool: ReadPool, operator: Operator) -> "asyncio.Task[Any]":
    task = asyncio.create_task(read_pool.fetch_one(BLOCKED))
    while await blocked_backend(operator) is None:
        assert not task.done()
        await asyncio.sleep(0.001)
    return task


async def start_waiting_read(read_pool: ReadPool, statement: Statement = WORD) -> "asyncio.Task[Any]":
    task = asyncio.create_task(read_pool.fetch_one(statement))
    await asyncio.sleep(0)
    return task


async def end(task: "asyncio.Task[Any]") -> None:
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
