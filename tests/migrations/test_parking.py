"""Parking where it is not the usual table: a key of two columns, nulls beside a default, several batches."""

from pathlib import Path

import pytest

from service.db.migrations.compatibility import HEAD_ID
from service.db.migrations.running import downgrade, upgrade
from tests.migrations.rows import execute, fetch, picture

REVISION = """
from alembic import op
import sqlalchemy as sa

revision, down_revision = "0901_add_note", "HEAD_ID"


def upgrade():
    op.restore_columns("pairs", sa.Column("note", sa.Text(), server_default="x"), key=("a", "b"))
    op.restore_columns("pairs", sa.Column("bare", sa.Text()), key=("a", "b"))


def downgrade():
    op.park_columns("pairs", "bare", "note", key=("a", "b"))
"""


@pytest.fixture
async def pairs(database: str, tmp_path: Path) -> tuple[str, Path]:
    """A table with a key of two columns and a row count just over two batches."""
    (tmp_path / "0901_add_note.py").write_text(REVISION.replace("HEAD_ID", HEAD_ID))
    await execute(
        database,
        "CREATE TABLE pairs (a int, b text, PRIMARY KEY (a, b));"
        "INSERT INTO pairs SELECT n % 3, 'b' || n FROM generate_series(1, 4001) AS n",
    )
    await upgrade(database, more_versions=tmp_path)
    await execute(
        database,
        "UPDATE pairs SET note = CASE a WHEN 0 THEN NULL WHEN 1 THEN b ELSE note END,"
        " bare = CASE a WHEN 2 THEN b END",
    )
    return database, tmp_path


async def test_rollback_and_back_keeps_nulls_defaults_and_values_by_a_key_of_two(
    pairs: tuple[str, Path],
) -> None:
    dsn, versions = pairs
    before = await picture(dsn)
    await downgrade(dsn, more_versions=versions)
    assert {tuple(row) for row in (await picture(dsn))["pairs"]} == {("a", "b")}
    await upgrade(dsn, more_versions=versions)
    assert await picture(dsn) == before


async def test_rollback_parks_no_null_that_would_come_back_anyway(pairs: tuple[str, Path]) -> None:
    dsn, versions = pairs
    await downgrade(dsn, more_versions=versions)
    assert await fetch(dsn, 'SELECT count(*) FROM rollcall_parked."pairs.note"') == 4001
    assert await fetch(dsn, 'SELECT count(*) FROM rollcall_parked."pairs.bare"') == 1334


async def test_park_while_the_role_has_no_rights_on_what_is_parked_lets_it_write(
    pairs: tuple[str, Path],
) -> None:
    """The service's role deletes rows whose parked values belong to another role."""
    dsn, versions = pairs
    await downgrade(dsn, more_versions=versions)
    role = f"writer_{dsn.partition('?')[0].rpartition('/')[2]}"
    await execute(dsn, f"CREATE ROLE {role}; GRANT SELECT, DELETE ON pairs TO {role}")
    try:
        await execute(dsn, f"SET ROLE {role}; DELETE FROM pairs WHERE b = 'b7'")
    finally:
        await execute(dsn, f"DROP OWNED BY {role}; DROP ROLE {role}")
    assert await fetch(dsn, """SELECT count(*) FROM rollcall_parked."pairs.note" WHERE b = 'b7'""") == 0


async def test_purge_of_a_parked_column_lets_it_come_back_with_its_default(pairs: tuple[str, Path]) -> None:
    dsn, versions = pairs
    await downgrade(dsn, more_versions=versions)
    await execute(dsn, "DROP SCHEMA rollcall_parked CASCADE")
    await upgrade(dsn, more_versions=versions)
    assert await fetch(dsn, "SELECT count(*) FROM pairs WHERE note = 'x' AND bare IS NULL") == 4001
