"""Each phase may only do what its live neighbours survive; and what takes away is done last, all at once."""

import re
from collections.abc import Sequence
from pathlib import Path

import pytest

from service.db.migrations.history import Revision, Step, alembic_config, list_revisions
from service.db.migrations.plan import write_script

NEXT = Path(__file__).parent / "next"
REVISIONS = list_revisions(alembic_config(more_versions=NEXT))

TAKES_AWAY = (
    r"\bDROP (TABLE|COLUMN|SCHEMA|TYPE)\b",
    r"\bDROP CONSTRAINT (?!IF EXISTS)",
    r"\bSET SCHEMA rollcall_parked\b",
    r"\bTRUNCATE\b",
    r"\bRENAME\b",
)
LOCKS_FOR_LONG = (
    r"\bALTER COLUMN \S+ (SET DATA )?TYPE\b",
    r"\bCREATE (UNIQUE )?INDEX (?!CONCURRENTLY)(?!IF NOT EXISTS)",
    r'\bLOCK TABLE (?!"\w+", )',  # `lock_tables` names several, which the rest locks anyway
    r"^(CLUSTER|VACUUM|REINDEX)\b",
    r"\bADD CONSTRAINT \S+ (CHECK|FOREIGN KEY)(?!.*NOT VALID)",
)
TIGHTENS = (r"\bSET NOT NULL\b",)
CHANGES_ROWS = (r"^(UPDATE|DELETE|INSERT)\b", r"\bdone AS \((UPDATE|DELETE)\b")

BANNED = {
    "expand": (*TAKES_AWAY, *LOCKS_FOR_LONG, *TIGHTENS, *CHANGES_ROWS),
    "data": (*TAKES_AWAY, *LOCKS_FOR_LONG, *TIGHTENS, r"\bADD COLUMN\b", r"\bCREATE TABLE\b"),
    "contract": LOCKS_FOR_LONG,
}


def offences(sql: str, phase: str) -> list[str]:
    """The statements that do not belong to a phase. A table that the script makes is nobody's yet."""
    new = set(re.findall(r"CREATE TABLE (\w+)", sql))
    statements = [part.strip() for part in sql.split(";\n")]
    return [
        statement
        for statement in statements
        if any(re.search(pattern, statement, re.MULTILINE) for pattern in BANNED[phase])
        and not any(re.search(rf"\b(ON|INTO) {table}\b", statement) for table in new)
    ]


@pytest.mark.parametrize("revision", REVISIONS, ids=lambda revision: revision.id)
def test_upgrade_script_of_a_revision_stays_inside_its_phase(revision: Revision) -> None:
    assert offences(write_script(Step(revision, is_upgrade=True)).sql, revision.phase) == []


@pytest.mark.parametrize(
    ("phase", "sql"),
    [
        ("expand", "ALTER TABLE users DROP COLUMN name"),
        ("expand", "ALTER TABLE users ALTER COLUMN name TYPE varchar"),
        ("expand", "ALTER TABLE users RENAME COLUMN name TO label"),
        ("expand", "CREATE INDEX ix_users_name ON users (name)"),
        ("expand", "ALTER TABLE users ADD CONSTRAINT ck CHECK (true)"),
        ("expand", "ALTER TABLE users ALTER COLUMN name SET NOT NULL"),
        ("expand", "UPDATE users SET name = ''"),
        ("expand", "DROP TABLE events"),
        ("data", "ALTER TABLE users ADD COLUMN x int"),
        ("data", "ALTER TABLE users DROP COLUMN name"),
        ("contract", "LOCK TABLE users"),
        ("expand", 'LOCK TABLE "users"'),
        ("contract", "ALTER TABLE users ALTER COLUMN name TYPE varchar"),
    ],
)
def test_script_outside_its_phase_is_an_offence(phase: str, sql: str) -> None:
    assert offences(f"{sql};\n", phase) == [sql]


@pytest.mark.parametrize("is_upgrade", [True, False], ids=["up", "down"])
@pytest.mark.parametrize("revision", REVISIONS, ids=lambda revision: revision.id)
def test_script_that_takes_away_does_so_in_its_last_transaction(revision: Revision, is_upgrade: bool) -> None:
    """So that an interruption leaves what was there in its place."""
    sql = write_script(Step(revision, is_upgrade=is_upgrade)).sql
    before_last_commit = sql.rpartition("\nCOMMIT;")[0]
    assert not [pattern for pattern in TAKES_AWAY if re.search(pattern, before_last_commit)]


@pytest.mark.parametrize("revision", REVISIONS, ids=lambda revision: revision.id)
def test_downgrade_script_drops_no_index_before_the_version_moves(revision: Revision) -> None:
    """Migrating after an interruption passes the revision by, so the index would be gone for good."""
    sql = write_script(Step(revision, is_upgrade=False)).sql
    gone = re.findall(r'DROP INDEX CONCURRENTLY IF EXISTS "(\w+)"', sql)
    assert [index for index in gone if f"INDEX CONCURRENTLY {index} ON" not in sql] == []


def test_every_lossless_revision_parks_what_its_rollback_takes_away() -> None:
    for revision in REVISIONS:
        sql = write_script(Step(revision, is_upgrade=False)).sql
        assert not re.search(r"\bDROP TABLE\b", sql)
        for column in dropped_columns(sql):
            assert f'{column}" AS SELECT' in sql


def dropped_columns(sql: str) -> Sequence[str]:
    """The columns that hold data: `serves_from` is written anew with each revision."""
    found = re.findall(r"ALTER TABLE (\w+) DROP COLUMN (\w+)", sql)
    return [f"{table}.{column}" for table, column in found if table != "alembic_version"]
