from collections.abc import AsyncIterator

import asyncpg
import pytest
import pytest_asyncio
from sqlalchemy import exc as sa
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from service.db.core.engine import create_engine
from service.db.core.error_classes import describe, is_disconnect, is_retryable, sqlstate_of, translate
from service.domain.errors import DatabaseUnavailable, LastAdmin, OutcomeUnknown
from service.embedded.server import EmbeddedPostgres

RAISE = "DO $$ BEGIN RAISE EXCEPTION 'Failing row contains (hunter2)' USING ERRCODE = '{}'; END $$"

# SQLSTATE: domain error, domain error if COMMIT returned it, whether it is retryable
MEANINGS = {
    "08006": (DatabaseUnavailable, OutcomeUnknown, True),
    "25006": (DatabaseUnavailable, DatabaseUnavailable, False),
    "25P03": (DatabaseUnavailable, OutcomeUnknown, True),
    "40001": (DatabaseUnavailable, DatabaseUnavailable, True),
    "40003": (DatabaseUnavailable, OutcomeUnknown, False),
    "40P01": (DatabaseUnavailable, DatabaseUnavailable, True),
    "53100": (DatabaseUnavailable, DatabaseUnavailable, False),
    "53300": (DatabaseUnavailable, DatabaseUnavailable, False),
    "55P03": (DatabaseUnavailable, DatabaseUnavailable, False),
    "57014": (DatabaseUnavailable, DatabaseUnavailable, False),
    "57P01": (DatabaseUnavailable, OutcomeUnknown, True),
    "57P03": (DatabaseUnavailable, DatabaseUnavailable, False),
    "22012": (type(None), type(None), False),
    "23505": (type(None), type(None), False),
    "23514": (type(None), type(None), False),
    "42601": (type(None), type(None), False),
    "P0001": (type(None), type(None), False),
}


@pytest_asyncio.fixture
async def maintenance_engine(postgres: EmbeddedPostgres) -> AsyncIterator[AsyncEngine]:
    engine = create_engine(postgres.dsn_for("postgres"))  # the maintenance database
    yield engine
    await engine.dispose()


async def execute(engine: AsyncEngine, *statements: str) -> None:
    async with engine.connect() as connection:
        for statement in statements:
            await connection.execute(text(statement))


async def failure_of(engine: AsyncEngine, *statements: str) -> sa.DBAPIError:
    with pytest.raises(sa.DBAPIError) as caught:
        await execute(engine, *statements)
    return caught.value


async def commit_on_a_dead_connection(engine: AsyncEngine) -> None:
    async with engine.connect() as victim, engine.connect() as killer:
        pid = await victim.scalar(text("SELECT pg_backend_pid()"))
        await killer.execute(text("SELECT pg_terminate_backend(:pid, 5000)"), {"pid": pid})
        await victim.commit()


async def read_with_a_stale_plan(engine: AsyncEngine) -> None:
    statement = text("SELECT n FROM stale_plan")
    async with engine.begin() as migration:
        await migration.execute(text("CREATE TABLE stale_plan (n int)"))
    async with engine.connect() as reader, engine.connect() as migration:
        await reader.execute(statement)
        await reader.commit()
        # Straight on the driver, as a migration in another process would be.
        driver = (await migration.get_raw_connection()).driver_connection
        assert driver is not None
        await driver.execute("ALTER TABLE stale_plan ALTER n TYPE text")
        try:
            await reader.execute(statement)
        finally:
            await reader.rollback()
            await driver.execute("DROP TABLE stale_plan")


@pytest.mark.parametrize("sqlstate", MEANINGS)
async def test_translate_sqlstate_returns_its_domain_error(
    maintenance_engine: AsyncEngine, sqlstate: str
) -> None:
    error = await failure_of(maintenance_engine, RAISE.format(sqlstate))
    expected, expected_at_commit, retryable = MEANINGS[sqlstate]
    for seen in (error, error.driver_exception):
        assert sqlstate_of(seen) == sqlstate
        assert type(translate(seen)) is expected
        assert type(translate(seen, committing=True)) is expected_at_commit
        assert is_retryable(seen) is retryable


