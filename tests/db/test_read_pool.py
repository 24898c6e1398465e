"""The read pool: rows, order, limits and its end."""

import asyncio
import time
from contextlib import AsyncExitStack
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import asyncpg
import pytest
from sqlalchemy import (
    ARRAY,
    Integer,
    any_,
    bindparam,
    func,
    literal_column,
    select,
    text,
)

from service.db.core.engine import create_engine
from service.db.core.read_pool import ReadPool
from service.db.core.statements import Statement
from service.domain.errors import DatabaseUnavailable
from service.services import Services
from settings.database import DatabaseSettings
from tests.db.read_pools import (
    BACKEND,
    BLOCKED,
    GET,
    ROWS,
    WORD,
    Operator,
    PoolFactory,
    backend_of,
    block,
    blocked_backend,
    end,
    kept_and_borrowed,
    start_blocked_read,
    start_waiting_read,
    unblock,
    values_of,
)
from tests.support.settings import settings_for_tests

# Rows


@kept_and_borrowed
async def test_fetch_all_returns_the_same_rows_as_sqlalchemy(pool_of: PoolFactory, size: int) -> None:
    read_pool, in_order = await pool_of(size), select(ROWS).order_by(ROWS.c.n)
    async with read_pool.engine.connect() as connection:
        expected = [dict(row) for row in (await connection.execute(in_order)).mappings()]
    rows = [dict(row) for row in await read_pool.fetch_all(Statement(in_order))]
    assert rows == expected
    assert [[type(value) for value in row.values()] for row in rows] == [
        [type(value) for value in row.values()] for row in expected
    ]


@kept_and_borrowed
async def test_fetch_one_returns_values_by_position_name_and_attribute(
    pool_of: PoolFactory, size: int
) -> None:
    read_pool = await pool_of(size)
    row = await read_pool.fetch_one(GET, n=1)
    assert row is not None
    assert row[:2] == (1, row["id"])
    assert row.word == row["word"] == row[2] == "one"
    assert not hasattr(row, "wrod")


@kept_and_borrowed
async def test_fetch_without_rows_returns_none_and_empty_list(pool_of: PoolFactory, size: int) -> None:
    read_pool = await pool_of(size)
    assert await read_pool.fetch_one(GET, n=3) is None
    assert await read_pool.fetch_all(GET, n=3) == []


@kept_and_borrowed
async def test_fetch_binds_parameters_of_many_types(pool_of: PoolFactory, size: int) -> None:
    read_pool = await pool_of(size)
    row = await read_pool.fetch_one(GET, n=1)
    assert row is not None
    values = {name: row[name] for name in ("id", "word", "words", "digest", "document", "address", "seen_at")}
    conditions = [ROWS.c[name] == bindparam(name) for name in values]
    numbers = ROWS.c.n == any_(bindparam("numbers", type_=ARRAY(Integer)))
    query = Statement(select(ROWS.c.n).where(numbers, *conditions))
    found = await read_pool.fetch_one(query, numbers=[1, 2], **values)
    assert found is not None
    assert found.n == 1


@kept_and_borrowed
async def test_fetch_of_a_write_raises_unavailable(
    pool_of: PoolFactory, operator: Operator, size: int
) -> None:
    await operator.execute("DROP SEQUENCE IF EXISTS pool_numbers; CREATE SEQUENCE pool_numbers")
    read_pool = await pool_of(size)
    with pytest.raises(DatabaseUnavailable):
        await read_pool.fetch_one(Statement(select(func.nextval("pool_numbers"))))
    assert await operator.fetchval("SELECT nextval('pool_numbers')") == 1


@pytest.mark.parametrize(
    ("is_pooled", "leaves_some"), [(True, False), (False, True)], ids=["pooler", "direct"]
)
async def test_fetch_behind_pooler_prepares_no_named_statement(
    pool_of: PoolFactory, is_pooled: bool, leaves_some: bool
) -> None:
    read_pool = await pool_of(0, pgbouncer=is_pooled, pool_size=1)
    prepared = Statement(select(literal_column("(SELECT count(*) > 0 FROM pg_prepared_statements)")))
    await read_pool.fetch_one(WORD)
    assert await values_of(read_pool.fetch_one(prepared)) == (leaves_some,)


