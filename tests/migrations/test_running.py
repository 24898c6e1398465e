"""Migrating a database that others use. Several migrations at once and killed ones: `tests/faults`."""

import asyncio
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import text

from service.db.migrations.compatibility import HEAD_ID
from service.db.migrations.lock import LOCK_ID, LockHeld
from service.db.migrations.lock_retry import LockRetryPolicy, StillLocked
from service.db.migrations.online import DataCheckFailed
from service.db.migrations.running import (
    Report,
    SchemaMoved,
    downgrade,
    drop_unfinished,
    migration_engine,
    upgrade,
)
from tests.migrations.rows import connected, execute, fetch, fill, picture
from tests.migrations.test_schema import dump
from tests.support.databases import IS_WAITING

NEXT = Path(__file__).parent / "next"
HASTY = LockRetryPolicy(timedelta(milliseconds=20), timedelta(milliseconds=100))
REVISION = "SELECT version_num FROM alembic_version"
TIMEOUTS = """
    DO $$ DECLARE timeout text; BEGIN
        FOR timeout IN SELECT name FROM pg_settings WHERE name IN (
            'statement_timeout', 'idle_session_timeout', 'idle_in_transaction_session_timeout'
        ) LOOP
            EXECUTE format('ALTER DATABASE %I SET %I = 300', current_database(), timeout);
        END LOOP;
    END $$
"""
LOCK = "op.execute('LOCK TABLE {}')"
REVISION_FILE = """
from alembic import op

revision, down_revision = "{revision}", "{before}"


def upgrade() -> None:
    {work}
"""


async def test_upgrade_with_login_ids_taken_twice_names_them_and_changes_nothing(empty_database: str) -> None:
    await upgrade(empty_database, "0001_create_users")
    await fill(empty_database, last=1)
    await execute(empty_database, "UPDATE users SET login_id = 'twin' WHERE login_id IN ('user4', 'user5')")
    before = dump(empty_database)
    with pytest.raises(DataCheckFailed, match=r"users has the same login_id more than once: twin, 2 times$"):
        await upgrade(empty_database)
    assert dump(empty_database) == before
    await execute(empty_database, "UPDATE users SET login_id = 'other' WHERE id::text LIKE '%5'")
    await upgrade(empty_database)
    assert await fetch(empty_database, "SELECT count(*) FROM users WHERE created_at = updated_at") == 12


async def test_upgrade_while_another_holds_the_lock_gives_up_at_the_deadline(empty_database: str) -> None:
    async with connected(empty_database) as other:
        await other.execute(f"SELECT pg_advisory_lock({LOCK_ID})")
        with pytest.raises(LockHeld):
            await upgrade(empty_database, lock_retry=HASTY)
    assert await fetch(empty_database, "SELECT to_regclass('users')") is None


async def test_rollback_after_the_schema_was_moved_meanwhile_is_rejected(database: str) -> None:
    async with connected(database) as other:
        await other.execute(f"SELECT pg_advisory_lock({LOCK_ID})")
        waiting = asyncio.create_task(downgrade(database, report=_resume(resumed := asyncio.Event())))
        await resumed.wait()
        await other.execute("UPDATE alembic_version SET version_num = '0007_create_login_buckets'")
    with pytest.raises(SchemaMoved, match="left the schema at 0007_create_login_buckets"):
        await waiting


async def test_upgrade_over_an_invalid_index_builds_it_anew(empty_database: str) -> None:
    await upgrade(empty_database, "0001_create_users")
    await fill(empty_database, last=1)
    await execute(empty_database, "CREATE UNIQUE INDEX uq_users_login_id ON users (login_id)")
    await execute(
        empty_database,
        "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'uq_users_login_id'::regclass",
    )
    await upgrade(empty_database)
    valid = "SELECT indisvalid FROM pg_index WHERE indexrelid = 'uq_users_login_id'::regclass"
    assert await fetch(empty_database, valid) is True


async def test_upgrade_of_a_table_in_use_waits_until_it_is_free(database: str) -> None:
    async with connected(database) as other:
        await other.execute("BEGIN; UPDATE users SET name = name")
        waiting = asyncio.create_task(
            upgrade(
                database,
                "0901_add_nickname",
                more_versions=NEXT,
                report=_resume(resumed := asyncio.Event(), "in use"),
            )
        )
        await resumed.wait()
        # Between two attempts nobody queues behind the migration.
        await other.execute("COMMIT")
    await waiting
    assert await fetch(database, REVISION) == "0901_add_nickname"


async def test_upgrade_waits_for_the_locks_of_each_revision_until_a_deadline_of_its_own(
    database: str, tmp_path: Path
) -> None:
    """The work of a revision may take longer than the deadline, and so may all waits together."""
    work = "; op.execute('SELECT pg_sleep(0.6)')"
    _write_revision(tmp_path, "0901_sessions", HEAD_ID, LOCK.format("sessions") + work)
    _write_revision(tmp_path, "0902_users", "0901_sessions", LOCK.format("users"))
    async with connected(database) as first, connected(database) as second:
        await first.execute("BEGIN; LOCK TABLE sessions IN ACCESS SHARE MODE")
        await second.execute("BEGIN; LOCK TABLE users IN ACCESS SHARE MODE")
        lines: asyncio.Queue[str] = asyncio.Queue()
        loop = asyncio.get_running_loop()
        waiting = asyncio.create_task(
            upgrade(
                database,
                more_versions=tmp_path,
                lock_retry=LockRetryPolicy(timedelta(milliseconds=20), timedelta(milliseconds=500)),
                report=lambda line: loop.call_soon_threadsafe(lines.put_nowait, line) and None,
            )
        )
        waiting.add_done_callback(lambda _task: lines.put_nowait("nothing more"))
        await _line(lines, "in use")
        await first.execute("COMMIT")
        await _line(lines, "applying 0902")
        await _line(lines, "in use")
        await second.execute("COMMIT")
        await waiting
    assert await fetch(database, REVISION) == "0902_users"


