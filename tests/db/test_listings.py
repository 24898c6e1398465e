"""The cost of a page or a look-up: it reads a range of an index, for any filter, sort and table size."""

import itertools
import json
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, cast
from uuid import UUID

import asyncpg
import pytest
import pytest_asyncio

from service.db.core.read_pool import ReadPool
from service.db.core.statements import Statement
from service.db.core.transaction import Transaction
from service.db.repositories.emails import EmailReads, EmailRepository
from service.db.repositories.events import EventReads
from service.db.repositories.keys import ApiKeyReads
from service.db.repositories.sessions import SessionReads
from service.db.repositories.users import UserReads
from service.domain.pages import Keyset, UserFilter, UserSort
from service.domain.users import UserRole, UserState

ID = UUID("0198c5a4-7d1e-7c3b-9f60-2b1f3a5c7d9e")
START = datetime(2026, 1, 1, tzinfo=UTC)
END = datetime(2036, 1, 1, tzinfo=UTC)
SOME = 2000
MILLION = 1_000_000
MOST_ROWS = 20_000
"""The limit for a page of fifty: a thirtieth of what the rarest full scan reads."""

# A user per second; a few administrators, one in two hundred disabled, a thousand different names.
USERS = """
    INSERT INTO users (id, login_id, name, created_at, role, state)
    SELECT gen_random_uuid(), 'user' || n, initcap(md5((n % 1000)::text)) || ' ' || n,
           timestamptz '2026-01-01 UTC' + n * interval '1 s',
           CASE WHEN n % 50000 = 0 THEN 'admin' ELSE 'user' END,
           CASE WHEN n % 200 = 0 THEN 'disabled' ELSE 'active' END
    FROM generate_series(1, $1::int) n
    """
EVENTS = """
    INSERT INTO events (id, at, actor_kind, action)
    SELECT gen_random_uuid(), timestamptz '2026-01-01 UTC' + n * interval '1 s', 'user', 'login_failed'
    FROM generate_series(1, $1::int) n
    """
KEYS = """
    INSERT INTO api_keys (id, name, scopes, prefix, token_digest, created_at)
    SELECT gen_random_uuid(), 'key', '{users:read}', 'rck_0000', sha256(n::text::bytea),
           timestamptz '2026-01-01 UTC' + n * interval '1 s'
    FROM generate_series(1, $1::int) n
    """
CLAIMED = "ada@example.org"
CLAIMS = f"""
    INSERT INTO users (id, login_id, name, created_at, email, email_verified_at, external_id)
    SELECT gen_random_uuid(), 'user' || n, 'User', timestamptz '2026-01-01 UTC' + n * interval '1 s',
           CASE WHEN n < $1::int THEN 'user' || n || '@example.org' ELSE '{CLAIMED}' END,
           CASE WHEN n <= $1::int THEN now() END, 'x' || n
    FROM generate_series(1, $1::int + $2::int) n
    """
"""Its last users claim the address that one of them has verified."""
SESSIONS = """
    INSERT INTO sessions (id, user_id, token_digest, expires_at, idle_expires_at)
    SELECT gen_random_uuid(), id, sha256(id::text::bytea), now() + interval '1 d', now() + interval '1 d'
    FROM users
    """


class RecordingExecutor:
    """Records the last statement and returns no rows."""

    def __init__(self) -> None:
        self.last: tuple[Statement, dict[str, Any]] | None = None

    async def fetch_all(self, query: Statement, **values: Any) -> list[Any]:
        self.last = query, values
        return []

    async def fetch_one(self, query: Statement, **values: Any) -> None:
        self.last = query, values