# Order


async def test_waiting_reads_are_served_first_come_first_served(
    pool_of: PoolFactory, operator: Operator
) -> None:
    read_pool = await pool_of(1)
    served: list[int] = []

    async def read(number: int) -> None:
        await read_pool.fetch_one(WORD)
        served.append(number)
        if number == 0:
            late.append(asyncio.create_task(read(9)))

    late: list[asyncio.Task[None]] = []
    await block(operator)
    blocked = await start_blocked_read(read_pool, operator)
    waiting = [asyncio.create_task(read(number)) for number in range(5)]
    await asyncio.sleep(0)
    await unblock(operator)
    await asyncio.gather(blocked, *waiting)
    await asyncio.gather(*late)
    assert served == [0, 1, 2, 3, 4, 9]


async def test_wait_beyond_timeout_raises_unavailable(pool_of: PoolFactory, operator: Operator) -> None:
    read_pool = await pool_of(1, wait_timeout=0.01)
    await block(operator)
    blocked = await start_blocked_read(read_pool, operator)
    results = await asyncio.gather(*(read_pool.fetch_one(WORD) for _ in range(3)), return_exceptions=True)
    assert [type(result) for result in results] == [DatabaseUnavailable] * 3
    await unblock(operator)
    await blocked
    assert await values_of(read_pool.fetch_one(WORD)) == ("one",)


# Cancellation


async def test_cancelled_waiting_read_does_not_block_the_next(
    pool_of: PoolFactory, operator: Operator
) -> None:
    read_pool = await pool_of(1)
    await block(operator)
    blocked = await start_blocked_read(read_pool, operator)
    impatient, patient = await start_waiting_read(read_pool), await start_waiting_read(read_pool)
    await end(impatient)
    await unblock(operator)
    await blocked
    assert await values_of(patient) == ("one",)


@kept_and_borrowed
async def test_cancelled_running_read_discards_its_connection(
    pool_of: PoolFactory, operator: Operator, size: int
) -> None:
    read_pool = await pool_of(size)
    before = read_pool.in_use
    await block(operator)
    blocked = await start_blocked_read(read_pool, operator)
    backend = await blocked_backend(operator)
    await end(blocked)
    await unblock(operator)
    is_there = "SELECT true FROM pg_stat_activity WHERE pid = $1"
    while await operator.fetchval(is_there, backend):  # noqa: ASYNC110 - nobody tells when it has ended
        await asyncio.sleep(0.001)
    for _ in range(3):
        assert await values_of(read_pool.fetch_one(WORD)) == ("one",)
    assert read_pool.in_use == before


# Limits


async def test_read_pool_as_large_as_the_engine_pool_raises_value_error(pool_dsn: str) -> None:
    engine = create_engine(pool_dsn, pool_size=2)
    with pytest.raises(ValueError, match="writers"):
        ReadPool(engine, size=2)
    await engine.dispose()


async def test_start_opens_exactly_size_connections(pool_of: PoolFactory) -> None:
    read_pool = await pool_of(3)
    assert read_pool.in_use == 3
    await asyncio.gather(*(read_pool.fetch_one(WORD) for _ in range(20)))
    assert read_pool.in_use == 3


async def test_fetch_without_start_opens_one_connection(pool_of: PoolFactory) -> None:
    read_pool = await pool_of(3, is_started=False)
    assert read_pool.in_use == 0
    for _ in range(2):
        assert await values_of(read_pool.fetch_one(WORD)) == ("one",)
    assert read_pool.in_use == 1


@kept_and_borrowed
async def test_fetch_with_exhausted_engine_pool_raises_unavailable(pool_of: PoolFactory, size: int) -> None:
    read_pool = await pool_of(size, is_started=False, pool_size=3, pool_timeout=0.01)
    async with AsyncExitStack() as stack:
        for _ in range(3):
            await stack.enter_async_context(read_pool.engine.connect())
        with pytest.raises(DatabaseUnavailable):
            await read_pool.fetch_one(WORD)
    assert await values_of(read_pool.fetch_one(WORD)) == ("one",)


