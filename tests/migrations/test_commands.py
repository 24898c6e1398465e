"""The `database` commands."""

import asyncio
import json
from collections.abc import Callable, Iterator
from uuid import uuid4

import asyncpg
import pytest
from click.testing import CliRunner, Result

from service.cli.database import database as group
from service.db.instances import Instance, record_heartbeat
from service.db.migrations.compatibility import HEAD, HEAD_ID, THIS_RELEASE
from service.db.migrations.history import list_revisions
from service.db.migrations.running import migration_engine
from service.db.write_lease import WriteLease
from settings import get_settings
from tests.migrations.rows import execute, fill

Command = Callable[..., Result]
BEFORE_HEAD = list_revisions()[-2].id


@pytest.fixture
def command(database: str, monkeypatch: pytest.MonkeyPatch) -> Command:
    """Run a command in this process, on the test's database."""
    monkeypatch.setenv("DATABASE_URL", database)
    get_settings.cache_clear()
    return lambda *words, **options: CliRunner().invoke(group, words, **options)


@pytest.fixture(autouse=True)
def _clear_settings_cache() -> Iterator[None]:
    yield
    get_settings.cache_clear()


@pytest.fixture
async def filled(database: str) -> str:
    await fill(database, last=9)
    return database


@pytest.fixture
async def live(database: str) -> Instance:
    """A process of this release that gave a heartbeat just now."""
    instance, engine = Instance.here(uuid4(), "0.1.0"), migration_engine(database)
    await record_heartbeat(engine, instance, WriteLease())
    await engine.dispose()
    return instance


def test_migrate_at_head_has_nothing_to_do(command: Command) -> None:
    done = command("migrate")
    assert (done.exit_code, done.stdout) == (0, f"Nothing to do: the schema is at {HEAD_ID}.\n")


def test_rollback_and_migrate_move_one_step_and_back(command: Command) -> None:
    down = command("rollback")
    assert (down.exit_code, down.stdout) == (0, f"The schema is at {BEFORE_HEAD}.\n")
    assert down.stderr == f"rolling back {HEAD_ID}\n"
    up = command("migrate")
    assert (up.exit_code, up.stdout) == (0, f"The schema is at {HEAD_ID}.\n")


def test_rollback_at_base_has_nothing_to_do(command: Command) -> None:
    assert command("rollback", "--to", "base").exit_code == 0
    done = command("rollback")
    assert (done.exit_code, done.stdout) == (0, "Nothing to do: the schema is at base.\n")


def test_migrate_in_the_wrong_direction_names_the_other_command(command: Command) -> None:
    assert command("rollback", "--to", "5").exit_code == 0
    assert "rollback goes down" in command("migrate", "--to", "4").stdout
    assert "migrate goes up" in command("rollback", "--to", "7").stdout
    assert command("migrate", "--to", "0007").stdout == "The schema is at 0007_create_login_buckets.\n"


def test_migrate_to_unknown_revision_is_a_usage_error(command: Command) -> None:
    done = command("migrate", "--to", "0099")
    assert done.exit_code == 2
    assert "There is no revision 0099." in done.stderr


@pytest.mark.parametrize("name", ["migrate", "rollback", "plan"])
def test_move_to_what_is_no_revision_is_a_usage_error(command: Command, name: str) -> None:
    for target in ("", "+", "-x", "+" + "9" * 5000):
        done = command(name, "--to", target)
        assert done.exit_code == 2
        assert "There is no revision" in done.stderr


def test_draft_a_revision_without_a_message_is_a_usage_error(command: Command) -> None:
    done = command("revision", "-m", " ")
    assert done.exit_code == 2
    assert "Say what the revision does" in done.stderr


def test_rollback_past_a_live_process_is_rejected_by_name_unless_forced(
    command: Command, live: Instance
) -> None:
    rejected = command("rollback", "--to", "12")
    assert rejected.exit_code == 1
    assert f"{live.host} process {live.pid} (release 0.1.0, {THIS_RELEASE})" in rejected.stderr
    assert f"schema     {HEAD_ID}" in command("status").stdout
    assert command("rollback", "--to", "12", "--force").exit_code == 0


def test_rollback_without_heartbeats_is_rejected_while_a_service_is_connected(
    command: Command, database: str
) -> None:
    assert command("rollback", "--to", "9").exit_code == 0
    named = {"application_name": "rollcall"}
    with asyncio.Runner() as runner:
        connection = runner.run(asyncpg.connect(database, server_settings=named))
        rejected = command("rollback")
        assert rejected.exit_code == 1
        assert "1 connections of a running service" in rejected.stderr
        assert command("migrate").exit_code == 0
        runner.run(connection.close())


def test_migrate_schema_of_a_later_release_is_rejected(command: Command, database: str) -> None:
    asyncio.run(execute(database, "UPDATE alembic_version SET version_num = '0899_of_later'"))
    done = command("migrate")
    assert done.exit_code == 1
    assert "0899_of_later, which this release does not know" in done.stderr
    assert json.loads(command("status", "--json").stdout)["status"] == "served"


def test_status_lists_what_is_parked_pending_and_live(command: Command, filled: str, live: Instance) -> None:
    command("rollback", "--to", "0009", "--force")
    command("migrate", "--force")
    found = json.loads(command("status", "--json").stdout)
    assert (found["status"], found["pending"], found["parked"]) == ("served", [], [])
    assert found["instances"][0]["pid"] == live.pid
    command("rollback", "--to", "0002", "--force")
    output = command("status").stdout
    assert "pending    0003_add_roles_and_states, 0004_create_sessions" in output
    assert "users.role" in output
    assert "the schema is too old for it; migrate" in output
    assert "this revision has no heartbeats" in output


def test_plan_lists_steps_with_their_sql(command: Command) -> None:
    done = command("plan", "--to", "0009")
    assert done.exit_code == 0
    assert "↓ 0010_create_instances" in done.stdout
    assert 'ALTER TABLE "instances" SET SCHEMA rollcall_parked' in done.stdout
    assert command("plan").stdout == "Nothing to do.\n"
    assert json.loads(command("plan", "--json").stdout) == []


def test_purge_parked_asks_before_it_deletes(command: Command, filled: str) -> None:
    assert command("purge-parked", "--yes").stdout == "Nothing to do: nothing is parked.\n"
    command("rollback", "--to", "0008")
    for answer in ("n\n", ""):
        rejected = command("purge-parked", input=answer)
        assert rejected.exit_code == 1
        assert "Nothing was removed" in rejected.stderr
    assert command("purge-parked", "--yes").stdout == "Removed 29 parked tables and columns.\n"
    assert command("migrate").exit_code == 0


def test_check_of_this_release_is_in_step(command: Command) -> None:
    done = command("check")
    assert (done.exit_code, done.stdout) == (
        0,
        f"In step: {HEAD} revisions in one line make the declared schema.\n",
    )


def test_command_without_a_database_fails_with_one_sentence(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://u:secret@127.0.0.1:1/db")
    get_settings.cache_clear()
    done = command("status")
    assert done.exit_code == 1
    assert done.stderr == (
        "Error: The database cannot be used: postgresql://u:***@127.0.0.1:1/db. "
        "Nothing listens there: start PostgreSQL, or check host and port in DATABASE_URL.\n"
    )
