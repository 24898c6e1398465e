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


async def test_look_at_a_migrated_database_sees_its_head_and_its_accounts(database: str) -> None:
    assert await probe(database) == DatabaseState(is_at_head=True, has_accounts=False)
    await execute(database, ADD_USER)
    assert await probe(database) == DatabaseState(is_at_head=True, has_accounts=True)


async def test_look_at_an_older_schema_sees_that_there_is_something_to_migrate(database: str) -> None:
    await execute(database, ADD_USER)
    await downgrade(database)
    assert await probe(database) == DatabaseState(is_at_head=False, has_accounts=True)


@pytest.mark.parametrize("revision", ["0010_create_elsewhere", "0010_"])
async def test_look_at_another_head_of_the_same_number_leaves_it_to_the_migration(
    database: str, revision: str
) -> None:
    await execute(database, f"UPDATE alembic_version SET version_num = '{revision}'")
    assert not (await probe(database)).is_at_head


async def test_look_at_two_revisions_leaves_them_to_the_migration(database: str) -> None:
    await execute(database, "INSERT INTO alembic_version VALUES ('0011_next')")
    assert not (await probe(database)).is_at_head


async def test_look_at_an_empty_database_sees_nothing(empty_database: str) -> None:
    assert await probe(empty_database) == DatabaseState()


@pytest.mark.parametrize("dsn", ["postgresql:///rollcall?host=/nowhere", "postgresql:///missing"])
async def test_look_at_a_database_that_does_not_answer_sees_nothing(database: str, dsn: str) -> None:
    classify = database.partition("?")[2]
    assert await probe(dsn if "?" in dsn else f"{dsn}?{classify}") == DatabaseState()
