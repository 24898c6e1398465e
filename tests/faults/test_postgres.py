"""Faults of PostgreSQL."""

import asyncio
import os
import signal

import pytest
from sqlalchemy import text

from harness.database import failing_writes, holding_lock, read_only
from harness.processes import children_of, frozen
from harness.proxy import LostCommits
from service.db.core.database import Database
from service.db.core.engine import create_engine
from service.db.core.statements import Statement
from service.db.core.transaction import Transaction
from service.db.repositories.authority import guard_of
from service.domain.callers import OPERATOR
from service.domain.errors import DatabaseUnavailable, OutcomeUnknown
from tests.support.api import Api, serving
from tests.support.faults import POOL_SIZE, FaultEnvironment, is_503, is_complete, short_timeouts

ADA = {"login_id": "ada", "name": "Ada"}
FAIL = "DO $$ BEGIN RAISE EXCEPTION 'x' USING ERRCODE = '{sqlstate}'; END $$"
SLEEPING = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'PgSleep'"
INSERT_NETWORK = Statement(text("INSERT INTO network_buckets (network) VALUES (:network)"))


async def recovers(api: Api) -> bool:
    """Return whether a write, a read and readiness succeed again, before long."""
    async with asyncio.timeout(60):
        number = 0
        while True:
            number += 1
            created = await api.post("/v1/users", {"login_id": f"after{number}", "name": "A"})
            if created.status_code == 201:
                break
            assert created.status_code == 503
            await asyncio.sleep(0.02)
    read = await api.get("/v1/users/me")
    return read.status_code == 200 and (await api.get("/health/ready")).status_code == 200


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGQUIT])
async def test_requests_while_postgresql_is_down_get_503_until_it_is_back(
    own_env: FaultEnvironment, number: signal.Signals
) -> None:
    root = await own_env.admin()
    os.kill(own_env.postmaster, number)
    await asyncio.sleep(0.05)
    responses = await asyncio.gather(root.post("/v1/users", ADA), root.get("/v1/users"), root.log_in("root"))
    assert all(response.status_code == 503 for response in responses)
    assert (await root.get("/health/live")).status_code == 200
    assert (await root.get("/health/ready")).status_code == 503
    await asyncio.to_thread(own_env.postgres.start)
    assert await recovers(root)
    assert await own_env.database.fetch("SELECT 1 FROM users WHERE login_id = 'root'") == [(1,)]


async def test_requests_after_a_backend_was_killed_recover(own_env: FaultEnvironment) -> None:
    root = await own_env.admin()
    [(pid,)] = await own_env.database.fetch(
        "SELECT min(pid) FROM pg_stat_activity WHERE application_name = 'rollcall'"
    )
    assert pid in children_of(own_env.postmaster)
    os.kill(pid, signal.SIGKILL)  # PostgreSQL then ends all the others and recovers
    assert await recovers(root)


async def test_requests_while_postgresql_is_frozen_get_503_in_time(own_env: FaultEnvironment) -> None:
    root = await own_env.admin()
    with frozen(own_env.postmaster):
        responses = await asyncio.gather(
            *(root.post("/v1/users", {"login_id": f"u{n}", "name": "U"}) for n in range(6)),
            *(root.get("/v1/users") for _ in range(6)),
        )
        assert (await root.get("/health/live")).status_code == 200
    assert all(is_503(response, "database_unavailable") for response in responses)
    assert await recovers(root)
    assert await own_env.database.fetch("SELECT 1 FROM users WHERE login_id LIKE 'u%'") == []


async def test_requests_after_idle_backends_were_terminated_succeed(env: FaultEnvironment) -> None:
    root = await env.admin()
    await asyncio.gather(*(root.post("/v1/users", {"login_id": f"u{n}", "name": "U"}) for n in range(8)))
    await env.database.fetch(
        "SELECT pg_terminate_backend(pid, 1000) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    responses = await asyncio.gather(
        *(root.post("/v1/users", {"login_id": f"v{n}", "name": "V"}) for n in range(8)),
        *(root.get("/v1/users/me") for _ in range(8)),
    )
    assert [response.status_code for response in responses] == [201] * 8 + [200] * 8


async def test_writes_with_an_exhausted_pool_get_503_and_reads_succeed(
    short_env: FaultEnvironment,
) -> None:
    root = await short_env.admin()
    async with holding_lock(short_env.database, "LOCK TABLE events"):
        writes = [root.post("/v1/users", {"login_id": f"u{n}", "name": "U"}) for n in range(40)]
        responses = await asyncio.gather(*writes, root.get("/v1/users/me"))
    assert responses.pop().status_code == 200
    assert all(is_503(response, "database_unavailable") for response in responses)
    assert await recovers(root)
    assert await short_env.database.fetch("SELECT 1 FROM users WHERE login_id LIKE 'u%'") == []
    assert not short_env.leaks_connections


