"""Revision 0013: what belongs to a user stays so, through a rollback during which the user is lost."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from service.db.migrations.running import downgrade, upgrade
from tests.migrations.rows import USER_3, execute, fetch, fill
from tests.support.databases import Databases

KEYS = "SELECT count(*) FROM api_keys"
RESPONSES = "SELECT count(*) FROM idempotency_keys"


@pytest_asyncio.fixture(scope="module")
async def original(databases: Databases) -> AsyncIterator[str]:
    async with databases.migrated() as dsn:
        await fill(dsn)
        await downgrade(dsn, "0012_add_serves_from")
        yield dsn


@pytest_asyncio.fixture
async def rolled_back(databases: Databases, original: str) -> AsyncIterator[str]:
    async with databases.copied(original) as dsn:
        yield dsn


@pytest.mark.parametrize(
    "lost",
    [
        f"DELETE FROM users WHERE id = '{USER_3}'",
        f"UPDATE users SET state = 'disabled' WHERE id = '{USER_3}'",
        f"UPDATE users SET role = 'user' WHERE id = '{USER_3}'",
    ],
)
async def test_migrate_after_an_administrator_was_lost_revokes_its_keys(rolled_back: str, lost: str) -> None:
    await execute(
        rolled_back,
        "INSERT INTO api_keys (id, name, scopes, prefix, token_digest)"
        " VALUES (gen_random_uuid(), 'of the previous release', '{users:read}', 'rck_AbC2', sha256('l'))",
    )
    await execute(rolled_back, lost)
    await upgrade(rolled_back)
    assert await fetch(rolled_back, "SELECT string_agg(name, ',') FROM api_keys") == "of the previous release"


async def test_migrate_after_another_user_was_lost_keeps_the_keys(rolled_back: str) -> None:
    await execute(rolled_back, "DELETE FROM users WHERE login_id = 'user2'")
    await upgrade(rolled_back)
    assert (await fetch(rolled_back, KEYS), await fetch(rolled_back, RESPONSES)) == (1, 1)


async def test_migrate_after_a_user_was_deleted_deletes_its_stored_responses(rolled_back: str) -> None:
    await execute(rolled_back, "DELETE FROM users WHERE login_id = 'user1'")
    await upgrade(rolled_back)
    assert (await fetch(rolled_back, KEYS), await fetch(rolled_back, RESPONSES)) == (1, 0)


async def test_delete_user_deletes_its_keys_and_stored_responses(database: str) -> None:
    await fill(database)
    await execute(database, "DELETE FROM users")
    assert (await fetch(database, KEYS), await fetch(database, RESPONSES)) == (0, 0)
