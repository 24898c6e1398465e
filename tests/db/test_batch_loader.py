"""Look-ups that share a statement."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import asyncpg
import pytest
import pytest_asyncio
from sqlalchemy import ARRAY, Integer, any_, bindparam, func, literal_column, select

from service.db.core.batch_loader import BatchLoader
from service.db.core.columns import Columns
from service.db.core.driver import Record
from service.db.core.engine import create_engine
from service.db.core.read_pool import ReadPool
from service.db.core.statements import Statement
from service.domain.errors import DatabaseUnavailable

BLOCK = 4712
LAST = 1000
number = func.generate_series(1, LAST).column_valued("n")
matches = number == any_(bindparam("keys", type_=ARRAY(Integer)))
unblocked = func.pg_advisory_xact_lock_shared(literal_column(str(BLOCK)))
SQUARE: Columns[int] = Columns(lambda _unblocked, square: square, unblocked, number * number)
SQUARES = Statement(select(number, *SQUARE).where(matches))
BROKEN = Statement(select(number, number / 0, number).where(matches))


class RecordingPool(ReadPool):
    """A read pool that records the keys of each statement."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.batches: list[list[int]] = []
        self.begun: asyncio.Queue[None] = asyncio.Queue()

    async def fetch_all(self, query: Statement, /, **params: Any) -> list[Record]:
        self.batches.append(params["keys"])
        self.begun.put_nowait(None)
        return await super().fetch_all(query, **params)


@pytest_asyncio.fixture(params=[0, 3], ids=["borrowed", "kept"])
async def read_pool(database: str, request: pytest.FixtureRequest) -> AsyncIterator[RecordingPool]:
    async with AsyncExitStack() as stack:
        engine = create_engine(database, pool_size=5)
        stack.push_async_callback(engine.dispose)
        read_pool = RecordingPool(engine, size=request.param)
        stack.push_async_callback(read_pool.close)
        await read_pool.start()
        yield read_pool


@asynccontextmanager
async def blocked(dsn: str) -> AsyncIterator[None]:
    """Block every statement that begins in the block."""
    operator = await asyncpg.connect(dsn)
    try:
        await operator.execute(f"SELECT pg_advisory_lock({BLOCK})")
        yield
    finally:
        await operator.close()


async def test_load_in_the_same_loop_turn_shares_one_statement(read_pool: RecordingPool) -> None:
    squares: BatchLoader[int, int] = BatchLoader(read_pool, SQUARES, SQUARE)
    keys = [3, 5, LAST + 1, 3, 8]
    rows = await asyncio.gather(*(squares.load(key) for key in keys))
    assert rows == [9, 25, None, 9, 64]
    assert read_pool.batches == [[3, 5, LAST + 1, 8]]


async def test_load_beyond_the_batch_limit_uses_several_statements(read_pool: RecordingPool) -> None:
    squares: BatchLoader[int, int] = BatchLoader(read_pool, SQUARES, SQUARE)
    rows = await asyncio.gather(*(squares.load(key) for key in range(1, 301)))
    assert rows == [key * key for key in range(1, 301)]
    assert [len(keys) for keys in read_pool.batches] == [128, 128, 44]


async def test_load_during_a_statement_for_the_same_key_starts_another(
    read_pool: RecordingPool, database: str
) -> None:
    squares: BatchLoader[int, int] = BatchLoader(read_pool, SQUARES, SQUARE)
    async with blocked(database):
        first = asyncio.create_task(squares.load(7))
        await read_pool.begun.get()
        second = asyncio.create_task(squares.load(7))
        await read_pool.begun.get()
    assert [await first, await second] == [49, 49]
    assert read_pool.batches == [[7], [7]]


async def test_load_with_two_statements_in_flight_waits_for_the_next(
    read_pool: RecordingPool, database: str
) -> None:
    squares: BatchLoader[int, int] = BatchLoader(read_pool, SQUARES, SQUARE)
    async with blocked(database):
        out = []
        for number in (1, 2):
            out.append(asyncio.create_task(squares.load(number)))
            await read_pool.begun.get()
        gathered = [asyncio.create_task(squares.load(key)) for key in (3, 4)]
        await asyncio.sleep(0)
        gathered.append(asyncio.create_task(squares.load(5)))
    assert (await asyncio.gather(*out, *gathered)) == [1, 4, 9, 16, 25]
    assert read_pool.batches == [[1], [2], [3, 4, 5]]


async def test_cancelled_load_does_not_affect_the_others(read_pool: RecordingPool, database: str) -> None:
    squares: BatchLoader[int, int] = BatchLoader(read_pool, SQUARES, SQUARE)
    async with blocked(database):
        tasks = [asyncio.create_task(squares.load(key)) for key in (2, 2, 3)]
        await read_pool.begun.get()
        tasks[0].cancel()
        await asyncio.wait({tasks[0]})
    assert (await asyncio.gather(*tasks[1:])) == [4, 9]
    assert [await squares.load(4)] == [16]


async def test_load_beyond_wait_timeout_raises_unavailable(read_pool: RecordingPool, database: str) -> None:
    squares: BatchLoader[int, int] = BatchLoader(read_pool, SQUARES, SQUARE, wait_timeout=0.01)
    async with blocked(database):
        out = []
        for number in (1, 2):
            out.append(asyncio.create_task(squares.load(number)))
            await read_pool.begun.get()
        failed = await asyncio.gather(squares.load(3), squares.load(4), return_exceptions=True)
    assert [type(error) for error in failed] == [DatabaseUnavailable] * 2
    assert (await asyncio.gather(*out)) == [1, 4]
    assert [await squares.load(5)] == [25]


async def test_load_from_closed_pool_raises_unavailable(read_pool: RecordingPool) -> None:
    squares: BatchLoader[int, int] = BatchLoader(read_pool, SQUARES, SQUARE)
    await read_pool.close()
    failed = await asyncio.gather(squares.load(1), squares.load(2), return_exceptions=True)
    assert [type(error) for error in failed] == [DatabaseUnavailable] * 2


async def test_load_with_failing_statement_raises_its_error_for_every_key(read_pool: RecordingPool) -> None:
    broken: BatchLoader[int, int] = BatchLoader(read_pool, BROKEN, SQUARE)
    errors = await asyncio.gather(broken.load(1), broken.load(2), return_exceptions=True)
    assert [type(error) for error in errors] == [asyncpg.DivisionByZeroError] * 2
