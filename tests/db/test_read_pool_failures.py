"""The read pool when connections are lost, the server is down, or the schema changes."""

import asyncio
import tempfile
from collections.abc import Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy import (
    bindparam,
    literal_column,
    select,
)

from service.db.core.statements import Statement
from service.domain.errors import DatabaseUnavailable
from service.embedded.server import EmbeddedPostgres
from tests.db.read_pools import (
    BACKEND,
    ROWS,
    WORD,
    Operator,
    PoolFactory,
    block,
    kept_and_borrowed,
    start_blocked_read,
    terminate_all,
    unblock,
    values_of,
)


@dataclass(frozen=True)
class Server:
    """A server that the test may stop."""

    postgres: EmbeddedPostgres
    dsn: str
    """Names the socket by a link that outlives a stop."""


@pytest.fixture(scope="module")
def own_server() -> Iterator[Server]:
    with (
        tempfile.TemporaryDirectory(prefix="read") as directory,
        EmbeddedPostgres(Path(directory), durable=False) as postgres,
    ):
        yield Server(postgres, f"postgresql:///rollcall?host={directory}/socket&port=5432&user=rollcall")


@pytest.fixture
def server(own_server: Server) -> Server:
    own_server.postgres.start()
    return own_server


# Lost connections


@kept_and_borrowed
async def test_fetch_after_terminated_backends_succeeds(
    pool_of: PoolFactory, operator: Operator, size: int
) -> None:
    read_pool = await pool_of(size, pool_size=4)
    async with AsyncExitStack() as stack:  # fill the pool as writers do
        for _ in range(4 - size):
            await stack.enter_async_context(read_pool.engine.connect())
    before = read_pool.in_use
    for _ in range(3):
        await terminate_all(operator)
        rows = await asyncio.gather(*(values_of(read_pool.fetch_one(WORD)) for _ in range(8)))
        assert rows == [("one",)] * 8
    assert read_pool.in_use == before


async def test_open_skips_dead_pooled_connections(pool_of: PoolFactory, operator: Operator) -> None:
    read_pool = await pool_of(2, is_started=False, pool_size=3)
    async with AsyncExitStack() as stack:
        for _ in range(3):
            await stack.enter_async_context(read_pool.engine.connect())
    await terminate_all(operator)
    assert await values_of(read_pool.fetch_one(WORD)) == ("one",)


@kept_and_borrowed
async def test_fetch_whose_backend_is_terminated_is_retried(
    pool_of: PoolFactory, operator: Operator, size: int
) -> None:
    read_pool = await pool_of(size)
    await block(operator)
    blocked = await start_blocked_read(read_pool, operator)
    await terminate_all(operator)
    await unblock(operator)
    assert await blocked is not None


@kept_and_borrowed
async def test_start_without_server_serves_once_it_is_up(
    pool_of: PoolFactory, server: Server, size: int
) -> None:
    server.postgres.stop()
    read_pool = await pool_of(size, dsn=server.dsn)
    with pytest.raises(DatabaseUnavailable):
        await read_pool.fetch_one(BACKEND)
    server.postgres.start()
    assert await read_pool.fetch_one(BACKEND) is not None


@kept_and_borrowed
async def test_fetch_after_an_outage_succeeds(pool_of: PoolFactory, server: Server, size: int) -> None:
    read_pool = await pool_of(size, dsn=server.dsn)
    assert await read_pool.fetch_one(BACKEND) is not None
    server.postgres.stop()
    for _ in range(size + 1):
        with pytest.raises(DatabaseUnavailable):
            await read_pool.fetch_one(BACKEND)
    server.postgres.start()
    rows = await asyncio.gather(*(read_pool.fetch_one(BACKEND) for _ in range(4)))
    assert None not in rows


# A schema that changes


@kept_and_borrowed
async def test_fetch_after_column_type_change_returns_the_new_type(
    pool_of: PoolFactory, operator: Operator, size: int
) -> None:
    read_pool = await pool_of(size)
    query = Statement(select(ROWS.c.n, ROWS.c.word).where(ROWS.c.word == bindparam("word")))
    assert await values_of(read_pool.fetch_one(query, word="one")) == (1, "one")
    await operator.execute("ALTER TABLE pool_rows ALTER n TYPE text")
    row = await read_pool.fetch_one(query, word="one")
    assert row is not None
    assert (row.n, row.word) == ("1", "one")


@kept_and_borrowed
async def test_fetch_after_composite_type_change_succeeds(
    pool_of: PoolFactory, operator: Operator, size: int
) -> None:
    await operator.execute("DROP TYPE IF EXISTS pool_pair CASCADE; CREATE TYPE pool_pair AS (a int, b int)")
    await operator.execute("ALTER TABLE pool_rows ADD pair pool_pair; UPDATE pool_rows SET pair = (1, 2)")
    read_pool = await pool_of(size)
    query = Statement(select(literal_column("pair")).select_from(ROWS).where(ROWS.c.n == 1))
    assert await values_of(read_pool.fetch_one(query)) == ((1, 2),)
    await operator.execute("ALTER TYPE pool_pair ADD ATTRIBUTE c int CASCADE")
    assert await values_of(read_pool.fetch_one(query)) == ((1, 2, None),)
