import secrets
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import asyncpg
import pytest_asyncio

from service.db.core.engine import create_engine
from service.embedded.server import EmbeddedPostgres
from tests.db.read_pools import CREATE, Operator, PoolFactory, TestedPool

OF_POOL = frozenset({"wait_timeout", "deadline", "recycle"})
LONG_TIMEOUTS = {"lock_timeout": 60, "statement_timeout": 60, "command_timeout": 60}


@pytest_asyncio.fixture(scope="module")
async def pool_dsn(postgres: EmbeddedPostgres) -> AsyncIterator[str]:
    """A database whose connections may all be terminated."""
    name = f"read_pool_{secrets.token_hex(4)}"
    maintenance = await asyncpg.connect(postgres.dsn_for("postgres"))
    try:
        await maintenance.execute(f"CREATE DATABASE {name}")
        yield postgres.dsn_for(name)
        await maintenance.execute(f"DROP DATABASE {name}")
    finally:
        await maintenance.close()


@pytest_asyncio.fixture
async def operator(pool_dsn: str) -> AsyncIterator[Operator]:
    """A connection outside the pool, to a database with the table of the reads."""
    operator = await asyncpg.connect(pool_dsn)
    try:
        await operator.execute(CREATE)
        yield operator
    finally:
        await operator.close()


@pytest_asyncio.fixture
async def pool_of(pool_dsn: str, operator: Operator) -> AsyncIterator[PoolFactory]:
    """Makes read pools; other arguments go to the engine."""
    async with AsyncExitStack() as stack:

        async def make(
            size: int, *, dsn: str = pool_dsn, is_started: bool = True, **arguments: Any
        ) -> TestedPool:
            of_pool = {"wait_timeout": 60} | {
                name: arguments.pop(name) for name in OF_POOL & arguments.keys()
            }
            engine = create_engine(dsn, **LONG_TIMEOUTS | arguments)
            stack.push_async_callback(engine.dispose)
            read_pool = TestedPool(engine, size=size, **of_pool)
            stack.push_async_callback(read_pool.close)
            if is_started:
                await read_pool.start()
            return read_pool

        yield make
