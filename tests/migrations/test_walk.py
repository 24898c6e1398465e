"""Down and up again: nothing is lost."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace

import pytest
import pytest_asyncio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from service.db.migrations.batches import BATCH_ROWS
from service.db.migrations.history import list_revisions
from service.db.migrations.running import downgrade, upgrade
from tests.migrations.rows import USER_3, Picture, execute, fetch, fill, picture, sums
from tests.migrations.test_schema import WITH_VERSION, dump
from tests.support.databases import Databases

IDS = [revision.id for revision in list_revisions()]
PLACES = ["base", *IDS]


@pytest.fixture
async def filled(database: str) -> str:
    await fill(database)
    return database


async def test_upgrade_with_rows_of_each_revision_keeps_every_value(empty_database: str) -> None:
    for number, revision in enumerate(IDS, start=1):
        await upgrade(empty_database, revision)
        await fill(empty_database, first=number, last=number)
        before = await picture(empty_database)
        await downgrade(empty_database)
        await upgrade(empty_database, revision)
        assert await picture(empty_database) == before


@dataclass(frozen=True)
class Walked:
    """A database with rows, and its schema and its rows before it was rolled back."""

    dsn: str
    schema: set[str]
    rows: Picture

    @classmethod
    async def start(cls, dsn: str) -> "Walked":
        await fill(dsn)
        return cls(dsn, dump(dsn, WITH_VERSION), await picture(dsn))


@pytest_asyncio.fixture(scope="module")
async def walked(databases: Databases) -> AsyncIterator[Walked]:
    async with databases.migrated() as dsn:
        yield await Walked.start(dsn)


@pytest.mark.parametrize("target", PLACES[:-1])
async def test_rollback_to_any_revision_and_back_keeps_every_value(walked: Walked, target: str) -> None:
    await downgrade(walked.dsn, target)
    assert dump(walked.dsn, WITH_VERSION) != walked.schema
    await upgrade(walked.dsn)
    assert (await picture(walked.dsn), dump(walked.dsn, WITH_VERSION)) == (walked.rows, walked.schema)


@settings(max_examples=4, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(path=st.lists(st.integers(0, len(IDS)), min_size=2, max_size=4))
async def test_any_path_through_the_revisions_keeps_every_value(filled: str, path: list[int]) -> None:
    before, here = await picture(filled), len(IDS)
    for there in [*path, len(IDS)]:
        await (upgrade if there >= here else downgrade)(filled, PLACES[there])
        here = there
    assert await picture(filled) == before


async def test_rollback_of_more_users_than_two_batches_and_back_keeps_every_value(database: str) -> None:
    await fill(database, count=2 * BATCH_ROWS + 1)
    before = await sums(database)
    await downgrade(database, "base")
    await upgrade(database)
    assert await sums(database) == before


@pytest_asyncio.fixture(scope="module")
async def original(databases: Databases) -> AsyncIterator[Walked]:
    async with databases.migrated() as dsn:
        walked = await Walked.start(dsn)
        await downgrade(dsn, "0001_create_users")
        yield walked


@pytest_asyncio.fixture
async def rolled_back(databases: Databases, original: Walked) -> AsyncIterator[Walked]:
    """A copy of a database at the first revision."""
    async with databases.copied(original.dsn) as dsn:
        yield replace(original, dsn=dsn)


async def test_migrate_after_writes_in_between_gives_new_rows_the_defaults(rolled_back: Walked) -> None:
    before = rolled_back.rows
    await execute(rolled_back.dsn, "INSERT INTO users VALUES (gen_random_uuid(), 'New', 'new')")
    await upgrade(rolled_back.dsn)
    after = await picture(rolled_back.dsn)
    (new,) = [row for row in after["users"] if row not in before["users"]]
    defaults = {"role": "user", "state": "active", "must_change": False, "last_login_at": None}
    assert defaults.items() <= new.items()
    assert [row for row in after["users"] if row != new] == before["users"]


async def test_migrate_after_a_change_in_between_keeps_it_beside_the_parked_values(
    rolled_back: Walked,
) -> None:
    await execute(rolled_back.dsn, f"UPDATE users SET name = 'Renamed' WHERE id = '{USER_3}'")
    await upgrade(rolled_back.dsn)
    found = await fetch(rolled_back.dsn, f"SELECT name || ' ' || role FROM users WHERE id = '{USER_3}'")
    assert found == "Renamed admin"


async def test_delete_user_after_rollback_deletes_its_parked_rows(rolled_back: Walked) -> None:
    await execute(rolled_back.dsn, f"DELETE FROM users WHERE id = '{USER_3}'")
    await upgrade(rolled_back.dsn)
    after = await picture(rolled_back.dsn)
    assert all(USER_3 not in (row.get("user_id"), row["id"]) for row in after["users"] + after["sessions"])
    assert len(after["sessions"]) == 22


async def test_rollback_keeps_values_written_after_they_were_copied(filled: str) -> None:
    await downgrade(filled, "0003_add_roles_and_states")
    await execute(
        filled,
        """
        CREATE FUNCTION write_late() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN
            IF (SELECT count(*) FROM pg_trigger WHERE tgname LIKE 'keep %') = 4 THEN
                UPDATE users SET role = 'admin' WHERE login_id = 'user2';
            END IF;
        END $$;
        CREATE EVENT TRIGGER write_late ON ddl_command_start WHEN TAG IN ('DROP TRIGGER')
            EXECUTE FUNCTION write_late();
        """,
    )
    await downgrade(filled)
    await execute(filled, "DROP EVENT TRIGGER write_late")
    await upgrade(filled)
    assert await fetch(filled, "SELECT role FROM users WHERE login_id = 'user2'") == "admin"
