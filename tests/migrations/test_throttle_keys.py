"""The key of the throttle's digests is made by the migration, once for each database."""

import asyncpg
import pytest

from service.db.migrations.running import upgrade
from tests.migrations.rows import execute, fetch


async def test_upgrade_makes_another_key_in_each_database(database: str, empty_database: str) -> None:
    await upgrade(empty_database)
    keys = [await fetch(dsn, "SELECT key FROM throttle_keys") for dsn in (database, empty_database)]
    assert [len(key) for key in keys] == [32, 32]
    assert keys[0] != keys[1]


@pytest.mark.parametrize("is_only_row", [True, False])
async def test_insert_a_second_key_is_rejected(database: str, is_only_row: bool) -> None:
    with pytest.raises(asyncpg.IntegrityConstraintViolationError):
        await execute(database, f"INSERT INTO throttle_keys VALUES ({is_only_row}, sha256('x'))")
