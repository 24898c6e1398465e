"""The cost of a claim: a batch reads the mails that it leases, however many are pending."""

import json
from datetime import timedelta
from typing import Any, cast

import asyncpg
import pytest

from service.db.core.statements import Statement
from service.db.core.transaction import Transaction
from service.db.repositories.outbox import OutboxRepository
from tests.db.test_cleanup import nodes_of

BATCH = 8
# Urgent mails that wait for another attempt stand before all others.
PENDING = """
    INSERT INTO outbox (id, kind, recipient, params, created_at, next_attempt_at, give_up_at, sent_at)
    SELECT gen_random_uuid(), kind, 'a@example.org', '{}', now(), now() + place, now() + interval '1 d', sent
    FROM (VALUES ('invitation', interval '-1 min', 9000, NULL),
                 ('login_code', interval '-23:59', 1000, NULL),
                 ('login_code', interval '-23:59' + interval '15 s', 20, NULL),
                 ('invitation', interval '-1 d', 3000, now())) AS mails (kind, place, count, sent),
    LATERAL generate_series(1, count)
    """


class RecordingTransaction:
    """Records the statement and does not run it."""

    async def fetch_all(self, statement: Statement, **params: Any) -> list[Any]:
        self.sql, self.arguments = statement.sql, statement.arguments(params)
        return []


@pytest.mark.parametrize("mode", ["force_custom_plan", "force_generic_plan"])
async def test_claim_with_many_pending_reads_one_batch_from_the_index(database: str, mode: str) -> None:
    asked = RecordingTransaction()
    await OutboxRepository(cast(Transaction, asked)).claim(
        BATCH, lease=timedelta(minutes=1), domain="example.org"
    )
    connection = await asyncpg.connect(database, statement_cache_size=0)
    await connection.execute(PENDING)
    await connection.execute("ANALYZE outbox")
    await connection.execute(f"SET plan_cache_mode = {mode}")
    await connection.execute(f"PREPARE claim AS {asked.sql}")
    literals = ", ".join(f"'{argument}'" for argument in asked.arguments)
    explained = await connection.fetchval(f"EXPLAIN (ANALYZE, FORMAT JSON) EXECUTE claim({literals})")
    await connection.close()
    scans = [node for node in nodes_of(json.loads(explained)[0]["Plan"]) if "Scan" in node["Node Type"]]
    in_order = [scan for scan in scans if scan.get("Index Name") == "ix_outbox_next_attempt_at"]
    assert sorted(int(scan["Actual Rows"]) for scan in in_order) == [2, 6]
    assert "Seq Scan" not in {scan["Node Type"] for scan in scans}