async def test_upgrade_ignores_the_timeouts_that_the_database_has_for_requests(
    database: str, tmp_path: Path
) -> None:
    """An index of a large table takes longer, and the connection with the lock is idle meanwhile."""
    _write_revision(tmp_path, "0901_slow", HEAD_ID, "op.execute('SELECT pg_sleep(0.6)')")
    await execute(database, TIMEOUTS)
    await upgrade(database, more_versions=tmp_path)
    assert await fetch(database, REVISION) == "0901_slow"


async def test_migration_keeps_a_timeout_of_its_dsn(database: str) -> None:
    engine = migration_engine(f"{database}&statement_timeout=7s")
    async with engine.connect() as connection:
        assert await connection.scalar(text("SHOW statement_timeout")) == "7s"
    await engine.dispose()


async def test_upgrade_that_locks_several_tables_repeats_nothing_but_the_locking(
    database: str, tmp_path: Path
) -> None:
    _write_revision(tmp_path, "0901_both", HEAD_ID, "op.lock_tables('sessions', 'users')")
    lines: list[str] = []
    async with connected(database) as other:
        pid = other.get_server_pid()
        await other.execute("BEGIN; LOCK TABLE users IN ACCESS SHARE MODE")
        with pytest.raises(StillLocked):
            await upgrade(database, more_versions=tmp_path, lock_retry=HASTY, report=lines.append)
        lines.clear()
        lock_retry = LockRetryPolicy(timedelta(milliseconds=20))
        work = upgrade(database, more_versions=tmp_path, lock_retry=lock_retry, report=lines.append)
        waiting = asyncio.create_task(work)
        for _ in range(2):
            await _until(database, IS_WAITING)
            await _until(database, f"SELECT NOT ({IS_WAITING})")
        await other.execute("COMMIT")
        await waiting
    assert lines.pop(0) == "applying 0901_both"
    assert lines
    assert all(
        line.startswith(f"in use by process {pid} (no name, idle in transaction for ") for line in lines
    )


async def test_upgrade_of_a_table_in_use_for_too_long_stops_and_changes_nothing(database: str) -> None:
    before = dump(database)
    async with connected(database) as other:
        pid = other.get_server_pid()
        await other.execute("BEGIN; LOCK TABLE users IN ACCESS SHARE MODE")
        with pytest.raises(StillLocked, match=rf"process {pid} \(no name, idle in transaction for \d s\)"):
            await upgrade(database, "0901_add_nickname", more_versions=NEXT, lock_retry=HASTY)
    assert dump(database) == before


async def test_rollback_past_a_locked_row_goes_on_when_the_row_is_free(database: str) -> None:
    await fill(database)
    await upgrade(database, "0902_fill_nickname", more_versions=NEXT)
    async with connected(database) as other:
        await other.execute("BEGIN; SELECT FROM users WHERE login_id = 'user4' FOR UPDATE")
        waiting = asyncio.create_task(
            downgrade(
                database,
                HEAD_ID,
                more_versions=NEXT,
                lock_retry=LockRetryPolicy(timedelta(seconds=5)),
            )
        )
        await _until(database, IS_WAITING)
        await other.execute("COMMIT")
    await waiting
    assert await fetch(database, 'SELECT count(*) FROM rollcall_parked."users.nickname"') == 12


async def test_drop_unfinished_after_interrupted_rollback_restores_the_schema(
    database: str,
) -> None:
    await fill(database)
    await downgrade(database, "0003_add_roles_and_states")
    before, rows = dump(database), await picture(database)
    async with connected(database) as other:
        # The copying is done, the dropping is not: what an interruption at the last moment leaves.
        await other.execute("BEGIN; LOCK TABLE users IN ROW SHARE MODE")
        with pytest.raises(StillLocked):
            await downgrade(database, lock_retry=HASTY)
    assert dump(database) != before
    await drop_unfinished(database, LockRetryPolicy())
    assert (dump(database), await picture(database)) == (before, rows)


def _write_revision(directory: Path, revision: str, before: str, work: str) -> None:
    content = REVISION_FILE.format(revision=revision, before=before, work=work)
    (directory / f"{revision}.py").write_text(content)


async def _line(lines: asyncio.Queue[str], part: str) -> None:
    while part not in (line := await lines.get()):
        assert line != "nothing more"


async def _until(dsn: str, condition: str) -> None:
    async with connected(dsn) as connection:
        while not await connection.fetchval(condition):
            await connection.execute("SELECT pg_sleep(0.01)")


def _resume(event: asyncio.Event, at: str = "another migration") -> Report:
    loop = asyncio.get_running_loop()

    def report(line: str) -> None:
        if line.startswith(at):
            loop.call_soon_threadsafe(event.set)

    return report
