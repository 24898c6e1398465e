"""The kinds of the next revision, from add column to rename and drop, on rows and under writers."""

from pathlib import Path

import pytest

from service.db.migrations.compatibility import HEAD, HEAD_ID
from service.db.migrations.history import alembic_config, list_revisions
from service.db.migrations.online import DataCheckFailed
from service.db.migrations.running import downgrade, upgrade
from tests.migrations.rows import execute, fetch, fill, picture

NEXT = Path(__file__).parent / "next"
IDS = [revision.id for revision in list_revisions(alembic_config(more_versions=NEXT))[HEAD:]]


@pytest.fixture
async def filled(database: str) -> str:
    await fill(database)
    return database


async def test_next_revisions_up_down_and_up_keep_every_value(filled: str) -> None:
    at_head = await picture(filled)
    await upgrade(filled, more_versions=NEXT)
    await execute(
        filled,
        "UPDATE users SET alias = 'Al ' || login_id WHERE login_id LIKE '%1';"
        "INSERT INTO notes SELECT gen_random_uuid(), id, 'kept' FROM users",
    )
    changed = await picture(filled)
    for revision in reversed([HEAD_ID, *IDS[:-1]]):
        await downgrade(filled, revision, more_versions=NEXT)
    assert _without_updated_at(await picture(filled)) == _without_updated_at(at_head)
    for revision in IDS:
        await upgrade(filled, revision, more_versions=NEXT)
    assert await picture(filled) == changed


async def test_backfill_leaves_updated_at_alone(filled: str) -> None:
    before = await fetch(filled, "SELECT max(updated_at) FROM users")
    await upgrade(filled, "0902_fill_nickname", more_versions=NEXT)
    assert await fetch(filled, "SELECT count(*) FROM users WHERE nickname = name") == 12
    assert await fetch(filled, "SELECT max(updated_at) FROM users") == before


async def test_upgrade_to_not_null_with_null_rows_names_them_and_changes_nothing(filled: str) -> None:
    await upgrade(filled, "0902_fill_nickname", more_versions=NEXT)
    await execute(filled, "UPDATE users SET nickname = NULL WHERE login_id = 'user3'")
    with pytest.raises(DataCheckFailed, match=r"users has rows where nickname IS NULL: 00000000-.*3$"):
        await upgrade(filled, "0903_demand_nickname", more_versions=NEXT)
    assert await fetch(filled, "SELECT version_num FROM alembic_version") == "0902_fill_nickname"
    await execute(filled, "UPDATE users SET nickname = 'Three' WHERE login_id = 'user3'")
    await upgrade(filled, "0903_demand_nickname", more_versions=NEXT)


async def test_write_of_either_name_during_a_rename_reaches_both(filled: str) -> None:
    await upgrade(filled, "0908_fill_alias", more_versions=NEXT)
    await execute(
        filled,
        "UPDATE users SET nickname = 'by the old' WHERE login_id = 'user1';"
        "UPDATE users SET alias = 'by the new' WHERE login_id = 'user2'",
    )
    both = "SELECT bool_and(nickname = alias) AND count(*) = 12 FROM users"
    assert await fetch(filled, both)
    assert await fetch(filled, "SELECT count(*) FROM users WHERE alias LIKE 'by the %'") == 2


def _without_updated_at(rows: dict[str, list[dict[str, object]]]) -> dict[str, list[dict[str, object]]]:
    """The accounts were changed on purpose, which shows in one column."""
    users = [{**row, "updated_at": None} for row in rows["users"]]
    return {**rows, "users": users}
