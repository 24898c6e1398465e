import asyncio
import secrets
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, TypeAlias

import asyncpg
import pytest
import pytest_asyncio
from sqlalchemy import (
    ARRAY,
    Column,
    DateTime,
    Enum,
    Integer,
    LargeBinary,
    MetaData,
    Select,
    Table,
    Text,
    Uuid,
    any_,
    bindparam,
    cast,
    func,
    literal_column,
    select,
    text,
)
from sqlalchemy.dialects.postgresql import INET, JSONB
from sqlalchemy.pool import QueuePool

from service.db.core.driver import Record
from service.db.core.engine import create_engine
from service.db.core.read_pool import ReadPool
from service.db.core.statements import Statement
from service.domain.errors import DatabaseUnavailable
from service.embedded.server import EmbeddedPostgres

ROWS = Table(
    "lane_rows",
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
    DROP TABLE IF EXISTS lane_rows;
    CREATE TABLE lane_rows (n int PRIMARY KEY, id uuid, word text, words text[], digest bytea, document jsonb,
        address inet, seen_at timestamptz);
    INSERT INTO lane_rows VALUES (1, '11111111-1111-4111-8111-111111111111', 'one', '{a,b}', '\\x00ff',
        '{"k": [1]}', '192.0.2.7', '2026-01-02 03:04:05.678+02');
    INSERT INTO lane_rows (n) VALUES (2)
"""
BLOCK = 4711
LANE = frozenset({"wait_timeout", "deadline", "recycle"})

ALL = select(ROWS).order_by(ROWS.c.n)
BY_NUMBER = select(ROWS).where(ROWS.c.n == bindparam("n"))
GET = Statement(BY_NUMBER)
WORD = Statement(select(ROWS.c.word).where(ROWS.c.n == 1))
BACKEND = Statement(select(func.pg_backend_pid().label("pid")))
BLOCKED = Statement(select(func.pg_advisory_xact_lock(literal_column(str(BLOCK)))))

PATIENT = {"lock_timeout": 60, "statement_timeout": 60, "command_timeout": 60}

LaneFactory = Callable[..., Awaitable[ReadPool]]
Operator: TypeAlias = "asyncpg.Connection[asyncpg.Record]"
both_ways = pytest.mark.parametrize("size", [0, 2], ids=["pooled", "read"])


@pytest_asyncio.fixture(scope="module")
async def lane_dsn(postgres: EmbeddedPostgres) -> AsyncIterator[str]:
    """A database of its own, because all its connections get killed."""
    name = f"lane_{secrets.token_hex(4)}"
    maintenance = await asyncpg.connect(postgres.dsn_for("postgres"))
    try:
        await maintenance.execute(f"CREATE DATABASE {name}")
        yield postgres.dsn_for(name)
        await maintenance.execute(f"DROP DATABASE {name}")
    finally:
        await maintenance.close()


@pytest_asyncio.fixture
async def lane_operator(lane_dsn: str) -> AsyncIterator[Operator]:
    """Somebody else's connection to the same database, which has the table the reads are about."""
    operator = await asyncpg.connect(lane_dsn)
    try:
        await operator.execute(CREATE)
        yield operator
    finally:
        await operator.close()


@pytest_asyncio.fixture
async def lane_of(lane_dsn: str, lane_operator: Operator) -> AsyncIterator[LaneFactory]:
    """Makes lanes; what is no argument of a lane goes to its engine, which has all the time in the world."""
    async with AsyncExitStack() as stack:

        async def make(
            size: int, *, dsn: str = lane_dsn, is_started: bool = True, **arguments: Any
        ) -> ReadPool:
            of_lane = {"wait_timeout": 60} | {name: arguments.pop(name) for name in LANE & arguments.keys()}
            engine = create_engine(dsn, **PATIENT | arguments)
            stack.push_async_callback(engine.dispose)
            read_pool = ReadPool(engine, size=size, **of_lane)
            stack.push_async_callback(read_pool.close)
            if is_started:
                await read_pool.start()
            return read_pool

        yield make


@pytest.fixture(scope="module")
def lane_own_server() -> Iterator[EmbeddedPostgres]:
    with (
        tempfile.TemporaryDirectory(prefix="read") as directory,
        EmbeddedPostgres(Path(directory), durable=False) as server,
    ):
        yield server


@pytest.fixture
def lane_server(lane_own_server: EmbeddedPostgres) -> EmbeddedPostgres:
    """A running server of its own, to be stopped."""
    lane_own_server.start()
    return lane_own_server


def lasting_dsn_of(server: EmbeddedPostgres) -> str:
    """By the link to the socket's directory, which outlives the directory."""
    return f"postgresql:///rollcall?host={server._directory}/socket&port=5432&user=rollcall"


def in_use(read_pool: ReadPool) -> int:
    pool = read_pool._engine.pool
    assert isinstance(pool, QueuePool)
    return pool.checkedout()


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
    await operator.execute(f"SELECT pg_advisory_lock({BLOCK})")


async def unblock(operator: Operator) -> None:
    await operator.execute(f"SELECT pg_advisory_unlock({BLOCK})")


async def blocked_backend(operator: Operator) -> int | None:
    blocked = f"SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND objid = {BLOCK} AND NOT granted"
    pid: int | None = await operator.fetchval(blocked)
    return pid


async def start_blocked_read(read_pool: ReadPool, operator: Operator) -> "asyncio.Task[Any]":
    task = asyncio.create_task(read_pool.fetch_one(BLOCKED))
    while await blocked_backend(operator) is None:
        assert not task.done()
        await asyncio.sleep(0.001)
    return task


async def start_waiting_read(read_pool: ReadPool, query: Statement = WORD) -> "asyncio.Task[Any]":
    task = asyncio.create_task(read_pool.fetch_one(query))
    await asyncio.sleep(0)
    return task


async def end(task: "asyncio.Task[Any]") -> None:
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


# Queries


def test_compile_orders_names_by_placeholder() -> None:
    lower, upper = bindparam("lower", type_=Integer), bindparam("upper", type_=Integer)
    query = Statement(select(ROWS.c.n).where(ROWS.c.n < upper, ROWS.c.n > lower, ROWS.c.id != None))  # noqa: E711
    assert query.order == ("upper", "lower")
    assert query.arguments({"lower": 1, "upper": 2}) == [2, 1]


def test_compile_with_literal_binds_its_value() -> None:
    query = Statement(select(ROWS.c.n).where(ROWS.c.word == "one", ROWS.c.n == bindparam("n")))
    assert query.arguments({"n": 1}) == ["one", 1]


@pytest.mark.parametrize("params", [{}, {"m": 1}, {"n": 1, "m": 1}], ids=["missing", "misspelt", "unknown"])
def test_bind_with_wrong_names_raises_type_error(params: dict[str, int]) -> None:
    with pytest.raises(TypeError, match="'n'"):
        GET.arguments(params)


@pytest.mark.parametrize(
    "statement",
    [
        select(ROWS.c.n).where(ROWS.c.n.in_([1, 2])),
        select(cast(ROWS.c.word, Enum("red", name="colour"))),
    ],
    ids=["in", "enum"],
)
def test_compile_of_runtime_expansion_raises_type_error(statement: Select[Any]) -> None:
    with pytest.raises(TypeError):
        Statement(statement)


# Rows


@both_ways
async def test_fetch_all_returns_the_same_rows_as_sqlalchemy(lane_of: LaneFactory, size: int) -> None:
    read_pool = await lane_of(size)
    async with read_pool._engine.connect() as connection:
        expected = [dict(row) for row in (await connection.execute(ALL)).mappings()]
    rows = [dict(row) for row in await read_pool.fetch_all(Statement(ALL))]
    assert rows == expected
    assert [[type(value) for value in row.values()] for row in rows] == [
        [type(value) for value in row.values()] for row in expected
    ]


@both_ways
async def test_fetch_one_returns_values_by_position_name_and_attribute(
    lane_of: LaneFactory, size: int
) -> None:
    read_pool = await lane_of(size)
    row = await read_pool.fetch_one(GET, n=1)
    assert row is not None
    assert row[:2] == (1, row["id"])
    assert row.word == row["word"] == row[2] == "one"
    assert not hasattr(row, "wrod")


@both_ways
async def test_fetch_without_rows_returns_none_and_empty_list(lane_of: LaneFactory, size: int) -> None:
    read_pool = await lane_of(size)
    assert await read_pool.fetch_one(GET, n=3) is None
    assert await read_pool.fetch_all(GET, n=3) == []


@both_ways
async def test_fetch_binds_parameters_of_many_types(lane_of: LaneFactory, size: int) -> None:
    read_pool = await lane_of(size)
    row = await read_pool.fetch_one(GET, n=1)
    assert row is not None
    values = {name: row[name] for name in ("id", "word", "words", "digest", "document", "address", "seen_at")}
    conditions = [ROWS.c[name] == bindparam(name) for name in values]
    numbers = ROWS.c.n == any_(bindparam("numbers", type_=ARRAY(Integer)))
    query = Statement(select(ROWS.c.n).where(numbers, *conditions))
    found = await read_pool.fetch_one(query, numbers=[1, 2], **values)
    assert found is not None
    assert found.n == 1


@both_ways
async def test_fetch_of_a_write_raises_unavailable(
    lane_of: LaneFactory, lane_operator: Operator, size: int
) -> None:
    await lane_operator.execute("DROP SEQUENCE IF EXISTS lane_numbers; CREATE SEQUENCE lane_numbers")
    read_pool = await lane_of(size)
    with pytest.raises(DatabaseUnavailable):
        await read_pool.fetch_one(Statement(select(func.nextval("lane_numbers"))))
    assert await lane_operator.fetchval("SELECT nextval('lane_numbers')") == 1


@pytest.mark.parametrize(
    ("is_pooled", "leaves_some"), [(True, False), (False, True)], ids=["pooler", "direct"]
)
async def test_fetch_behind_pooler_prepares_no_named_statement(
    lane_of: LaneFactory, is_pooled: bool, leaves_some: bool
) -> None:
    read_pool = await lane_of(0, pgbouncer=is_pooled, pool_size=1)
    prepared = Statement(select(literal_column("(SELECT count(*) > 0 FROM pg_prepared_statements)")))
    await read_pool.fetch_one(WORD)
    assert await values_of(read_pool.fetch_one(prepared)) == (leaves_some,)


# Order


async def test_waiting_reads_are_served_first_come_first_served(
    lane_of: LaneFactory, lane_operator: Operator
) -> None:
    read_pool = await lane_of(1)
    served: list[int] = []

    async def read(number: int) -> None:
        await read_pool.fetch_one(WORD)
        served.append(number)
        if number == 0:
            late.append(asyncio.create_task(read(9)))

    late: list[asyncio.Task[None]] = []
    await block(lane_operator)
    blocked = await start_blocked_read(read_pool, lane_operator)
    waiting = [asyncio.create_task(read(number)) for number in range(5)]
    await asyncio.sleep(0)
    await unblock(lane_operator)
    await asyncio.gather(blocked, *waiting)
    await asyncio.gather(*late)
    assert served == [0, 1, 2, 3, 4, 9]


async def test_wait_beyond_timeout_raises_unavailable(lane_of: LaneFactory, lane_operator: Operator) -> None:
    read_pool = await lane_of(1, wait_timeout=0.01)
    await block(lane_operator)
    blocked = await start_blocked_read(read_pool, lane_operator)
    results = await asyncio.gather(*(read_pool.fetch_one(WORD) for _ in range(3)), return_exceptions=True)
    assert [type(result) for result in results] == [DatabaseUnavailable] * 3
    await unblock(lane_operator)
    await blocked
    assert await values_of(read_pool.fetch_one(WORD)) == ("one",)


# Cancellation


async def test_cancelled_waiting_read_does_not_block_the_next(
    lane_of: LaneFactory, lane_operator: Operator
) -> None:
    read_pool = await lane_of(1)
    await block(lane_operator)
    blocked = await start_blocked_read(read_pool, lane_operator)
    impatient, patient = await start_waiting_read(read_pool), await start_waiting_read(read_pool)
    await end(impatient)
    await unblock(lane_operator)
    await blocked
    assert await values_of(patient) == ("one",)


async def test_read_cancelled_when_granted_passes_the_connection_on(lane_of: LaneFactory) -> None:
    read_pool = await lane_of(1)
    slot = read_pool._take()
    assert slot is not None
    impatient, patient = await start_waiting_read(read_pool), await start_waiting_read(read_pool)
    read_pool._release(slot)
    await end(impatient)
    assert await values_of(patient) == ("one",)


@both_ways
async def test_cancelled_running_read_discards_its_connection(
    lane_of: LaneFactory, lane_operator: Operator, size: int
) -> None:
    read_pool = await lane_of(size)
    before = in_use(read_pool)
    await block(lane_operator)
    blocked = await start_blocked_read(read_pool, lane_operator)
    backend = await blocked_backend(lane_operator)
    await end(blocked)
    await unblock(lane_operator)
    is_there = "SELECT true FROM pg_stat_activity WHERE pid = $1"
    while await lane_operator.fetchval(is_there, backend):  # noqa: ASYNC110 - nobody tells when it has ended
        await asyncio.sleep(0.001)
    for _ in range(3):
        assert await values_of(read_pool.fetch_one(WORD)) == ("one",)
    assert in_use(read_pool) == before


# Lost connections


@both_ways
async def test_fetch_after_terminated_backends_succeeds(
    lane_of: LaneFactory, lane_operator: Operator, size: int
) -> None:
    read_pool = await lane_of(size, pool_size=4)
    async with AsyncExitStack() as stack:  # fill the pool as writers do
        for _ in range(4 - size):
            await stack.enter_async_context(read_pool._engine.connect())
    before = in_use(read_pool)
    for _ in range(3):
        await terminate_all(lane_operator)
        rows = await asyncio.gather(*(values_of(read_pool.fetch_one(WORD)) for _ in range(8)))
        assert rows == [("one",)] * 8
    assert in_use(read_pool) == before


async def test_open_skips_dead_pooled_connections(lane_of: LaneFactory, lane_operator: Operator) -> None:
    read_pool = await lane_of(2, is_started=False, pool_size=3)
    async with AsyncExitStack() as stack:
        for _ in range(3):
            await stack.enter_async_context(read_pool._engine.connect())
    await terminate_all(lane_operator)
    assert await values_of(read_pool.fetch_one(WORD)) == ("one",)


@both_ways
async def test_fetch_whose_backend_is_terminated_is_retried(
    lane_of: LaneFactory, lane_operator: Operator, size: int
) -> None:
    read_pool = await lane_of(size)
    await block(lane_operator)
    blocked = await start_blocked_read(read_pool, lane_operator)
    await terminate_all(lane_operator)
    await unblock(lane_operator)
    assert await blocked is not None


@both_ways
async def test_start_without_server_serves_once_it_is_up(
    lane_of: LaneFactory, lane_server: EmbeddedPostgres, size: int
) -> None:
    lane_server.stop()
    read_pool = await lane_of(size, dsn=lasting_dsn_of(lane_server))
    with pytest.raises(DatabaseUnavailable):
        await read_pool.fetch_one(BACKEND)
    lane_server.start()
    assert await read_pool.fetch_one(BACKEND) is not None


@both_ways
async def test_fetch_after_an_outage_succeeds(
    lane_of: LaneFactory, lane_server: EmbeddedPostgres, size: int
) -> None:
    read_pool = await lane_of(size, dsn=lasting_dsn_of(lane_server))
    assert await read_pool.fetch_one(BACKEND) is not None
    lane_server.stop()
    for _ in range(size + 1):
        with pytest.raises(DatabaseUnavailable):
            await read_pool.fetch_one(BACKEND)
    lane_server.start()
    rows = await asyncio.gather(*(read_pool.fetch_one(BACKEND) for _ in range(4)))
    assert None not in rows


# A schema that changes


@both_ways
async def test_fetch_after_column_type_change_returns_the_new_type(
    lane_of: LaneFactory, lane_operator: Operator, size: int
) -> None:
    read_pool = await lane_of(size)
    query = Statement(select(ROWS.c.n, ROWS.c.word).where(ROWS.c.word == bindparam("word")))
    assert await values_of(read_pool.fetch_one(query, word="one")) == (1, "one")
    await lane_operator.execute("ALTER TABLE lane_rows ALTER n TYPE text")
    row = await read_pool.fetch_one(query, word="one")
    assert row is not None
    assert (row.n, row.word) == ("1", "one")


@both_ways
async def test_fetch_after_composite_type_change_succeeds(
    lane_of: LaneFactory, lane_operator: Operator, size: int
) -> None:
    await lane_operator.execute(
        "DROP TYPE IF EXISTS lane_pair CASCADE; CREATE TYPE lane_pair AS (a int, b int)"
    )
    await lane_operator.execute(
        "ALTER TABLE lane_rows ADD pair lane_pair; UPDATE lane_rows SET pair = (1, 2)"
    )
    read_pool = await lane_of(size)
    query = Statement(select(literal_column("pair")).select_from(ROWS).where(ROWS.c.n == 1))
    assert await values_of(read_pool.fetch_one(query)) == ((1, 2),)
    await lane_operator.execute("ALTER TYPE lane_pair ADD ATTRIBUTE c int CASCADE")
    assert await values_of(read_pool.fetch_one(query)) == ((1, 2, None),)


# Limits


async def test_read_pool_as_large_as_the_engine_pool_raises_value_error(lane_dsn: str) -> None:
    engine = create_engine(lane_dsn, pool_size=2)
    with pytest.raises(ValueError, match="writers"):
        ReadPool(engine, size=2)
    await engine.dispose()


async def test_start_opens_exactly_size_connections(lane_of: LaneFactory) -> None:
    read_pool = await lane_of(3)
    assert in_use(read_pool) == 3
    await asyncio.gather(*(read_pool.fetch_one(WORD) for _ in range(20)))
    assert in_use(read_pool) == 3


async def test_fetch_without_start_opens_one_connection(lane_of: LaneFactory) -> None:
    read_pool = await lane_of(3, is_started=False)
    assert in_use(read_pool) == 0
    for _ in range(2):
        assert await values_of(read_pool.fetch_one(WORD)) == ("one",)
    assert in_use(read_pool) == 1


@both_ways
async def test_fetch_with_exhausted_engine_pool_raises_unavailable(lane_of: LaneFactory, size: int) -> None:
    read_pool = await lane_of(size, is_started=False, pool_size=3, pool_timeout=0.01)
    async with AsyncExitStack() as stack:
        for _ in range(3):
            await stack.enter_async_context(read_pool._engine.connect())
        with pytest.raises(DatabaseUnavailable):
            await read_pool.fetch_one(WORD)
    assert await values_of(read_pool.fetch_one(WORD)) == ("one",)


@both_ways
async def test_fetch_beyond_command_timeout_raises_unavailable(
    lane_of: LaneFactory, lane_operator: Operator, size: int
) -> None:
    read_pool = await lane_of(size, command_timeout=0.5)
    await block(lane_operator)
    with pytest.raises(DatabaseUnavailable):
        await read_pool.fetch_one(BLOCKED)
    await unblock(lane_operator)
    assert await values_of(read_pool.fetch_one(WORD)) == ("one",)


async def test_fetch_beyond_lock_timeout_keeps_the_connection(
    lane_of: LaneFactory, lane_operator: Operator
) -> None:
    read_pool = await lane_of(1, lock_timeout=0.01)
    backend = await backend_of(read_pool)
    await block(lane_operator)
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
    lane_of: LaneFactory, query: Statement, params: dict[str, Any], error: type[Exception]
) -> None:
    read_pool = await lane_of(1)
    backend = await backend_of(read_pool)
    with pytest.raises(error):
        await read_pool.fetch_one(query, **params)
    assert await backend_of(read_pool) == backend


