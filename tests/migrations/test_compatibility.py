"""Which schema serves which release, and which processes are live."""

from uuid import uuid4

import pytest
from sqlalchemy import event

from service.db import instances
from service.db.instances import Instance
from service.db.migrations.compatibility import (
    HEAD,
    HEAD_ID,
    NEEDS,
    THIS_RELEASE,
    Release,
    SchemaState,
    SchemaStatus,
    number_of,
    read_schema_state,
)
from service.db.migrations.running import downgrade, migration_engine
from service.db.write_lease import LEASE_TTL, WriteLease
from tests.migrations.rows import execute, fetch

RELEASE = Release(head=14, needs=12)
LAST_WITH_WINDOW = Release(head=11, needs=10)


@pytest.mark.parametrize(
    ("revision", "serves_from", "status"),
    [
        (None, None, SchemaStatus.UNMIGRATED),
        ("0011_older_than_needed", None, SchemaStatus.BEHIND),
        ("0012_oldest_needed", "0011_any", SchemaStatus.SERVED),
        ("0014_its_head", "0012_any", SchemaStatus.SERVED),
        ("0030_far_ahead", "0014_its_head", SchemaStatus.SERVED),
        ("0030_far_ahead", "0015_next_release", SchemaStatus.AHEAD),
        ("0015_without_serves_from", None, SchemaStatus.SERVED),
        ("0016_without_serves_from", None, SchemaStatus.AHEAD),
        ("deadbeef", None, SchemaStatus.UNKNOWN),
        ("0014_its_head+0014_rival", "0012_any", SchemaStatus.SERVED),
    ],
)
def test_classify_compares_revision_with_needs_and_serves_from_with_head(
    revision: str | None, serves_from: str | None, status: SchemaStatus
) -> None:
    assert RELEASE.classify(SchemaState(revision, serves_from)) is status


@pytest.mark.parametrize(
    ("revision", "status"),
    [
        ("0009_create_events", SchemaStatus.BEHIND),
        ("0010_create_instances", SchemaStatus.SERVED),
        ("0012_add_serves_from", SchemaStatus.SERVED),
        ("0013_next", SchemaStatus.AHEAD),
    ],
)
def test_classify_release_without_serves_from_keeps_its_window(revision: str, status: SchemaStatus) -> None:
    serves_from = "0011_tune_sessions" if revision >= "0012" else None
    assert LAST_WITH_WINDOW.classify(SchemaState(revision, serves_from)) is status


def test_this_release_has_the_declared_head_and_needs() -> None:
    assert Release(HEAD, NEEDS) == THIS_RELEASE
    assert str(THIS_RELEASE) == "head 0024, needs 0022"


def test_number_of_no_revision_is_zero() -> None:
    assert number_of(None) == 0


async def test_read_schema_state_returns_revision_and_serves_from(database: str, empty_database: str) -> None:
    expected = [(database, SchemaState(HEAD_ID, "0011_tune_sessions")), (empty_database, SchemaState(None))]
    for dsn, state in expected:
        engine = migration_engine(dsn)
        assert await read_schema_state(engine) == state
        await engine.dispose()


async def test_read_schema_state_before_serves_from_counts_one_revision_back(database: str) -> None:
    await downgrade(database, "0011")
    engine = migration_engine(database)
    state = await read_schema_state(engine)
    assert (state, state.oldest_head) == (SchemaState("0011_tune_sessions"), 10)
    await engine.dispose()


async def test_read_schema_state_at_base_is_none(database: str) -> None:
    await downgrade(database, "base")
    engine = migration_engine(database)
    assert await read_schema_state(engine) == SchemaState(None)
    await engine.dispose()


async def test_read_schema_state_opens_no_savepoint(database: str) -> None:
    """Each readiness check would make two more round trips."""
    engine, opened = migration_engine(database), list[object]()
    event.listen(engine.sync_engine, "savepoint", lambda *given: opened.append(given))
    assert (await read_schema_state(engine)).number == HEAD
    assert opened == []
    await engine.dispose()


async def test_heartbeat_on_an_empty_database_revokes_the_lease(empty_database: str) -> None:
    engine, lease = migration_engine(empty_database), WriteLease()
    lease.renew(lease.now())
    for _ in range(2):
        await instances.record_heartbeat(engine, Instance.here(uuid4(), "0.1.0"), lease)
    assert not lease.is_valid()
    await engine.dispose()


async def test_heartbeat_lists_the_process_until_it_unregisters(database: str) -> None:
    engine, here, lease = migration_engine(database), Instance.here(uuid4(), "0.1.0"), WriteLease()
    await instances.record_heartbeat(engine, here, lease)
    await instances.record_heartbeat(engine, here, lease)
    assert await instances.list_live(engine) == [here]
    await instances.unregister(engine, here, lease)
    assert await instances.list_live(engine) == []
    await engine.dispose()


async def test_process_without_heartbeat_is_not_live_and_is_deleted_later(database: str) -> None:
    engine, lease = migration_engine(database), WriteLease()
    gone, here = Instance.here(uuid4(), "0.0.9"), Instance.here(uuid4(), "0.1.0")
    await instances.record_heartbeat(engine, gone, lease)
    await execute(database, "UPDATE instances SET seen_at = now() - interval '31 seconds'")
    await instances.record_heartbeat(engine, here, lease)
    assert await instances.list_live(engine) == [here]
    assert await fetch(database, "SELECT count(*) FROM instances") == 2
    await execute(
        database, f"UPDATE instances SET seen_at = now() - interval '2 hours' WHERE id = '{gone.id}'"
    )
    await instances.record_heartbeat(engine, here, lease)
    assert await fetch(database, "SELECT count(*) FROM instances") == 1
    await engine.dispose()


@pytest.mark.parametrize("revision", ["base", "0009"])
async def test_heartbeat_of_an_unserved_process_writes_nothing_and_revokes_its_lease(
    database: str, revision: str
) -> None:
    await downgrade(database, revision)
    engine, here, lease = migration_engine(database), Instance.here(uuid4(), "0.1.0"), WriteLease()
    lease.renew(lease.now())
    await instances.record_heartbeat(engine, here, lease)
    assert not lease.is_valid()
    await instances.unregister(engine, here, lease)
    assert await instances.list_live(engine) is None
    await engine.dispose()


async def test_heartbeat_below_serves_from_writes_nothing(database: str) -> None:
    await execute(database, "UPDATE alembic_version SET serves_from = '0901_next'")
    engine, here, lease = migration_engine(database), Instance.here(uuid4(), "0.1.0"), WriteLease()
    await instances.record_heartbeat(engine, here, lease)
    assert (lease.is_valid(), await instances.list_live(engine)) == (False, [])
    await engine.dispose()


def test_live_time_is_at_least_twice_the_lease() -> None:
    assert instances.LIVE_FOR >= 2 * LEASE_TTL
