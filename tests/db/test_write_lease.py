"""A process that the database does not serve writes nothing."""

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

import pytest
import pytest_asyncio
from sqlalchemy import text

from service.db.core.database import Database
from service.db.core.statements import Statement
from service.db.instances import Instance, record_heartbeat
from service.db.migrations.compatibility import Release
from service.db.repositories.authority import guard_of
from service.db.write_lease import LEASE_TTL, WriteLease, seconds_since_boot
from service.domain.callers import OPERATOR
from service.domain.errors import DatabaseUnavailable
from service.security.ids import new_id
from tests.support.api import PASSWORD, Api, serving
from tests.support.databases import execute, fetch_values
from tests.support.settings import settings_for_tests

UNSERVED = "UPDATE alembic_version SET serves_from = '0099_later'"
SERVED = "UPDATE alembic_version SET serves_from = '0011_tune_sessions'"

SELECT_ONE = Statement(text("SELECT 1"))


@dataclass
class Clock:
    """A clock that a test moves."""

    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def lease(clock: Clock) -> WriteLease:
    return WriteLease(Release(head=12, needs=10), clock=clock)


def test_lease_is_valid_until_its_time_after_the_question(lease: WriteLease, clock: Clock) -> None:
    assert not lease.is_valid()
    asked_at = lease.now()
    clock.now += 4
    lease.renew(asked_at)
    assert lease.is_valid()
    clock.now = asked_at + LEASE_TTL.total_seconds()
    assert not lease.is_valid()


def test_revoked_lease_is_not_valid(lease: WriteLease) -> None:
    lease.renew(lease.now())
    lease.revoke()
    assert not lease.is_valid()


def test_default_clock_never_goes_back() -> None:
    assert 0 < seconds_since_boot() <= seconds_since_boot()


@pytest_asyncio.fixture
async def api_of_frozen(database: str) -> AsyncIterator[tuple[Api, Callable[[], None]]]:
    """A client of a running application, and what ages its lease as a freeze would."""
    async with serving(settings_for_tests(), database) as running, running.client() as client:
        yield Api(client, running.service), running.service.lease.revoke


async def test_process_frozen_over_a_contract_step_is_not_ready_and_writes_nothing(
    api_of_frozen: tuple[Api, Callable[[], None]],
) -> None:
    api, freeze = api_of_frozen
    ada = await api.account("ada")
    engine = api.service.engine
    freeze()
    await execute(engine, UNSERVED)
    assert (await api.get("/health/ready")).status_code == 503
    written = [
        await api.post("/v1/sessions", {"login_id": "ada", "password": PASSWORD}),
        await api.by(ada).patch("/v1/users/me", {"name": "Other"}),
        await api.by(ada).delete("/v1/sessions/current"),
    ]
    assert {(each.status_code, each.json()["code"]) for each in written} == {(503, "database_unavailable")}
    assert await fetch_values(engine, "SELECT name FROM users") == [("Ada",)]
    await execute(engine, SERVED)
    assert (await api.by(ada).patch("/v1/users/me", {"name": "Other"})).status_code == 200


async def test_transaction_without_lease_is_confirmed_and_then_holds_off_steps(database: str) -> None:
    async with serving(settings_for_tests(), database) as running:
        service = running.service
        service.lease.revoke()
        async with Database(service.engine, guard_of, lease=service.lease).transaction(caller=OPERATOR) as tx:
            await tx.execute(SELECT_ONE)
            held = (
                "SELECT mode FROM pg_locks JOIN pg_database ON pg_database.oid = database"
                " WHERE locktype = 'advisory' AND datname = current_database()"
            )
            assert await fetch_values(service.background_engine, held) == [("ShareLock",)]
        service.lease.renew(service.lease.now())
        async with Database(service.engine, guard_of, lease=service.lease).transaction(caller=OPERATOR) as tx:
            await tx.execute(SELECT_ONE)
            assert await fetch_values(service.background_engine, held) == []


async def test_transaction_of_an_unserved_process_is_rejected_before_its_first_statement(
    database: str,
) -> None:
    async with serving(settings_for_tests(), database) as running:
        service = running.service
        await execute(service.engine, UNSERVED)
        lease = WriteLease()
        with pytest.raises(DatabaseUnavailable):
            async with Database(service.engine, guard_of, lease=lease).transaction(caller=OPERATOR) as tx:
                await tx.execute(SELECT_ONE)
        await record_heartbeat(service.background_engine, Instance.here(new_id(), "1.2.3"), lease)
        assert not lease.is_valid()


async def test_operation_on_a_table_of_a_newer_revision_gets_schema_behind_and_others_work(
    database: str,
) -> None:
    async with serving(settings_for_tests(), database) as running, running.client() as client:
        api = Api(client, running.service)
        ada, root = await api.account("ada"), await api.admin("root")
        await execute(running.service.engine, "ALTER TABLE reset_tokens RENAME TO not_yet")
        reset = await api.by(root).post(f"/v1/users/{ada.id}/reset-tokens")
        assert (reset.status_code, reset.json()["code"]) == (503, "schema_behind")
        assert reset.headers["retry-after"] == "30"
        assert (await api.by(ada).get("/v1/users/me")).status_code == 200
        assert (await api.by(ada).patch("/v1/users/me", {"name": "Ada"})).status_code == 200
        assert (await api.get("/health/ready")).status_code == 200
