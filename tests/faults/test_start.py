"""Start before the database, with a wrong password, or on a schema of another release."""

import asyncio
import tempfile
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from harness.proxy import Proxy, dsn_through, socket_directory_of
from harness.service_process import free_port, service_process
from service.db.migrations.compatibility import HEAD, NEEDS
from tests.support.api import Api, error_of, serving
from tests.support.databases import execute, fetch_values
from tests.support.settings import settings_for_tests


@pytest.mark.parametrize(
    ("number", "serves_from", "status"),
    [
        (NEEDS - 1, None, 503),
        (NEEDS, None, 200),
        (HEAD, 11, 200),
        (HEAD + 1, None, 200),
        (HEAD + 2, None, 503),
        (HEAD + 9, HEAD, 200),
        (HEAD + 9, HEAD + 1, 503),
    ],
)
async def test_ready_depends_on_needs_and_serves_from(
    database: str, number: int, serves_from: int | None, status: int
) -> None:
    async with serving(settings_for_tests(), database) as running, running.client() as client:
        await execute(
            running.service.engine,
            "UPDATE alembic_version SET version_num = :version, serves_from = :serves_from",
            version=f"{number:04}_x",
            serves_from=None if serves_from is None else f"{serves_from:04}_x",
        )
        assert (await client.get("/health/ready")).status_code == status
        assert (await client.get("/health/live")).status_code == 200


async def test_ready_without_a_schema_gets_503(empty_database: str) -> None:
    async with serving(settings_for_tests(), empty_database) as running, running.client() as client:
        assert (await client.get("/health/ready")).status_code == 503


async def test_heartbeat_is_removed_when_the_service_ends(database: str) -> None:
    async with serving(settings_for_tests(), database) as running:
        rows = await fetch_values(
            running.service.engine, "SELECT oldest_revision, newest_revision FROM instances"
        )
        assert rows == [(NEEDS, HEAD + 1)]
    async with serving(settings_for_tests(), database) as again:
        assert len(await fetch_values(again.service.engine, "SELECT 1 FROM instances")) == 1


async def test_request_without_any_schema_gets_schema_behind(empty_database: str) -> None:
    async with serving(settings_for_tests(), empty_database) as running, running.client() as client:
        headers = {"Authorization": "Bearer rcs_" + "a" * 43}
        read = await client.get("/v1/users/me", headers=headers)
        written = await client.post("/v1/sessions", json={"login_id": "ada", "password": "mauve otter sings"})
        assert [read.status_code, written.status_code] == [503, 503]
        assert read.json()["code"] == written.json()["code"] == "schema_behind"


async def test_start_before_the_database_serves_once_it_is_up(database: str) -> None:
    with tempfile.TemporaryDirectory(prefix="rollcall-start-") as directory:
        dsn = dsn_through(database, Path(directory))
        async with serving(settings_for_tests(), dsn) as running, running.client() as client:
            api = Api(client, running.service)
            assert (await api.get("/health/live")).status_code == 200
            assert (await api.get("/health/ready")).status_code == 503
            assert error_of(await api.log_in("ada")) == (503, "database_unavailable")
            async with Proxy(Path(directory), socket_directory_of(database)), asyncio.timeout(60):
                while (await api.get("/health/ready")).status_code != 200:
                    pass
                assert (await api.log_in("ada")).status_code == 401


async def test_start_without_root_certificate_is_live_and_says_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    dsn = "postgresql://ada:canary-password@127.0.0.1:1/x?sslmode=verify-full"
    with capture_logs() as lines:
        async with serving(settings_for_tests(), dsn) as running, running.client() as client:
            assert (await client.get("/health/live")).status_code == 200
            assert (await client.get("/health/ready")).status_code == 503
            refused = await Api(client, running.service).log_in("ada")
    assert error_of(refused) == (503, "database_unavailable")
    assert {"sslrootcert" in line["cause"] for line in lines if line["event"] == "not_ready"} == {True}
    assert "canary" not in str(lines)


async def test_start_with_rejected_credentials_is_live_and_exposes_no_password(database: str) -> None:
    dsn = database.replace("user=rollcall", "user=canary-nobody&password=canary-password")
    with capture_logs() as lines:
        async with serving(settings_for_tests(), dsn) as running, running.client() as client:
            assert (await client.get("/health/live")).status_code == 200
            assert (await client.get("/health/ready")).status_code == 503
            refused = await Api(client, running.service).log_in("ada")
    assert error_of(refused) == (503, "database_unavailable")
    assert {line["sqlstate"] for line in lines if line["event"] == "not_ready"} == {"28000"}
    assert "canary" not in str(lines)


def test_start_with_an_unreachable_database_is_live_and_not_ready(tmp_path: Path) -> None:
    dsn = f"postgresql://ada:canary-password@127.0.0.1:{free_port()}/rollcall"
    with service_process(tmp_path, ready=False, DATABASE_URL=dsn) as service:
        assert service.get("/health/live").status_code == 200
        ready = service.get("/health/ready")
        assert (ready.status_code, ready.json()["code"]) == (503, "database_unavailable")
        assert "Retry-After" in ready.headers
        refused = service.request("GET", "/v1/users/me", "rcs_" + "a" * 43)
        assert refused.status_code == 503
        assert service.stop() == 0
        assert "not_ready" in service.output()
        assert "canary-password" not in service.output()
