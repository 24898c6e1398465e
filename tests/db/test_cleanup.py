"""The cost of a purge: a batch reads the rows that it deletes, not the table."""

import json
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any, cast

import asyncpg
import pytest

from service.db.core.statements import Statement
from service.db.core.transaction import Transaction
from service.db.repositories.cleanup import Cleanup

BATCH = 100
# Most have expired, and those that stay come first, as after an interrupted purge.
SESSIONS = """
    INSERT INTO users (id, login_id, name) VALUES (gen_random_uuid(), 'ada', 'Ada');
    INSERT INTO sessions (id, user_id, token_digest, expires_at, idle_expires_at)
    SELECT gen_random_uuid(), id, sha256(n::text::bytea), at, at
    FROM users, generate_series(1, 10000) n,
    LATERAL (SELECT now() + (2000 - n) * interval '1 min' AS at) _
    """
EVENTS = """
    INSERT INTO events (id, at, actor_kind, action)
    SELECT gen_random_uuid(), now() - n * interval '1 min', 'user', 'login.failed'
    FROM generate_series(1, 10000) n
    """
IDEMPOTENCY_KEYS = """
    INSERT INTO idempotency_keys (digest, request_digest, status, headers, body, created_at)
    SELECT sha256(n::text::bytea), 'q', 201, '{}', 'b', now() - n * interval '1 min'
    FROM generate_series(1, 10000) n
    """
LONG_AGO = timedelta(minutes=2000)


class RecordingTransaction:
    """Records the statement and does not run it. The schema has no function that purges events."""

    async def fetch_one(self, _: Statement) -> dict[str, bool]:
        return {"by_function": False, "by_statement": True}

    async def execute(self, statement: Statement, **params: Any) -> int:
        self.sql, self.arguments = statement.sql, statement.arguments(params)
        return 0


@pytest.mark.parametrize(
    ("rows", "purge"),
    [
        (SESSIONS, lambda cleanup: cleanup.purge_sessions(BATCH)),
        (EVENTS, lambda cleanup: cleanup.purge_events(BATCH, age=LONG_AGO)),
        (IDEMPOTENCY_KEYS, lambda cleanup: cleanup.purge_idempotency_keys(BATCH, age=LONG_AGO)),
    ],
    ids=["sessions", "events", "idempotency keys"],
)
async def test_purge_of_mostly_expired_table_reads_one_batch(
    database: str, rows: str, purge: Callable[[Cleanup], Awaitable[int]]
) -> None:
    connection = await asyncpg.connect(database)
    await connection.execute(rows)
    await connection.execute("ANALYZE")
    asked = RecordingTransaction()
    await purge(Cleanup(cast(Transaction, asked)))
    explained = await connection.fetchval(f"EXPLAIN (ANALYZE, FORMAT JSON) {asked.sql}", *asked.arguments)
    await connection.close()
    assert found_and_read(json.loads(explained)[0]["Plan"]) == (BATCH, BATCH)


@pytest.mark.parametrize(
    "purge",
    [
        lambda cleanup: cleanup.purge_sessions(BATCH),
        lambda cleanup: cleanup.purge_events(BATCH, age=LONG_AGO),
    ],
    ids=["sessions", "events"],
)
async def test_purge_planned_while_its_table_is_empty_reads_ranges_of_indexes(
    database: str, purge: Callable[[Cleanup], Awaitable[int]]
) -> None:
    connection = await asyncpg.connect(database, statement_cache_size=0)
    await connection.execute("VACUUM ANALYZE")
    await connection.execute("SET enable_seqscan = off; SET plan_cache_mode = force_generic_plan")
    asked = RecordingTransaction()
    await purge(Cleanup(cast(Transaction, asked)))
    await connection.execute(f"PREPARE purge AS {asked.sql}")
    nulls = ", ".join(["NULL"] * len(asked.arguments))
    explained = await connection.fetchval(f"EXPLAIN (FORMAT JSON) EXECUTE purge({nulls})")
    await connection.close()
    scans = [node for node in nodes_of(json.loads(explained)[0]["Plan"]) if "Scan" in node["Node Type"]]
    assert [scan for scan in scans if "Index Cond" not in scan] == []


def found_and_read(plan: dict[str, Any]) -> tuple[int, int]:
    """Return the rows of a batch, and the rows read to find them."""
    (limit,) = [node for node in nodes_of(plan) if node["Node Type"] == "Limit"]
    (scan,) = [node for node in nodes_of(limit) if "Relation Name" in node]
    return int(limit["Actual Rows"]), int(scan["Actual Rows"] + scan.get("Rows Removed by Filter", 0))


def nodes_of(plan: dict[str, Any]) -> list[dict[str, Any]]:
    return [plan, *(node for child in plan.get("Plans", ()) for node in nodes_of(child))]