def nodes_of(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for child in plan.get("Plans", ()):
        yield from nodes_of(child)


async def plan_of(connection: Any, statements: RecordingExecutor) -> list[dict[str, Any]]:
    assert statements.last is not None
    query, values = statements.last
    explained = await connection.fetchval(
        f"EXPLAIN (ANALYZE, FORMAT JSON) {query.sql}", *query.arguments(values)
    )
    return list(nodes_of(json.loads(explained)[0]["Plan"]))


async def prepared_plan_of(connection: Any, statements: RecordingExecutor) -> list[dict[str, Any]]:
    """Return the plan of a prepared statement, which `plan_cache_mode` decides about."""
    assert statements.last is not None
    query, values = statements.last
    literals = [
        "'{" + ",".join(value) + "}'" if isinstance(value, list) else f"'{value}'"
        for value in query.arguments(values)
    ]
    await connection.execute(f"PREPARE found AS {query.sql}")
    explained = await connection.fetchval(
        f"EXPLAIN (ANALYZE, FORMAT JSON) EXECUTE found({', '.join(literals)})"
    )
    await connection.execute("DEALLOCATE found")
    return list(nodes_of(json.loads(explained)[0]["Plan"]))


def rows_read(nodes: list[dict[str, Any]]) -> int:
    """Return the number of rows that the scans of a plan read."""
    return sum(
        int((node["Actual Rows"] + node.get("Rows Removed by Filter", 0)) * node["Actual Loops"])
        for node in nodes
        if "Scan" in node["Node Type"]
    )


ADDRESSES = (UserFilter(email=CLAIMED), UserFilter(email="user7@example.org"), UserFilter(external_id="x7"))
FILTERS: dict[str, dict[str, Any]] = {
    "none": {},
    "common prefix": {"prefix": "us"},
    "rare prefix": {"prefix": "user77777"},
    "prefix of names": {"prefix": "c4ca"},
    "missing prefix": {"prefix": "zzz"},
    "login id": {"login_id": "user777"},
    "missing login id": {"login_id": "nobody"},
    "since late": {"created_after": datetime(2036, 1, 1, tzinfo=UTC)},
    "until late": {"created_before": datetime(2036, 1, 1, tzinfo=UTC)},
}
STATES: list[UserState | None] = [None, *UserState]
ROLES: list[UserRole | None] = [None, *UserRole]
COMBINATIONS = list(itertools.product(FILTERS, STATES, ROLES, UserSort, [False, True]))


def position(sort: UserSort) -> Keyset:
    return Keyset(ID, text="user5") if sort is UserSort.LOGIN_ID else Keyset(ID, at=START)


async def list_users(reads: UserReads, combination: tuple[Any, ...]) -> None:
    name, state, role, sort, is_continued = combination
    wanted = UserFilter(**FILTERS[name], state=state, role=role)
    await reads.list_page(wanted, sort=sort, after=position(sort) if is_continued else None, limit=50)


async def list_others(read_pool: Any, number: int) -> None:
    after = Keyset(ID, at=END)
    where = after if number % 2 else None
    if number // 2 == 0:
        await EventReads(read_pool).list_page(after=where, limit=50)
    elif number // 2 == 1:
        await ApiKeyReads(read_pool).list_page(after=where, limit=50)
    else:
        await SessionReads(read_pool).list_page(ID, after=where, limit=50)


@pytest_asyncio.fixture
async def connection(database: str) -> AsyncIterator[Any]:
    connection = await asyncpg.connect(database)
    yield connection
    await connection.close()


async def test_list_page_uses_an_index_and_no_sort(connection: Any) -> None:
    """With few rows the planner might sort, so sorting is disabled where possible."""
    await connection.execute(USERS.replace("$1", str(SOME)))
    for statement in (EVENTS, KEYS, SESSIONS):
        await connection.execute(statement.replace("$1", str(SOME)))
    await connection.execute("ANALYZE; SET enable_seqscan = off; SET enable_sort = off")
    statements = RecordingExecutor()
    reads = UserReads(cast(ReadPool, statements))

    for combination in COMBINATIONS:
        if UserState.ACTIVE in combination or UserRole.USER in combination:
            continue  # no index has these: nearly every user does
        if "prefix" in combination[0]:
            continue  # two indexes serve it, neither in order
        await list_users(reads, combination)
        kinds = {node["Node Type"] for node in await plan_of(connection, statements)}
        assert not kinds & {"Seq Scan", "Sort"}, (combination, kinds)
    for number in range(6):
        await list_others(statements, number)
        nodes = await plan_of(connection, statements)
        kinds = {node["Node Type"] for node in nodes}
        assert not kinds & {"Seq Scan", "Sort"}, (number, kinds)
        assert rows_read(nodes) <= 100, (number, nodes)


async def test_read_by_ids_uses_the_primary_key_in_one_statement(connection: Any) -> None:
    await connection.execute(USERS.replace("$1", str(SOME)))
    for statement in (KEYS, SESSIONS):
        await connection.execute(statement.replace("$1", str(SOME)))
    await connection.execute("ANALYZE")
    statements = RecordingExecutor()
    executor = cast(ReadPool, statements)

    for read, index in (
        (UserReads(executor).get_many([ID] * 2 + [UUID(int=n) for n in range(99)]), "pk_users"),
        (ApiKeyReads(executor).get(ID), "pk_api_keys"),
        (SessionReads(executor).get(ID), "pk_sessions"),
    ):
        await read
        nodes = await plan_of(connection, statements)
        assert index in {node.get("Index Name") for node in nodes}, nodes
        assert not {node["Node Type"] for node in nodes} & {"Seq Scan", "Sort"}


async def test_list_users_by_rare_prefix_uses_both_indexes(connection: Any) -> None:
    await connection.execute(USERS.replace("$1", str(SOME)))
    await connection.execute("ANALYZE users; SET enable_seqscan = off")
    statements = RecordingExecutor()

    await list_users(
        UserReads(cast(ReadPool, statements)), ("missing prefix", None, None, UserSort.CREATED, False)
    )

    indexes = {node.get("Index Name") for node in await plan_of(connection, statements)}
    assert {"uq_users_login_id", "ix_users_folded_name"} <= indexes


@pytest.mark.parametrize(
    ("users", "claims"),
    [
        (3000, 1000),
        pytest.param(MILLION, 50_000, marks=[pytest.mark.slow, pytest.mark.timeout(900)]),
    ],
)
@pytest.mark.parametrize("plans", ["custom", "generic"])
async def test_find_an_address_that_many_claim_reads_no_claim_more_than_it_shows(
    connection: Any, users: int, claims: int, plans: str
) -> None:
    await connection.execute(CLAIMS.replace("$1", str(users)).replace("$2", str(claims)), timeout=600)
    await connection.execute(f"ANALYZE users; SET plan_cache_mode = force_{plans}_plan", timeout=600)
    statements = RecordingExecutor()

    middle = Keyset(ID, at=START + timedelta(seconds=users + claims / 2))
    found = {}

    await EmailReads(cast(ReadPool, statements)).get_by_verified(CLAIMED)
    found["get_by_verified"] = rows_read(await prepared_plan_of(connection, statements))
    await EmailRepository(cast(Transaction, statements)).taken([CLAIMED, "user7@example.org"], ["x7"])
    found["taken"] = rows_read(await prepared_plan_of(connection, statements))
    for wanted, sort, after in itertools.product(
        ADDRESSES, (UserSort.CREATED, UserSort.CREATED_DESCENDING), (None, middle)
    ):
        await UserReads(cast(ReadPool, statements)).list_page(wanted, sort=sort, after=after, limit=9)
        found[f"{wanted} {sort} {after}"] = rows_read(await prepared_plan_of(connection, statements))

    assert {what: rows for what, rows in found.items() if rows > 40} == {}


@pytest.mark.slow
@pytest.mark.timeout(900)
async def test_list_page_of_a_million_users_reads_few_rows(connection: Any) -> None:
    statements = RecordingExecutor()
    reads = UserReads(cast(ReadPool, statements))
    for statement in (USERS, EVENTS, KEYS, SESSIONS):
        await connection.execute(statement.replace("$1", str(MILLION)), timeout=600)
    await connection.execute("VACUUM ANALYZE users, events, api_keys, sessions", timeout=600)
    found = []

    for combination in [*COMBINATIONS, *range(6)]:
        if isinstance(combination, int):
            await list_others(statements, combination)
        else:
            await list_users(reads, combination)
        nodes = await plan_of(connection, statements)
        kinds = {node["Node Type"] for node in nodes}
        if "Seq Scan" in kinds or rows_read(nodes) > MOST_ROWS:
            found.append((combination, kinds, rows_read(nodes)))

    assert found == []
