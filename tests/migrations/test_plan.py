"""What a plan tells before anything runs, and that squawk finds nothing wrong with its SQL."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from service.cli.schema_report import plan_as_json, plan_in_words
from service.db.migrations.compatibility import HEAD, HEAD_ID
from service.db.migrations.history import Step, alembic_config, list_revisions, steps_between
from service.db.migrations.plan import StepPlan, make_plan, write_script
from service.db.migrations.running import downgrade, migration_engine, upgrade
from tests.migrations.rows import execute, fill
from tests.migrations.test_schema import dump

NEXT = Path(__file__).parent / "next"
REVISIONS = list_revisions(alembic_config(more_versions=NEXT))

# Rules that ask for what is done elsewhere, or that this history answers otherwise.
# What is answered elsewhere: phases forbid dropping, the runner sets timeouts, and each concurrent index is
# preceded by the removal of its leftover.
NOT_ASKED = {
    "require-timeout-settings",
    "ban-drop-column",
    "ban-drop-constraint",
    "ban-drop-function",
    "prefer-robust-stmts",
    "prefer-bigint-over-int",  # counts and statuses, which have small bounds
}
# A rollback is what parks, and goes down in one transaction at the end.
NOT_ASKED_OF_ROLLBACKS = {"ban-set-schema", "ban-drop-not-null", "require-concurrent-index-deletion"}


async def plan_of(dsn: str, current: str | None, target: str) -> list[StepPlan]:
    engine = migration_engine(dsn)
    try:
        return await make_plan(engine, steps_between(current, target))
    finally:
        await engine.dispose()


async def test_plan_of_an_empty_database_shows_every_step(empty_database: str) -> None:
    plans = await plan_of(empty_database, None, "head")
    assert [plan.step.revision.number for plan in plans] == list(range(1, HEAD + 1))
    assert "CREATE TABLE users" in plans[0].sql
    assert not any(plan.obstacles or plan.tables for plan in plans)


async def test_plan_changes_nothing(database: str) -> None:
    before = dump(database)
    await plan_of(database, HEAD_ID, "base")
    assert dump(database) == before


async def test_plan_with_login_ids_taken_twice_names_them(empty_database: str) -> None:
    await upgrade(empty_database, "0001_create_users")
    await fill(empty_database, last=1)
    await execute(empty_database, "UPDATE users SET login_id = 'twin' WHERE login_id IN ('user4', 'user5')")
    plans = await plan_of(empty_database, "0001_create_users", "+2")
    assert plans[0].obstacles == ("users has the same login_id more than once: twin, 2 times",)
    assert "  STOPS   users has the same login_id" in plan_in_words(plans)
    assert json.loads(plan_as_json(plans))[0]["obstacles"] == list(plans[0].obstacles)


async def test_plan_looks_for_obstacles_in_what_is_parked(empty_database: str) -> None:
    await upgrade(empty_database, "0001_create_users")
    await fill(empty_database, last=1)
    await execute(empty_database, "UPDATE users SET login_id = 'twin' WHERE login_id IN ('user4', 'user5')")
    await downgrade(empty_database)
    plans = await plan_of(empty_database, None, "head")
    assert [len(plan.obstacles) for plan in plans[:2]] == [0, 1]


async def test_plan_after_a_rollback_shows_what_comes_back_and_its_size(database: str) -> None:
    await fill(database)
    await execute(database, "ANALYZE")
    await downgrade(database, "0008_create_idempotency_keys")
    (plan,) = await plan_of(database, "0008_create_idempotency_keys", "+1")
    assert plan.sql == 'ALTER TABLE rollcall_parked."events" SET SCHEMA "public";'
    assert [(table.name, table.rows) for table in plan.tables] == [("events", 12)]
    assert "events (12 rows," in plan_in_words([plan])


async def test_plan_in_json_shows_phase_locks_and_losslessness(empty_database: str) -> None:
    told = json.loads(plan_as_json(await plan_of(empty_database, None, "+1")))
    assert told[0] | {"sql": ""} == {
        "revision": "0001_create_users",
        "direction": "upgrade",
        "title": "Create the accounts",
        "phase": "expand",
        "locks": "none: the table is new",
        "lossless": True,
        "serves_from": None,
        "tables": [],
        "obstacles": [],
        "sql": "",
    }


def test_plan_of_nothing_says_so() -> None:
    assert plan_in_words([]) == "Nothing to do."


@pytest.mark.parametrize("is_upgrade", [True, False], ids=["up", "down"])
def test_squawk_finds_nothing_wrong_with_any_script(is_upgrade: bool, tmp_path: Path) -> None:
    squawk = str(Path(sys.executable).with_name("squawk"))
    for revision in REVISIONS:
        sql = write_script(Step(revision, is_upgrade=is_upgrade)).sql
        (tmp_path / f"{revision.id}.sql").write_text(f"BEGIN;\n{sql}\nCOMMIT;\n")
    excluded = ",".join(NOT_ASKED if is_upgrade else NOT_ASKED | NOT_ASKED_OF_ROLLBACKS)
    command = [
        squawk,
        "--reporter=gcc",
        "--pg-version=18",
        f"--exclude={excluded}",
        *map(str, tmp_path.glob("*.sql")),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


async def test_plan_after_a_rollback_of_credentials_takes_their_guards_away(database: str) -> None:
    await downgrade(database, "0003_add_roles_and_states")
    (plan,) = await plan_of(database, "0003_add_roles_and_states", "+1")
    assert plan.sql.splitlines() == [
        'DROP FUNCTION rollcall_parked."revoke sessions"() CASCADE;',
        'DROP FUNCTION rollcall_parked."expire sessions"() CASCADE;',
        'ALTER TABLE rollcall_parked."sessions" SET SCHEMA "public";',
        'DROP FUNCTION rollcall_parked."revoke devices"() CASCADE;',
        'ALTER TABLE rollcall_parked."devices" SET SCHEMA "public";',
    ]