async def test_fetch_beyond_recycle_age_uses_a_new_connection(lane_of: LaneFactory) -> None:
    young, old = await lane_of(1), await lane_of(1, recycle=0.0)
    assert await backend_of(young) == await backend_of(young)
    backends = {await backend_of(old) for _ in range(3)}
    assert len(backends) == 3
    assert in_use(old) == 1


# The end


async def test_close_serves_waiting_reads_and_rejects_new_ones(
    lane_of: LaneFactory, lane_operator: Operator
) -> None:
    read_pool = await lane_of(1)
    await block(lane_operator)
    blocked, waiting = await start_blocked_read(read_pool, lane_operator), await start_waiting_read(read_pool)
    closing = asyncio.create_task(read_pool.close())
    await asyncio.sleep(0)
    with pytest.raises(DatabaseUnavailable):
        await read_pool.fetch_one(WORD)
    await unblock(lane_operator)
    await asyncio.gather(blocked, closing)
    assert await values_of(waiting) == ("one",)
    assert in_use(read_pool) == 0


@both_ways
async def test_start_after_close_serves_again(lane_of: LaneFactory, size: int) -> None:
    read_pool = await lane_of(size)
    await read_pool.close()
    await read_pool.close()
    with pytest.raises(DatabaseUnavailable):
        await read_pool.fetch_one(WORD)
    await read_pool.start()
    assert await values_of(read_pool.fetch_one(WORD)) == ("one",)


async def test_close_returns_no_read_only_session_to_the_engine_pool(lane_of: LaneFactory) -> None:
    read_pool = await lane_of(2)
    await read_pool.close()
    async with read_pool._engine.begin() as connection:
        await connection.execute(text("UPDATE lane_rows SET word = 'two' WHERE n = 2"))
