"""The check that opens a caller's transactions: what it costs, and how it is sent."""

from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest
import pytest_asyncio
from sqlalchemy import text

from service.db.core.database import Database
from service.db.core.engine import create_engine
from service.db.core.guard import Guard
from service.db.core.statements import Statement
from service.db.core.transaction import Transaction
from service.db.repositories.authority import guard_of
from service.domain.callers import ANONYMOUS, OPERATOR, Caller, CallerKind
from service.domain.errors import InvalidToken, NotFound
from service.domain.keys import Scope
from service.security.tokens import API_KEY_PREFIX, SESSION_PREFIX, digest_of
from tests.support.api import Api

ONE = Statement(text("SELECT 1"))
NAME = "guarded"


async def caller_of(api: Api, token: str) -> Caller:
    reads = api.service.reads
    if (digest := digest_of(token, SESSION_PREFIX)) is not None:
        found = await reads.sessions.find_live(digest)
        return Caller(CallerKind.USER, authenticated_session=found)
    digest = digest_of(token, API_KEY_PREFIX)
    assert digest is not None
    return Caller(CallerKind.KEY, key=await reads.keys.find_live(digest))


@pytest.fixture
def messages(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was sent to the database as text, each in one round trip."""
    sent: list[str] = []
    execute = asyncpg.Connection.execute

    async def record(driver: Any, sql: str, *arguments: Any, **options: Any) -> str:
        if driver.get_settings().application_name == NAME:
            sent.append(sql)
        return str(await execute(driver, sql, *arguments, **options))

    monkeypatch.setattr(asyncpg.Connection, "execute", record)
    return sent


@pytest_asyncio.fixture(params=[False, True], ids=["own connections", "behind a pooler"])
async def guarded(api: Api, shared_database: str, request: pytest.FixtureRequest) -> AsyncIterator[Database]:
    engine = create_engine(shared_database, pool_size=1, pgbouncer=request.param, application_name=NAME)
    await Database(engine, guard_of).run(run_one, caller=OPERATOR)  # SQLAlchemy asks for the version first
    yield Database(engine, guard_of)
    await engine.dispose()


async def run_one(tx: Transaction) -> object:
    return await tx.fetch_one(ONE)


async def test_guarded_transaction_takes_no_more_round_trips_than_any(
    api: Api, guarded: Database, messages: list[str]
) -> None:
    ada, key = await api.account(), await api.key(Scope.USERS_READ)
    callers = [await caller_of(api, token) for token in (ada.token, ada.token, key, key)]
    messages.clear()
    for caller in (ANONYMOUS, OPERATOR, *callers):
        await guarded.run(run_one, caller=caller)
        opening, commit = messages
        assert "BEGIN;" in opening
        assert commit == "COMMIT;"
        assert (opening == "BEGIN;") is (caller in (ANONYMOUS, OPERATOR))
        messages.clear()


async def test_prepared_check_is_planned_once_for_a_connection(
    api: Api, shared_database: str, messages: list[str]
) -> None:
    engine = create_engine(shared_database, pool_size=1, application_name=NAME)
    database, caller = Database(engine, guard_of), await caller_of(api, (await api.account()).token)
    messages.clear()
    for _ in range(3):
        await database.run(run_one, caller=caller)
    await engine.dispose()
    openings = [sql for sql in messages if "EXECUTE session_is_live(" in sql]
    assert [opening.startswith("PREPARE") for opening in openings] == [True, False, False]


async def test_guard_of_a_session_that_ended_raises_and_the_connection_stays_usable(
    api: Api, guarded: Database
) -> None:
    ada, bob = await api.account(), await api.account("bob")
    gone, live = await caller_of(api, ada.token), await caller_of(api, bob.token)
    await api.by(ada).delete("/v1/sessions/current")
    for _ in range(2):
        with pytest.raises(InvalidToken):
            await guarded.run(run_one, caller=gone)
        assert await guarded.run(run_one, caller=live) is not None


async def test_transaction_that_ends_before_its_first_statement_leaves_the_check_to_be_prepared(
    api: Api, guarded: Database
) -> None:
    caller = await caller_of(api, (await api.account()).token)

    async def fail(_tx: Transaction) -> None:
        raise NotFound

    with pytest.raises(NotFound):
        await guarded.run(fail, caller=caller)
    assert await guarded.run(run_one, caller=caller) is not None


async def test_guard_that_fails_replaces_the_connection(api: Api, shared_database: str) -> None:
    """Whether the check is prepared on it is unknown."""
    engine = create_engine(shared_database, pool_size=1)
    broken = Guard("broken", Statement(text("SELECT 1 / (:zero)::int")), {"zero": 0})
    database = Database(engine, lambda caller: broken if caller is ANONYMOUS else None)
    pid = Statement(text("SELECT pg_backend_pid()"))

    async def backend_pid(tx: Transaction) -> int:
        row = await tx.fetch_one(pid)
        assert row is not None
        return int(row[0])

    before = await database.run(backend_pid, caller=OPERATOR)
    for _ in range(2):
        with pytest.raises(asyncpg.DivisionByZeroError):
            await database.run(backend_pid, caller=ANONYMOUS)
    assert await database.run(backend_pid, caller=OPERATOR) != before
    await engine.dispose()


@pytest.mark.parametrize("value", ["it's", "'; DROP TABLE users; --", "\\'", ["a", 'b"c', "d\\", "'"]])
async def test_guard_opening_quotes_its_values(shared_database: str, value: object) -> None:
    kind = "text[]" if isinstance(value, list) else "text"
    guard = Guard("g", Statement(text(f"SELECT CAST(:value AS {kind}) AS told")), {"value": value})
    connection = await asyncpg.connect(shared_database)
    opening = guard.opening(None)
    assert opening.startswith("BEGIN; SELECT ")
    (row,) = await connection.fetch(opening.removeprefix("BEGIN; "))
    assert row["told"] == value
    await connection.close()
