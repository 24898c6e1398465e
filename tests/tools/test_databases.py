"""A test gets a database that another one had only if nothing but rows has changed."""

import pytest

from tests.migrations.rows import execute, fetch, fill
from tests.support.databases import Databases

STATE = "SELECT version_num || (SELECT encode(key, 'hex') FROM throttle_keys) FROM alembic_version"


async def test_database_after_a_change_of_rows_is_used_again_with_those_of_the_schema(
    databases: Databases,
) -> None:
    async with databases.migrated() as dsn:
        before = await fetch(dsn, STATE)
        await fill(dsn)
        await execute(dsn, "UPDATE alembic_version SET version_num = '0901_next'; DELETE FROM throttle_keys")
    async with databases.migrated() as again:
        assert again == dsn
        assert await fetch(again, STATE) == before
        assert await fetch(again, "SELECT count(*) FROM users") == 0


@pytest.mark.parametrize(
    "change",
    [
        "CREATE TABLE more (n int)",
        "ALTER TABLE users ADD COLUMN more int; ALTER TABLE users DROP COLUMN more",
        "DROP INDEX ix_sessions_ends_at",
        "ALTER TABLE users DISABLE TRIGGER USER",
        "CREATE FUNCTION more() RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "GRANT SELECT ON users TO PUBLIC",
        "ANALYZE users",
        "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET jit = off', current_database()); END $$",
    ],
)
async def test_database_after_another_change_is_not_used_again(databases: Databases, change: str) -> None:
    async with databases.migrated() as dsn:
        await execute(dsn, change)
    async with databases.migrated() as another:
        assert another != dsn
