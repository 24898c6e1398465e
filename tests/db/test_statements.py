"""Statements on the driver store and return the same values as SQLAlchemy's execution."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from importlib import import_module
from pkgutil import walk_packages
from typing import Any
from uuid import UUID

import pytest
import pytest_asyncio
from sqlalchemy import (
    ARRAY,
    Boolean,
    Column,
    DateTime,
    Enum,
    Float,
    Integer,
    Interval,
    LargeBinary,
    MetaData,
    Select,
    Table,
    Text,
    Uuid,
    bindparam,
    cast,
    insert,
    literal,
    select,
    text,
    update,
)
from sqlalchemy.dialects.postgresql import INTERVAL, JSONB
from sqlalchemy.ext.asyncio import AsyncEngine

import service.db
from service.db.core.database import Database
from service.db.core.engine import create_engine
from service.db.core.statements import Statement
from service.db.core.transaction import Transaction
from service.db.repositories.authority import guard_of
from service.domain.callers import OPERATOR
from service.domain.errors import LoginIdTaken

ROWS = Table(
    "statement_rows",
    MetaData(),
    Column("n", Integer, primary_key=True),
    Column("id", Uuid),
    Column("word", Text),
    Column("words", ARRAY(Text)),
    Column("ids", ARRAY(Uuid)),
    Column("digest", LargeBinary),
    Column("document", JSONB),
    Column("share", Float),
    Column("is_so", Boolean),
    Column("lasts", INTERVAL),
    Column("seen_at", DateTime(timezone=True)),
)
VALUES: dict[str, Any] = {
    "id": UUID(int=1),
    "word": "œuvre \U0001f40c",
    "words": ["a", "b,c", '"'],
    "ids": [UUID(int=2), UUID(int=3)],
    "digest": b"\0\xff",
    "document": {"k": [1, None, "ü"]},
    "share": 0.1,
    "is_so": True,
    "lasts": timedelta(days=40, microseconds=1),
    "seen_at": datetime(2026, 1, 2, 3, 4, 5, 678901, UTC),
}
NOTHING = dict.fromkeys(VALUES)
ADD = Statement(insert(ROWS), "n", *VALUES)
GET = Statement(select(ROWS).where(ROWS.c.n == bindparam("n")))


@pytest_asyncio.fixture
async def engine(database: str) -> AsyncIterator[AsyncEngine]:
    engine = create_engine(database, pool_size=2)
    async with engine.begin() as connection:
        await connection.run_sync(ROWS.create)
    yield engine
    await engine.dispose()


@pytest.mark.parametrize("values", [VALUES, NOTHING], ids=["values", "null"])
async def test_insert_stores_the_same_values_as_sqlalchemy(
    engine: AsyncEngine, values: dict[str, Any]
) -> None:
    async with engine.begin() as connection:
        await connection.execute(insert(ROWS), {"n": 1, **values})
    async with Database(engine, guard_of).transaction(caller=OPERATOR) as tx:
        assert await tx.execute(ADD, n=2, **values) == 1
    async with engine.connect() as connection:
        ordinary, ours = [tuple(row) for row in await connection.execute(text("TABLE statement_rows"))]
    assert ours[1:] == ordinary[1:]


@pytest.mark.parametrize("values", [VALUES, NOTHING], ids=["values", "null"])
async def test_select_returns_the_same_values_as_sqlalchemy(
    engine: AsyncEngine, values: dict[str, Any]
) -> None:
    async with engine.begin() as connection:
        await connection.execute(insert(ROWS), {"n": 1, **values})
        expected = (await connection.execute(select(ROWS))).one()
    async with Database(engine, guard_of).transaction(caller=OPERATOR) as tx:
        row = await tx.fetch_one(GET, n=1)
        assert await tx.fetch_one(GET, n=2) is None
    assert row is not None
    assert tuple(row) == tuple(expected) == (1, *values.values())
    assert [type(value) for value in row] == [type(value) for value in expected]


async def test_bind_timedelta_to_generic_interval_adds_it(engine: AsyncEngine) -> None:
    lasts = literal(timedelta(hours=1), Interval) + bindparam("more", type_=Interval)
    put = Statement(
        update(ROWS).where(ROWS.c.n == bindparam("of")).values(lasts=lasts).returning(ROWS.c.lasts)
    )
    async with Database(engine, guard_of).transaction(caller=OPERATOR) as tx:
        await tx.execute(ADD, n=1, **VALUES)
        rows = await tx.fetch_all(put, of=1, more=timedelta(minutes=1))
    assert [row.lasts for row in rows] == [timedelta(minutes=61)]


async def test_execute_returns_the_number_of_rows(engine: AsyncEngine) -> None:
    delete_all = Statement(text("DELETE FROM statement_rows"))
    async with Database(engine, guard_of).transaction(caller=OPERATOR) as tx:
        for n in range(12):
            await tx.execute(ADD, n=n, **NOTHING)
        assert await tx.execute(delete_all) == 12
        assert await tx.execute(delete_all) == 0


async def test_known_constraint_violation_raises_its_domain_error(engine: AsyncEngine) -> None:
    add = Statement(text("INSERT INTO users (id, login_id, name) VALUES (gen_random_uuid(), 'ada', 'Ada')"))

    async def add_twice(tx: Transaction) -> None:
        await tx.execute(add)
        await tx.execute(add)

    with pytest.raises(LoginIdTaken):
        await Database(engine, guard_of).run(add_twice, caller=OPERATOR)


def test_compile_every_statement_of_a_module_succeeds() -> None:
    names = [found.name for found in walk_packages(service.db.__path__, "service.db.")]
    values = [value for name in names for value in vars(import_module(name)).values()]
    texts = {value.sql for value in values if isinstance(value, Statement)}
    assert len(texts) > 100


def test_compile_insert_takes_named_columns() -> None:
    statement = Statement(insert(ROWS).values(word="one").returning(ROWS.c.n), "n", "digest")
    assert statement.arguments({"n": 1, "digest": b""}).count("one") == 1
    with pytest.raises(TypeError, match="digest"):
        statement.arguments({"n": 1})


def test_compile_of_python_converted_type_raises_type_error() -> None:
    colour = Table("t", MetaData(), Column("c", Enum("red", name="colour")), Column("i", Interval))
    for column in colour.c:
        with pytest.raises(TypeError, match="converts"):
            _ = Statement(update(colour).values(c="red").returning(column)).sql


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
        _ = Statement(statement).sql
