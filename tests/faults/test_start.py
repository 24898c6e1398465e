"""Readiness follows the schema: one revision behind and one ahead are served, anything else is not."""

import pytest

from service.db.migrations.window import HEAD
from tests.support.api import serving
from tests.support.databases import execute, fetch_values
from tests.support.settings import settings_for_tests


@pytest.mark.parametrize(
    ("number", "status"),
    [(HEAD - 2, 503), (HEAD - 1, 200), (HEAD, 200), (HEAD + 1, 200), (HEAD + 2, 503)],
)
async def test_ready_with_schema_at_some_distance_answers_by_the_window(
    database: str, number: int, status: int
) -> None:
    async with serving(settings_for_tests(), database) as running, running.client() as client:
        await execute(
            running.service.engine, "UPDATE alembic_version SET version_num = :v", v=f"{number:04}_x"
        )
        assert (await client.get("/health/ready")).status_code == status
        assert (await client.get("/health/live")).status_code == 200


async def test_ready_without_any_schema_refuses(empty_database: str) -> None:
    async with serving(settings_for_tests(), empty_database) as running, running.client() as client:
        assert (await client.get("/health/ready")).status_code == 503


async def test_run_and_end_leaves_a_heartbeat_only_while_it_runs(database: str) -> None:
    async with serving(settings_for_tests(), database) as running:
        rows = await fetch_values(
            running.service.engine, "SELECT oldest_revision, newest_revision FROM instances"
        )
        assert rows == [(HEAD - 1, HEAD + 1)]
    async with serving(settings_for_tests(), database) as again:
        assert len(await fetch_values(again.service.engine, "SELECT 1 FROM instances")) == 1


async def test_request_without_any_schema_is_told_to_come_back(empty_database: str) -> None:
    async with serving(settings_for_tests(), empty_database) as running, running.client() as client:
        headers = {"Authorization": "Bearer rcs_" + "a" * 43}
        read = await client.get("/v1/users/me", headers=headers)
        written = await client.post("/v1/sessions", json={"login_id": "ada", "password": "mauve otter sings"})
        assert [read.status_code, written.status_code] == [503, 503]
        assert read.json()["code"] == written.json()["code"] == "database_unavailable"
