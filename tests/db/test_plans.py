"""PostgreSQL plans the statements of a login once, not for each execution."""

import json

import pytest
from sqlalchemy import text

from service.services import Services
from tests.db.test_cleanup import nodes_of
from tests.support.api import Api
from tests.support.databases import execute, fetch_values

OTHERS = """
    INSERT INTO users (id, login_id, name)
    SELECT gen_random_uuid(), 'user' || n, 'User' FROM generate_series(1, 300) n
    """
SESSIONS = """
    INSERT INTO sessions (id, user_id, token_digest, expires_at, idle_expires_at)
    SELECT gen_random_uuid(), id, sha256((login_id || ' ' || n)::bytea), now() + interval '1 d',
           now() + interval '1 d'
    FROM users, generate_series(1, 20) n
    """
DEVICES = """
    INSERT INTO devices (id, user_id, token_digest, network)
    SELECT gen_random_uuid(), id, sha256((login_id || ' ' || n)::bytea), '192.0.2.1'
    FROM users, generate_series(1, 15) n
    """
GROWING = {"login_buckets", "devices", "network_buckets"}
PLANS = """
    SELECT generic_plans > 0 AS is_kept, statement FROM pg_prepared_statements
    WHERE generic_plans + custom_plans >= :times
    """
TIMES = 8
"""The first five executions get custom plans; a generic plan may be kept from the sixth on."""


@pytest.mark.parametrize("origin", ["known device", "known network", "unknown device"])
async def test_repeated_login_uses_generic_plans(api: Api, service: Services, origin: str) -> None:
    await api.account()
    for statement in (OTHERS, SESSIONS, DEVICES):
        await execute(service.engine, statement)
    device = (await api.log_in("ada")).json()["device_token"]
    known = {"device_token": device} if origin == "known device" else {}
    await execute(service.engine, "ANALYZE users, sessions, devices")
    await service.engine.dispose()  # plans on the old connections are of other tests
    for _ in range(TIMES):
        if origin == "unknown device":
            await execute(service.engine, "DELETE FROM devices WHERE network = '127.0.0.1/32'")
        assert (await api.log_in("ada", **known)).status_code == 201
    plans = await fetch_values(service.engine, PLANS, times=TIMES)
    assert len(plans) >= 3
    assert [statement for is_kept, statement in plans if not is_kept] == []


async def test_plan_made_while_few_have_logged_in_reads_ranges_of_indexes(
    api: Api, service: Services
) -> None:
    """A connection keeps it: each login would read all devices and networks until they are analyzed."""
    await api.account()
    async with service.engine.connect() as connection:
        connection = await connection.execution_options(isolation_level="AUTOCOMMIT")
        await connection.execute(text("VACUUM ANALYZE"))
    await service.engine.dispose()
    assert (await api.log_in("ada")).status_code == 201
    prepared = "SELECT name, coalesce(cardinality(parameter_types), 0) FROM pg_prepared_statements"
    async with service.engine.connect() as connection:
        statements = (await connection.execute(text(prepared))).all()
        await connection.execute(text("SET LOCAL plan_cache_mode = force_generic_plan"))
        scans = []
        for name, count in statements:
            nulls = f"({', '.join(['NULL'] * count)})" if count else ""
            explain = text(f'EXPLAIN (FORMAT JSON) EXECUTE "{name}"{nulls}')
            plan = await connection.scalar(explain)
            plan = json.loads(plan) if isinstance(plan, str) else plan
            scans += [node for node in nodes_of(plan[0]["Plan"]) if node.get("Relation Name") in GROWING]
    assert {scan["Relation Name"] for scan in scans} == GROWING
    assert [scan for scan in scans if "Index Cond" not in scan and scan["Node Type"] != "ModifyTable"] == []
