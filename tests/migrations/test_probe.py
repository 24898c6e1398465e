import asyncpg
import pytest

from service.db.migrations.probe import DatabaseState, probe
from service.db.migrations.running import downgrade

ADD_USER = "INSERT INTO users (id, login_id, name) VALUES (gen_random_uuid(), 'ada', 'Ada')"


async def execute(dsn: str, statement: str) -> None:
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


async def test_probe_migrated_database_finds_head_and_users(database: str) -> None:
    assert await probe(database) == DatabaseState(is_at_head=True, has_accounts=False)
    await execute(database, ADD_USER)
    assert await probe(database) == DatabaseState(is_at_head=True, has_accounts=True)


async def test_probe_older_schema_finds_it_not_at_head(database: str) -> None:
    await execute(database, ADD_USER)
    await downgrade(database)
    assert await probe(database) == DatabaseState(is_at_head=False, has_accounts=True)


@pytest.mark.parametrize("revision", ["0010_create_elsewhere", "0010_"])
async def test_probe_another_head_of_the_same_number_finds_it_not_at_head(
    database: str, revision: str
) -> None:
    await execute(database, f"UPDATE alembic_version SET version_num = '{revision}'")
    assert not (await probe(database)).is_at_head


async def test_probe_two_revisions_finds_it_not_at_head(database: str) -> None:
    await execute(database, "INSERT INTO alembic_version VALUES ('0901_next')")
    assert not (await probe(database)).is_at_head


async def test_probe_empty_database_finds_nothing(empty_database: str) -> None:
    assert await probe(empty_database) == DatabaseState()


@pytest.mark.parametrize("dsn", ["postgresql:///rollcall?host=/nowhere", "postgresql:///missing"])
async def test_probe_unreachable_database_finds_nothing(database: str, dsn: str) -> None:
    query = database.partition("?")[2]
    assert await probe(dsn if "?" in dsn else f"{dsn}?{query}") == DatabaseState()