@kept_and_borrowed
async def test_fetch_beyond_command_timeout_raises_unavailable(
    pool_of: PoolFactory, operator: Operator, size: int
) -> None:
    read_pool = await pool_of(size, command_timeout=0.5)
    await block(operator)
    with pytest.raises(DatabaseUnavailable):
        await read_pool.fetch_one(BLOCKED)
    await unblock(operator)
    assert await values_of(read_pool.fetch_one(WORD)) == ("one",)


async def test_fetch_beyond_lock_timeout_keeps_the_connection(
    pool_of: PoolFactory, operator: Operator
) -> None:
    read_pool = await pool_of(1, lock_timeout=0.01)
    backend = await backend_of(read_pool)
    await block(operator)
    with pytest.raises(DatabaseUnavailable):
        await read_pool.fetch_one(BLOCKED)
    assert await backend_of(read_pool) == backend


@pytest.mark.parametrize(
    ("query", "params", "error"),
    [
        (Statement(select(literal_column("1 / 0"))), {}, asyncpg.DivisionByZeroError),
        (
            Statement(select(ROWS.c.n).where(ROWS.c.word == bindparam("word"))),
            {"word": "\ud800"},
            asyncpg.DataError,
        ),
        (GET, {"n": "one"}, asyncpg.DataError),
    ],
    ids=["server", "surrogate", "type"],
)
async def test_fetch_with_invalid_statement_raises_its_error_and_keeps_the_connection(
    pool_of: PoolFactory, query: Statement, params: dict[str, Any], error: type[Exception]
) -> None:
    read_pool = await pool_of(1)
    backend = await backend_of(read_pool)
    with pytest.raises(error):
        await read_pool.fetch_one(query, **params)
    assert await backend_of(read_pool) == backend


async def test_fetch_beyond_recycle_age_uses_a_new_connection(pool_of: PoolFactory) -> None:
    young, old = await pool_of(1), await pool_of(1, recycle=0.0)
    assert await backend_of(young) == await backend_of(young)
    backends = {await backend_of(old) for _ in range(3)}
    assert len(backends) == 3
    assert old.in_use == 1


async def test_fetch_of_the_service_beyond_the_age_of_its_settings_uses_a_new_connection(
    pool_dsn: str, operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = settings_for_tests(database=DatabaseSettings(recycle=timedelta(seconds=10)))
    async with Services(settings, pool_dsn).closing() as service:
        row = await service.read_pool.fetch_one(BACKEND)
        later = SimpleNamespace(monotonic=lambda: time.monotonic() + 10)
        monkeypatch.setattr("service.db.core.read_connection.time", later)
        assert await service.read_pool.fetch_one(BACKEND) != row


# The end


async def test_close_serves_waiting_reads_and_rejects_new_ones(
    pool_of: PoolFactory, operator: Operator
) -> None:
    read_pool = await pool_of(1)
    await block(operator)
    blocked, waiting = await start_blocked_read(read_pool, operator), await start_waiting_read(read_pool)
    closing = asyncio.create_task(read_pool.close())
    await asyncio.sleep(0)
    with pytest.raises(DatabaseUnavailable):
        await read_pool.fetch_one(WORD)
    await unblock(operator)
    await asyncio.gather(blocked, closing)
    assert await values_of(waiting) == ("one",)
    assert read_pool.in_use == 0


@kept_and_borrowed
async def test_start_after_close_serves_again(pool_of: PoolFactory, size: int) -> None:
    read_pool = await pool_of(size)
    await read_pool.close()
    await read_pool.close()
    with pytest.raises(DatabaseUnavailable):
        await read_pool.fetch_one(WORD)
    await read_pool.start()
    assert await values_of(read_pool.fetch_one(WORD)) == ("one",)


async def test_close_returns_no_read_only_session_to_the_engine_pool(pool_of: PoolFactory) -> None:
    read_pool = await pool_of(2)
    await read_pool.close()
    async with read_pool.engine.begin() as connection:
        await connection.execute(text("UPDATE pool_rows SET word = 'two' WHERE n = 2"))