async def test_requests_beyond_the_connection_limit_of_the_role_get_503(own_env: FaultEnvironment) -> None:
    await own_env.database.run(
        "CREATE ROLE plain LOGIN CONNECTION LIMIT 0", "GRANT ALL ON ALL TABLES IN SCHEMA public TO plain"
    )
    dsn = own_env.database.dsn.replace("user=rollcall", "user=plain")
    async with serving(short_timeouts(), dsn) as running, running.client() as client:
        api = Api(client, running.service)
        assert is_503(await api.log_in("root"), "database_unavailable")
        await own_env.database.run("ALTER ROLE plain CONNECTION LIMIT -1")
        assert (await api.log_in("root")).status_code == 401
    await own_env.database.run("DROP OWNED BY plain", "DROP ROLE plain")


async def test_writes_on_a_read_only_server_get_503_and_reads_succeed(own_env: FaultEnvironment) -> None:
    root = await own_env.admin()
    async with read_only(own_env.database):
        assert is_503(await root.post("/v1/users", ADA), "database_unavailable")
        assert (await root.get("/v1/users/me")).status_code == 200
    assert await recovers(root)
    assert await is_complete(own_env.database, "ada") is False


async def test_write_waiting_for_a_locked_row_gets_503_after_the_lock_timeout(
    short_env: FaultEnvironment,
) -> None:
    root = await short_env.admin()
    async with holding_lock(short_env.database, "SELECT 1 FROM users FOR UPDATE"):
        response = await root.patch("/v1/users/me", {"name": "Other"})
        assert is_503(response, "database_unavailable")
        assert (await root.get("/v1/users/me")).json()["name"] == "Root"
    assert (await root.patch("/v1/users/me", {"name": "Other"})).status_code == 200


@pytest.mark.parametrize("sqlstate", ["40001", "40P01"])
async def test_write_with_a_serialization_failure_is_retried_and_applied_once(
    env: FaultEnvironment, sqlstate: str
) -> None:
    root = await env.admin()
    async with failing_writes(env.database, sqlstate, times=2):
        assert (await root.post("/v1/users", ADA)).status_code == 201
    assert await is_complete(env.database, "ada") is True


async def test_write_with_permanent_serialization_failures_gets_503_after_three_attempts(
    env: FaultEnvironment,
) -> None:
    root = await env.admin()
    async with failing_writes(env.database, "40001"):
        assert is_503(await root.post("/v1/users", ADA), "database_unavailable")
        assert await env.database.fetch("SELECT last_value FROM write_attempts") == [(3,)]
    assert await is_complete(env.database, "ada") is False


@pytest.mark.parametrize(("sqlstate", "status"), [("P0001", 500), ("40001", 503), ("23514", 500)])
async def test_write_with_a_failing_commit_is_not_acknowledged(
    env: FaultEnvironment, sqlstate: str, status: int
) -> None:
    root = await env.admin()
    async with failing_writes(env.database, sqlstate, at_commit=True):
        response = await root.post("/v1/users", ADA)
    assert response.status_code == status
    assert "secret" not in response.text
    assert await is_complete(env.database, "ada") is False


@pytest.mark.parametrize("sqlstate", ["53100", "53200", "58030"])
async def test_writes_on_a_full_disk_get_503_and_reads_succeed(env: FaultEnvironment, sqlstate: str) -> None:
    root = await env.admin()
    async with failing_writes(env.database, sqlstate):
        assert is_503(await root.post("/v1/users", ADA), "database_unavailable")
        assert (await root.get("/v1/users/me")).status_code == 200
    assert await is_complete(env.database, "ada") is False
    assert (await root.post("/v1/users", ADA)).status_code == 201


async def insert_network(tx: Transaction, network: str) -> None:
    await tx.execute(INSERT_NETWORK, network=network)


async def count_networks(env: FaultEnvironment) -> int:
    return len(await env.database.fetch("SELECT 1 FROM network_buckets"))


async def test_transaction_idle_for_too_long_raises_and_leaves_nothing(env: FaultEnvironment) -> None:
    async def work(tx: Transaction) -> None:
        await insert_network(tx, "one")
        await asyncio.sleep(0.2)
        await insert_network(tx, "two")

    engine = create_engine(f"{env.database.dsn}&idle_in_transaction_session_timeout=50")
    with pytest.raises(DatabaseUnavailable):
        await Database(engine, guard_of).run(work, caller=OPERATOR)
    await engine.dispose()
    assert await count_networks(env) == 0


