"""Faults of PostgreSQL itself."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from sqlalchemy import text

from harness.processes import children_of, frozen, postmaster_in
from harness.proxy import LostCommits
from service.db.core.database import Database
from service.db.core.engine import create_engine
from service.db.core.statements import Statement
from service.db.core.transaction import Transaction
from service.domain.errors import DatabaseUnavailable, OutcomeUnknown
from tests.faults.conftest import POOL_SIZE, Stage, impatient, is_clear
from tests.support.api import Api, serving

ADA = {"login_id": "ada", "name": "Ada"}
FAIL = "DO $$ BEGIN RAISE EXCEPTION 'x' USING ERRCODE = '{sqlstate}'; END $$"
NOTE = Statement(text("INSERT INTO network_buckets (network) VALUES (:network)"))
RAISING = """
CREATE FUNCTION raise_it() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
  IF nextval('raised') <= {times} THEN
    RAISE EXCEPTION 'secret %', NEW.id USING ERRCODE = '{sqlstate}';
  END IF;
  RETURN NULL; END $$
"""


@asynccontextmanager
async def raising(
    stage: Stage, sqlstate: str, *, times: int = 100, at_commit: bool = False
) -> AsyncIterator[None]:
    """Have the first writes of an event fail."""
    when = "DEFERRABLE INITIALLY DEFERRED" if at_commit else ""
    await stage.seen.run(
        "CREATE SEQUENCE raised",
        RAISING.format(times=times, sqlstate=sqlstate),
        f"CREATE {'CONSTRAINT' if at_commit else ''} TRIGGER raise_it AFTER INSERT ON events {when}"
        " FOR EACH ROW EXECUTE FUNCTION raise_it()",
    )
    try:
        yield
    finally:
        await stage.seen.run("DROP FUNCTION raise_it CASCADE", "DROP SEQUENCE raised")


@asynccontextmanager
async def holding(stage: Stage, lock: str) -> AsyncIterator[None]:
    """Hold a lock from outside the application."""
    engine = create_engine(stage.seen.dsn, pool_size=1)
    try:
        async with engine.connect() as connection:
            await connection.execute(text(lock))
            yield
    finally:
        await engine.dispose()


async def recovers(api: Api) -> bool:
    """Whether a write, a read and readiness come back within five seconds."""
    async with asyncio.timeout(5):
        number = 0
        while True:
            number += 1
            written = await api.post("/v1/users", {"login_id": f"after{number}", "name": "A"})
            if written.status_code == 201:
                break
            assert written.status_code == 503
            await asyncio.sleep(0.02)
    read = await api.get("/v1/users/me")
    return read.status_code == 200 and (await api.get("/health/ready")).status_code == 200


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGQUIT])
async def test_requests_while_postgresql_is_down_are_refused_until_it_is_back(
    own_stage: Stage, number: signal.Signals
) -> None:
    root = await own_stage.admin()
    os.kill(postmaster_in(own_stage.server_directory), number)
    await asyncio.sleep(0.05)
    answers = await asyncio.gather(root.post("/v1/users", ADA), root.get("/v1/users"), root.log_in("root"))
    assert all(answer.status_code == 503 for answer in answers)
    assert (await root.get("/health/live")).status_code == 200
    assert (await root.get("/health/ready")).status_code == 503
    await asyncio.to_thread(own_stage.postgres.start)
    assert await recovers(root)
    assert await own_stage.seen.fetch("SELECT 1 FROM users WHERE login_id = 'root'") == [(1,)]


async def test_requests_after_a_backend_was_killed_recover(own_stage: Stage) -> None:
    root = await own_stage.admin()
    [(pid,)] = await own_stage.seen.fetch(
        "SELECT min(pid) FROM pg_stat_activity WHERE application_name = 'rollcall'"
    )
    assert pid in children_of(postmaster_in(own_stage.server_directory))
    os.kill(pid, signal.SIGKILL)  # on which PostgreSQL ends all the others and recovers
    assert await recovers(root)


async def test_requests_while_postgresql_is_frozen_end_in_time(own_stage: Stage) -> None:
    root = await own_stage.admin()
    with frozen(postmaster_in(own_stage.server_directory)):
        answers = await asyncio.gather(
            *(root.post("/v1/users", {"login_id": f"u{n}", "name": "U"}) for n in range(6)),
            *(root.get("/v1/users") for _ in range(6)),
        )
        assert (await root.get("/health/live")).status_code == 200
    assert all(is_clear(answer, "database_unavailable") for answer in answers)
    assert await recovers(root)
    assert await own_stage.seen.fetch("SELECT 1 FROM users WHERE login_id LIKE 'u%'") == []


async def test_requests_after_idle_backends_were_ended_see_nothing_of_it(patient_stage: Stage) -> None:
    root = await patient_stage.admin()
    await asyncio.gather(*(root.post("/v1/users", {"login_id": f"u{n}", "name": "U"}) for n in range(8)))
    await patient_stage.seen.fetch(
        "SELECT pg_terminate_backend(pid, 1000) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    answers = await asyncio.gather(
        *(root.post("/v1/users", {"login_id": f"v{n}", "name": "V"}) for n in range(8)),
        *(root.get("/v1/users/me") for _ in range(8)),
    )
    assert [answer.status_code for answer in answers] == [201] * 8 + [200] * 8


async def test_writes_when_the_pool_is_exhausted_are_refused_soon_and_reads_are_not(stage: Stage) -> None:
    root = await stage.admin()
    async with holding(stage, "LOCK TABLE events"):
        writes = [root.post("/v1/users", {"login_id": f"u{n}", "name": "U"}) for n in range(40)]
        answers = await asyncio.gather(*writes, root.get("/v1/users/me"))
    assert answers.pop().status_code == 200
    assert all(is_clear(answer, "database_unavailable") for answer in answers)
    assert await recovers(root)
    assert await stage.seen.fetch("SELECT 1 FROM users WHERE login_id LIKE 'u%'") == []
    assert not stage.misses_connections


async def test_requests_beyond_the_connections_of_the_role_are_refused(own_stage: Stage) -> None:
    await own_stage.seen.run(
        "CREATE ROLE plain LOGIN CONNECTION LIMIT 0", "GRANT ALL ON ALL TABLES IN SCHEMA public TO plain"
    )
    dsn = own_stage.seen.dsn.replace("user=rollcall", "user=plain")
    async with serving(impatient(), dsn) as running, running.client() as client:
        api = Api(client, running.service)
        assert is_clear(await api.log_in("root"), "database_unavailable")
        await own_stage.seen.run("ALTER ROLE plain CONNECTION LIMIT -1")
        assert (await api.log_in("root")).status_code == 401
    await own_stage.seen.run("DROP OWNED BY plain", "DROP ROLE plain")


async def test_writes_on_a_read_only_server_are_refused_and_reads_are_not(own_stage: Stage) -> None:
    root = await own_stage.admin()
    await own_stage.turn_read_only("on")
    assert is_clear(await root.post("/v1/users", ADA), "database_unavailable")
    assert (await root.get("/v1/users/me")).status_code == 200
    await own_stage.turn_read_only("off")
    assert await recovers(root)
    assert await own_stage.seen.is_whole("ada") is False


async def test_write_that_waits_for_a_row_is_refused_after_the_lock_timeout(stage: Stage) -> None:
    root = await stage.admin()
    async with holding(stage, "SELECT 1 FROM users FOR UPDATE"):
        answer = await root.patch("/v1/users/me", {"name": "Other"})
        assert is_clear(answer, "database_unavailable")
        assert (await root.get("/v1/users/me")).json()["name"] == "Root"
    assert (await root.patch("/v1/users/me", {"name": "Other"})).status_code == 200


@pytest.mark.parametrize("sqlstate", ["40001", "40P01"])
async def test_write_that_loses_against_another_is_repeated_and_applied_once(
    patient_stage: Stage, sqlstate: str
) -> None:
    root = await patient_stage.admin()
    async with raising(patient_stage, sqlstate, times=2):
        assert (await root.post("/v1/users", ADA)).status_code == 201
    assert await patient_stage.seen.is_whole("ada") is True


async def test_write_that_loses_for_ever_is_refused(patient_stage: Stage) -> None:
    root = await patient_stage.admin()
    async with raising(patient_stage, "40001"):
        assert is_clear(await root.post("/v1/users", ADA), "database_unavailable")
        assert await patient_stage.seen.fetch("SELECT last_value FROM raised") == [(3,)]
    assert await patient_stage.seen.is_whole("ada") is False


@pytest.mark.parametrize(("sqlstate", "status"), [("P0001", 500), ("40001", 503), ("23514", 500)])
async def test_write_whose_commit_is_refused_is_not_acknowledged(
    patient_stage: Stage, sqlstate: str, status: int
) -> None:
    root = await patient_stage.admin()
    async with raising(patient_stage, sqlstate, at_commit=True):
        answer = await root.post("/v1/users", ADA)
    assert answer.status_code == status
    assert "secret" not in answer.text
    assert await patient_stage.seen.is_whole("ada") is False


@pytest.mark.parametrize("sqlstate", ["53100", "53200", "58030"])
async def test_writes_on_a_full_disk_are_refused_and_reads_are_not(
    patient_stage: Stage, sqlstate: str
) -> None:
    root = await patient_stage.admin()
    async with raising(patient_stage, sqlstate):
        assert is_clear(await root.post("/v1/users", ADA), "database_unavailable")
        assert (await root.get("/v1/users/me")).status_code == 200
    assert await patient_stage.seen.is_whole("ada") is False
    assert (await root.post("/v1/users", ADA)).status_code == 201


async def note(tx: Transaction, network: str) -> None:
    await tx.execute(NOTE, network=network)


async def noted(stage: Stage) -> int:
    return len(await stage.seen.fetch("SELECT 1 FROM network_buckets"))


async def test_transaction_that_idles_too_long_is_refused_and_leaves_nothing(patient_stage: Stage) -> None:
    async def work(tx: Transaction) -> None:
        await note(tx, "one")
        await asyncio.sleep(0.2)
        await note(tx, "two")

    engine = create_engine(f"{patient_stage.seen.dsn}&idle_in_transaction_session_timeout=50")
    with pytest.raises(DatabaseUnavailable):
        await Database(engine).run(work)
    await engine.dispose()
    assert await noted(patient_stage) == 0


async def test_transaction_cancelled_in_a_statement_leaves_nothing_and_no_connection_behind(
    stage: Stage,
) -> None:
    async def work(tx: Transaction) -> None:
        await note(tx, "one")
        await tx.execute(Statement(text("SELECT pg_sleep(10)")))

    with pytest.raises(TimeoutError):
        await asyncio.wait_for(stage.running.service.database.run(work), 0.1)
    assert not stage.misses_connections
    assert await noted(stage) == 0


async def test_transaction_cancelled_in_its_commit_is_told_as_unknown(stage: Stage) -> None:
    stage.proxy.lost_commits = LostCommits.UNANSWERED
    with pytest.raises(OutcomeUnknown):
        await asyncio.wait_for(stage.running.service.database.run(lambda tx: note(tx, "one")), 0.2)
    stage.proxy.lost_commits = None
    assert await noted(stage) == 1
    assert not stage.misses_connections


async def test_transaction_after_a_swallowed_failure_is_not_committed(patient_stage: Stage) -> None:
    async def work(tx: Transaction) -> None:
        await note(tx, "one")
        with pytest.raises(Exception, match="division"):
            await tx.execute(Statement(text("SELECT 1/0")))

    with pytest.raises(RuntimeError, match="swallowed"):
        await patient_stage.running.service.database.run(work)
    assert await noted(patient_stage) == 0


async def test_unit_of_work_on_connections_that_all_died_unnoticed_is_repeated(patient_stage: Stage) -> None:
    database = patient_stage.running.service.database
    for _ in range(POOL_SIZE):
        patient_stage.proxy.cut()
        await database.run(lambda tx: note(tx, os.urandom(4).hex()))
    assert await noted(patient_stage) == POOL_SIZE


async def test_plan_made_old_by_a_changed_type_is_met_once_and_not_on_every_connection(
    patient_stage: Stage,
) -> None:
    await patient_stage.seen.run("DROP TABLE IF EXISTS old", "CREATE TABLE old AS SELECT 1 AS n")
    look = Statement(text("SELECT n FROM old"))
    engine, runs = create_engine(patient_stage.seen.dsn, pool_size=3), 0

    async def look_on_connections(number: int) -> None:
        async def work(tx: Transaction) -> None:
            nonlocal runs
            runs += 1
            await tx.fetch_all(look)
            if number > 1:
                await look_on_connections(number - 1)

        await Database(engine).run(work)

    await look_on_connections(3)
    assert runs == 3
    await patient_stage.seen.run("ALTER TABLE old ALTER n TYPE text")
    await look_on_connections(3)
    assert runs == 3 + 1 + 3
    await engine.dispose()


async def test_unit_of_work_whose_connection_is_lost_in_the_middle_is_not_repeated(stage: Stage) -> None:
    runs = 0

    async def work(tx: Transaction) -> None:
        nonlocal runs
        runs += 1
        await note(tx, "one")
        stage.proxy.cut()
        await note(tx, "two")

    with pytest.raises(DatabaseUnavailable):
        await stage.running.service.database.run(work)
    assert (runs, await noted(stage)) == (1, 0)


async def test_connection_that_the_server_has_closed_is_replaced_when_it_is_taken(stage: Stage) -> None:
    engine = stage.running.service.engine
    for _ in range(3):
        is_closed = asyncio.Event()
        async with engine.connect() as connection:
            await connection.execute(text("SELECT 1"))
            driver = (await connection.get_raw_connection()).driver_connection
            assert driver is not None
            driver.add_termination_listener(lambda _, told=is_closed: told.set())
        stage.proxy.cut()
        await asyncio.wait_for(is_closed.wait(), 5)


@pytest.mark.parametrize(("sqlstate", "is_kept"), [("25006", False), ("40001", True), ("53100", True)])
async def test_connection_to_a_server_that_only_reads_is_dropped(
    patient_stage: Stage, sqlstate: str, is_kept: bool
) -> None:
    async def which(tx: Transaction) -> int:
        return int((await tx.fetch_all(Statement(text("SELECT pg_backend_pid()"))))[0][0])

    engine = create_engine(patient_stage.seen.dsn, pool_size=1)
    database = Database(engine)
    before = await database.run(which)
    with pytest.raises(DatabaseUnavailable):
        await database.run(lambda tx: tx.execute(Statement(text(FAIL.format(sqlstate=sqlstate)))))
    assert (await database.run(which) == before) is is_kept
    await engine.dispose()
