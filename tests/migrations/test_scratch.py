"""Copies of a database, whether others use it or not."""

import pytest

from service.db.migrations.scratch import dsn_of, scratch_database
from tests.migrations.rows import connected, fetch, fill, picture


@pytest.mark.parametrize("is_in_use", [False, True], ids=["idle", "in use"])
async def test_copy_of_a_database_has_every_row_and_goes_away(database: str, is_in_use: bool) -> None:
    await fill(database)
    expected = await picture(database)
    if is_in_use:
        async with connected(database), scratch_database(database, is_copy=True) as copy:
            assert await picture(copy) == expected
    else:
        async with scratch_database(database, is_copy=True) as copy:
            assert await picture(copy) == expected
    gone = copy.partition("?")[0].rpartition("/")[2]
    assert await fetch(database, f"SELECT count(*) FROM pg_database WHERE datname = '{gone}'") == 0


async def test_scratch_database_is_empty_and_goes_away_after_a_failure(database: str) -> None:
    async def fail() -> str:
        async with scratch_database(database) as dsn:
            assert await picture(dsn) == {}
            raise LookupError(dsn)

    with pytest.raises(LookupError) as failed:
        await fail()
    dsn = failed.value.args[0]
    gone = dsn.partition("?")[0].rpartition("/")[2]
    assert await fetch(database, f"SELECT count(*) FROM pg_database WHERE datname = '{gone}'") == 0


@pytest.mark.parametrize(
    ("dsn", "expected"),
    [
        ("postgresql://u:p@h:1/db", "postgresql://u:p@h:1/other"),
        ("postgresql:///db?host=/run/x&user=u", "postgresql:///other?host=/run/x&user=u"),
        ("postgresql://a:1,b:2/db?sslmode=require", "postgresql://a:1,b:2/other?sslmode=require"),
        ("postgresql://h", "postgresql://h/other"),
    ],
)
def test_dsn_of_another_database_differs_in_its_name_alone(dsn: str, expected: str) -> None:
    assert dsn_of(dsn, "other") == expected
