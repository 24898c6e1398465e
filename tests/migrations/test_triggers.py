"""`updated_at` moves on every change, by whatever way it comes."""

from datetime import UTC, datetime

import pytest

from service.db.migrations.running import downgrade
from tests.migrations.rows import USER_3, execute, fetch, fill

LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)
UPDATED_AT = f"SELECT updated_at FROM users WHERE id = '{USER_3}'"


@pytest.fixture
async def aged(database: str) -> str:
    await fill(database)
    await execute(
        database,
        "SET session_replication_role = replica; UPDATE users SET updated_at = '2020-01-01T00:00:00Z'",
    )
    return database


@pytest.mark.parametrize(
    "change",
    [
        "name = 'Other'",
        "password_hash = 'other'",
        "state = 'disabled'",
        "updated_at = '2001-01-01'",
        "updated_at = '2999-01-01'",
        "last_login_at = now(), must_change = true",
    ],
)
async def test_update_of_a_user_moves_updated_at_to_now(aged: str, change: str) -> None:
    await execute(aged, f"UPDATE users SET {change} WHERE id = '{USER_3}'")
    assert await fetch(aged, UPDATED_AT) > LONG_AGO
    assert await fetch(aged, f"SELECT updated_at <= now() FROM users WHERE id = '{USER_3}'")


async def test_update_of_the_last_log_in_alone_leaves_updated_at(aged: str) -> None:
    await execute(aged, f"UPDATE users SET last_login_at = now() WHERE id = '{USER_3}'")
    assert await fetch(aged, UPDATED_AT) == LONG_AGO


async def test_update_twice_moves_updated_at_twice(aged: str) -> None:
    seen = []
    for name in "ab":
        await execute(
            aged, f"UPDATE users SET name = '{name}', updated_at = '2999-01-01' WHERE id = '{USER_3}'"
        )
        seen.append(await fetch(aged, UPDATED_AT))
    assert seen[0] < seen[1]


async def test_update_with_a_clock_behind_still_moves_updated_at_forward(aged: str) -> None:
    await execute(
        aged,
        "SET session_replication_role = replica; UPDATE users SET updated_at = '2999-01-01T00:00:00Z';"
        f"RESET session_replication_role; UPDATE users SET name = 'x' WHERE id = '{USER_3}'",
    )
    assert await fetch(aged, UPDATED_AT) == datetime(2999, 1, 1, 0, 0, 0, 1, tzinfo=UTC)


async def test_update_one_revision_back_moves_updated_at_for_a_log_in_too(aged: str) -> None:
    await downgrade(aged, "0002_add_timestamps")
    await execute(aged, f"UPDATE users SET name = 'Other' WHERE id = '{USER_3}'")
    assert await fetch(aged, UPDATED_AT) > LONG_AGO
