"""Which schema a release serves, and which processes say so."""

from uuid import uuid4

import pytest

from service.db import instances
from service.db.instances import Instance
from service.db.migrations.compatibility import (
    SUPPORTED,
    RevisionRange,
    SchemaStatus,
    number_of,
    read_revision,
)
from service.db.migrations.running import downgrade, migration_engine
from tests.migrations.rows import execute, fetch

WINDOW = RevisionRange(9, 11)


@pytest.mark.parametrize(
    ("revision", "standing"),
    [
        (None, SchemaStatus.UNMIGRATED),
        ("0008_create_idempotency_keys", SchemaStatus.BEHIND),
        ("0009_create_events", SchemaStatus.INSIDE),
        ("0010_create_instances", SchemaStatus.INSIDE),
        ("0011_of_the_next_release", SchemaStatus.INSIDE),
        ("0012_of_the_release_after", SchemaStatus.AHEAD),
        ("deadbeef", SchemaStatus.UNKNOWN),
        ("0010_create_instances+0010_rival", SchemaStatus.INSIDE),
    ],
)
def test_place_a_revision_tells_it_by_number(revision: str | None, standing: SchemaStatus) -> None:
    assert WINDOW.classify(revision) is standing


def test_served_window_reaches_one_revision_to_each_side_of_the_head() -> None:
    assert RevisionRange(10, 12) == SUPPORTED
    assert str(SUPPORTED) == "0010 to 0012"


def test_number_of_no_revision_is_zero() -> None:
    assert number_of(None) == 0


async def test_read_revision_tells_where_the_database_is(database: str, empty_database: str) -> None:
    for dsn, expected in ((database, "0011_tune_sessions"), (empty_database, None)):
        engine = migration_engine(dsn)
        assert await read_revision(engine) == expected
        await engine.dispose()


async def test_read_revision_at_base_is_none(database: str) -> None:
    await downgrade(database, "base")
    engine = migration_engine(database)
    assert await read_revision(engine) is None
    await engine.dispose()


async def test_beat_lists_the_process_until_it_leaves(database: str) -> None:
    engine, here = migration_engine(database), Instance.here(uuid4(), "0.1.0")
    await instances.record_heartbeat(engine, here)
    await instances.record_heartbeat(engine, here)
    assert await instances.list_live(engine) == [here]
    await instances.unregister(engine, here.id)
    assert await instances.list_live(engine) == []
    await engine.dispose()


async def test_process_without_a_heartbeat_for_long_is_not_live_and_then_forgotten(database: str) -> None:
    engine, gone, here = (
        migration_engine(database),
        Instance.here(uuid4(), "0.0.9"),
        Instance.here(uuid4(), "0.1.0"),
    )
    await instances.record_heartbeat(engine, gone)
    await execute(database, "UPDATE instances SET seen_at = now() - interval '31 seconds'")
    await instances.record_heartbeat(engine, here)
    assert await instances.list_live(engine) == [here]
    assert await fetch(database, "SELECT count(*) FROM instances") == 2
    await execute(
        database, f"UPDATE instances SET seen_at = now() - interval '2 hours' WHERE id = '{gone.id}'"
    )
    await instances.record_heartbeat(engine, here)
    assert await fetch(database, "SELECT count(*) FROM instances") == 1
    await engine.dispose()


async def test_heartbeat_without_its_table_is_no_failure(empty_database: str) -> None:
    engine, here = migration_engine(empty_database), Instance.here(uuid4(), "0.1.0")
    await instances.record_heartbeat(engine, here)
    await instances.unregister(engine, here.id)
    assert await instances.list_live(engine) is None
    assert await instances.count_connections(engine, ["rollcall"]) == 0
    await engine.dispose()
