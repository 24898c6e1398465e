"""`serves_from` is written with each revision, and no step leaves a live process unserved by accident."""

import asyncio
from io import StringIO
from pathlib import Path
from uuid import uuid4

import pytest
from alembic import command

from service.db.instances import Instance, record_heartbeat
from service.db.migrations.compatibility import END_SERVED, HEAD_ID, HOLD_SERVED, Release
from service.db.migrations.history import Revision, alembic_config, list_revisions
from service.db.migrations.lock_retry import LockRetryPolicy
from service.db.migrations.running import downgrade, migration_engine, upgrade
from service.db.release_guard import LiveProcessUnserved
from service.db.write_lease import WriteLease
from tests.migrations.rows import connected, execute, fetch
from tests.support.databases import IS_WAITING

NEXT = Path(__file__).parent / "next"
REVISIONS = list_revisions(alembic_config(more_versions=NEXT))
SERVES_FROM = "SELECT serves_from FROM alembic_version"
AT = "SELECT version_num FROM alembic_version"


def test_serves_from_is_declared_by_contract_steps_alone_and_only_rises() -> None:
    first, *later = [revision for revision in REVISIONS if revision.serves_from]
    assert (first.id, first.serves_from) == ("0012_add_serves_from", "0011_tune_sessions")
    since = REVISIONS[REVISIONS.index(first) + 1 :]
    assert later == [revision for revision in since if revision.phase == "contract"]
    declared = [first.serves_from, *(revision.serves_from for revision in later)]
    assert declared == sorted(declared, key=str)


def test_serves_from_names_an_earlier_revision() -> None:
    for index, revision in enumerate(REVISIONS):
        assert revision.serves_from in {None, *(each.id for each in REVISIONS[:index])}


async def test_each_revision_up_and_down_writes_serves_from(database: str) -> None:
    expected = {HEAD_ID: "0011_tune_sessions"}
    for revision in REVISIONS[REVISIONS.index(_revision(HEAD_ID)) + 1 :]:
        await upgrade(database, revision.id, more_versions=NEXT)
        expected[revision.id] = await fetch(database, SERVES_FROM)
    assert expected["0902_fill_nickname"] == "0011_tune_sessions"
    assert expected["0903_demand_nickname"] == expected["0908_fill_alias"] == "0901_add_nickname"
    assert expected["0909_drop_nickname"] == "0907_add_alias"
    for revision_id, serves_from in reversed(expected.items()):
        await downgrade(database, revision_id, more_versions=NEXT)
        assert await fetch(database, SERVES_FROM) == serves_from


async def test_plain_alembic_writes_serves_from(database: str) -> None:
    config = alembic_config(
        more_versions=NEXT, dsn=database, lock_retry=LockRetryPolicy(), report=lambda _line: None
    )
    await asyncio.to_thread(command.upgrade, config, "0903")
    assert await fetch(database, SERVES_FROM) == "0901_add_nickname"
    await asyncio.to_thread(command.downgrade, config, "0902")
    assert await fetch(database, SERVES_FROM) == "0011_tune_sessions"


async def test_stamp_without_the_column_adds_it(database: str) -> None:
    await execute(database, "ALTER TABLE alembic_version DROP COLUMN serves_from")
    config = alembic_config(dsn=database, lock_retry=LockRetryPolicy(), report=lambda _line: None)
    await asyncio.to_thread(command.stamp, config, "0011")
    await asyncio.to_thread(command.stamp, config, "head")
    assert await fetch(database, SERVES_FROM) == "0011_tune_sessions"


def test_sql_script_writes_serves_from() -> None:
    config = alembic_config()
    config.output_buffer = StringIO()
    command.upgrade(config, "0011_tune_sessions:head", sql=True)
    assert "UPDATE alembic_version SET serves_from='0011_tune_sessions'" in config.output_buffer.getvalue()