@pytest.mark.parametrize(
    ("error", "expected", "expected_at_commit"),
    [
        (TimeoutError(), DatabaseUnavailable, OutcomeUnknown),
        (sa.TimeoutError(), DatabaseUnavailable, OutcomeUnknown),
        (ConnectionRefusedError(), DatabaseUnavailable, OutcomeUnknown),
        (ConnectionResetError(), DatabaseUnavailable, OutcomeUnknown),
        (FileNotFoundError(), DatabaseUnavailable, OutcomeUnknown),
        (asyncpg.InterfaceError("connection is closed"), DatabaseUnavailable, OutcomeUnknown),
        (asyncpg.TargetServerAttributeNotMatched(), DatabaseUnavailable, OutcomeUnknown),
        (asyncpg.InvalidPasswordError("hunter2"), DatabaseUnavailable, DatabaseUnavailable),
        (asyncpg.DataError("hunter2"), type(None), type(None)),
        (asyncpg.InterfaceError("another operation is in progress"), type(None), type(None)),
        (ValueError("hunter2"), type(None), type(None)),
        (KeyboardInterrupt(), type(None), type(None)),
    ],
    ids=lambda value: value.__class__.__name__ if isinstance(value, BaseException) else value.__name__,
)
def test_translate_client_side_error_returns_its_domain_error(
    error: BaseException, expected: type, expected_at_commit: type
) -> None:
    assert type(translate(error)) is expected
    assert type(translate(error, committing=True)) is expected_at_commit


def test_translate_domain_error_returns_it() -> None:
    domain_error = LastAdmin()
    assert translate(domain_error) is domain_error
    assert translate(domain_error, committing=True) is domain_error


async def test_translate_failed_commit_returns_outcome_unknown(maintenance_engine: AsyncEngine) -> None:
    with pytest.raises(sa.DBAPIError) as caught:
        await commit_on_a_dead_connection(maintenance_engine)
    error = caught.value
    assert is_disconnect(error)
    assert is_retryable(error)
    assert isinstance(translate(error), DatabaseUnavailable)
    assert isinstance(translate(error, committing=True), OutcomeUnknown)


async def test_stale_plan_is_retryable(maintenance_engine: AsyncEngine) -> None:
    with pytest.raises(sa.DBAPIError) as caught:
        await read_with_a_stale_plan(maintenance_engine)
    error = caught.value
    assert is_retryable(error)
    assert not is_disconnect(error)
    assert isinstance(translate(error), DatabaseUnavailable)


@pytest.mark.parametrize(
    "error", [ConnectionRefusedError(), TimeoutError(), asyncpg.CannotConnectNowError("")]
)
def test_refused_connection_is_not_retryable(error: BaseException) -> None:
    assert not is_disconnect(error)
    assert not is_retryable(error)


async def test_describe_violation_contains_names_and_no_values(maintenance_engine: AsyncEngine) -> None:
    create = "CREATE TEMP TABLE secrets (word text CONSTRAINT ck_word CHECK (word = ''))"
    error = await failure_of(maintenance_engine, create, "INSERT INTO secrets VALUES ('hunter2')")
    for seen in (error, error.driver_exception):
        assert describe(seen) == {
            "error": "asyncpg.exceptions.CheckViolationError",
            "sqlstate": "23514",
            "constraint": "ck_word",
            "table": "secrets",
        }


async def test_describe_error_contains_no_message(maintenance_engine: AsyncEngine) -> None:
    error = await failure_of(maintenance_engine, RAISE.format("22012"))
    assert describe(error) == {"error": "asyncpg.exceptions.DivisionByZeroError", "sqlstate": "22012"}
    assert describe(ValueError("hunter2")) == {"error": "builtins.ValueError"}