async def test_transaction_cancelled_in_a_statement_leaves_nothing_and_leaks_no_connection(
    long_env: FaultEnvironment,
) -> None:
    async def work(tx: Transaction) -> None:
        await insert_network(tx, "one")
        await tx.execute(Statement(text("SELECT pg_sleep(60)")))

    running = asyncio.create_task(long_env.running.service.database.run(work, caller=OPERATOR))
    while await long_env.database.fetch(SLEEPING) == []:
        assert not running.done()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert not long_env.leaks_connections
    assert await count_networks(long_env) == 0


async def test_transaction_cancelled_in_its_commit_raises_outcome_unknown(
    long_env: FaultEnvironment,
) -> None:
    long_env.proxy.lost_commits = LostCommits.UNANSWERED
    running = asyncio.create_task(
        long_env.running.service.database.run(lambda tx: insert_network(tx, "one"), caller=OPERATOR)
    )
    while not long_env.proxy.commits_lost:
        assert not running.done()
        await asyncio.sleep(0.001)
    running.cancel()
    with pytest.raises(OutcomeUnknown):
        await running
    long_env.proxy.lost_commits = None
    assert await count_networks(long_env) == 1
    assert not long_env.leaks_connections


async def test_transaction_with_a_swallowed_error_is_not_committed(env: FaultEnvironment) -> None:
    async def work(tx: Transaction) -> None:
        await insert_network(tx, "one")
        with pytest.raises(Exception, match="division"):
            await tx.execute(Statement(text("SELECT 1/0")))

    with pytest.raises(RuntimeError, match="swallowed"):
        await env.running.service.database.run(work, caller=OPERATOR)
    assert await count_networks(env) == 0


async def test_transaction_on_dead_pooled_connections_is_retried(env: FaultEnvironment) -> None:
    database = env.running.service.database
    for _ in range(POOL_SIZE):
        env.proxy.cut()
        await database.run(lambda tx: insert_network(tx, os.urandom(4).hex()), caller=OPERATOR)
    assert await count_networks(env) == POOL_SIZE


async def test_transaction_with_a_stale_cached_plan_is_retried_once_for_all_connections(
    env: FaultEnvironment,
) -> None:
    await env.database.run("DROP TABLE IF EXISTS old", "CREATE TABLE old AS SELECT 1 AS n")
    query = Statement(text("SELECT n FROM old"))
    engine, runs = create_engine(env.database.dsn, pool_size=3), 0

    async def query_on_connections(number: int) -> None:
        async def work(tx: Transaction) -> None:
            nonlocal runs
            runs += 1
            await tx.fetch_all(query)
            if number > 1:
                await query_on_connections(number - 1)

        await Database(engine, guard_of).run(work, caller=OPERATOR)

    await query_on_connections(3)
    assert runs == 3
    await env.database.run("ALTER TABLE old ALTER n TYPE text")
    await query_on_connections(3)
    assert runs == 3 + 1 + 3
    await engine.dispose()


async def test_transaction_with_a_connection_lost_in_the_middle_is_not_retried(
    short_env: FaultEnvironment,
) -> None:
    runs = 0

    async def work(tx: Transaction) -> None:
        nonlocal runs
        runs += 1
        await insert_network(tx, "one")
        short_env.proxy.cut()
        await insert_network(tx, "two")

    with pytest.raises(DatabaseUnavailable):
        await short_env.running.service.database.run(work, caller=OPERATOR)
    assert (runs, await count_networks(short_env)) == (1, 0)


async def test_checkout_of_a_closed_connection_replaces_it(
    short_env: FaultEnvironment,
) -> None:
    engine = short_env.running.service.engine
    for _ in range(3):
        is_closed = asyncio.Event()
        async with engine.connect() as connection:
            await connection.execute(text("SELECT 1"))
            driver = (await connection.get_raw_connection()).driver_connection
            assert driver is not None
            driver.add_termination_listener(lambda _, closed=is_closed: closed.set())
        short_env.proxy.cut()
        await asyncio.wait_for(is_closed.wait(), 5)


@pytest.mark.parametrize(("sqlstate", "is_kept"), [("25006", False), ("40001", True), ("53100", True)])
async def test_connection_after_a_read_only_error_is_dropped(
    env: FaultEnvironment, sqlstate: str, is_kept: bool
) -> None:
    async def backend_pid(tx: Transaction) -> int:
        return int((await tx.fetch_all(Statement(text("SELECT pg_backend_pid()"))))[0][0])

    engine = create_engine(env.database.dsn, pool_size=1)
    database = Database(engine, guard_of)
    before = await database.run(backend_pid, caller=OPERATOR)
    with pytest.raises(DatabaseUnavailable):
        await database.run(
            lambda tx: tx.execute(Statement(text(FAIL.format(sqlstate=sqlstate)))), caller=OPERATOR
        )
    assert (await database.run(backend_pid, caller=OPERATOR) == before) is is_kept
    await engine.dispose()