async def test_contract_step_with_a_live_old_process_is_rejected_by_name(database: str) -> None:
    await upgrade(database, "0902", more_versions=NEXT)
    old = await _beat(database, Release(head=12, needs=10))
    with pytest.raises(
        LiveProcessUnserved, match=rf"{old.host} process {old.pid} \(release 1.2.3, head 0012"
    ):
        await upgrade(database, "0903", more_versions=NEXT)
    assert await fetch(database, AT) == "0902_fill_nickname"
    await execute(database, "UPDATE instances SET seen_at = now() - interval '31 seconds'")
    await upgrade(database, "0903", more_versions=NEXT)


async def test_contract_step_with_live_new_processes_is_applied(database: str) -> None:
    await upgrade(database, "0902", more_versions=NEXT)
    await _beat(database, Release(head=902, needs=901))
    await upgrade(database, "0903", more_versions=NEXT)
    assert await fetch(database, AT) == "0903_demand_nickname"


async def test_contract_step_with_force_is_applied(database: str) -> None:
    await _beat(database, Release(head=12, needs=10))
    await upgrade(database, "0903", more_versions=NEXT, force=True)
    assert await fetch(database, SERVES_FROM) == "0901_add_nickname"


async def test_rollback_below_the_needs_of_a_live_process_is_rejected(database: str) -> None:
    await upgrade(database, "0901", more_versions=NEXT)
    await _beat(database, Release(head=901, needs=901))
    with pytest.raises(LiveProcessUnserved, match="needs 0901"):
        await downgrade(database, more_versions=NEXT)
    assert await fetch(database, AT) == "0901_add_nickname"


async def test_two_revisions_ahead_of_a_process_from_before_serves_from_is_rejected(database: str) -> None:
    await downgrade(database, "0012")
    await _beat(database, Release(head=11, needs=10))
    with pytest.raises(LiveProcessUnserved, match="head 0011"):
        await upgrade(database, "0013")


async def test_process_that_starts_during_a_contract_step_stops_it(database: str) -> None:
    """The check before the steps sees nobody; the one in the step's transaction waits for the heartbeat."""
    await upgrade(database, "0902", more_versions=NEXT)
    async with connected(database) as starting:
        await starting.execute(f"BEGIN; {HOLD_SERVED}")
        step = asyncio.create_task(
            upgrade(database, "0903", more_versions=NEXT, lock_retry=LockRetryPolicy())
        )
        async with connected(database) as watching:
            while not await watching.fetchval(IS_WAITING):
                await watching.execute("SELECT pg_sleep(0.01)")
        await starting.execute(
            "INSERT INTO instances (id, host, pid, release, oldest_revision, newest_revision)"
            " VALUES (gen_random_uuid(), 'here', 1, '1.2.3', 10, 13); COMMIT"
        )
    with pytest.raises(LiveProcessUnserved, match="here process 1"):
        await step
    assert await fetch(database, AT) == "0902_fill_nickname"


async def test_heartbeat_during_a_step_waits_and_sees_the_new_schema(database: str) -> None:
    lease, engine = WriteLease(), migration_engine(database)
    async with connected(database) as step:
        await step.execute(f"BEGIN; {END_SERVED}")
        beat = asyncio.create_task(record_heartbeat(engine, Instance.here(uuid4(), "1.2.3"), lease))
        await step.execute("UPDATE alembic_version SET serves_from = '0901_next'; COMMIT")
        await beat
    assert not lease.is_valid()
    assert await fetch(database, "SELECT count(*) FROM instances") == 0
    await engine.dispose()


async def _beat(dsn: str, release: Release) -> Instance:
    instance, engine = Instance.here(uuid4(), "1.2.3", release), migration_engine(dsn)
    await record_heartbeat(engine, instance, WriteLease(release))
    await engine.dispose()
    return instance


def _revision(revision_id: str) -> Revision:
    return next(revision for revision in REVISIONS if revision.id == revision_id)
