"""PgBouncer in transaction mode between the service and PostgreSQL."""

import asyncio
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import pytest_asyncio

from harness.proxy import dsn_through, socket_directory_of
from service.embedded.server import EmbeddedPostgres
from settings.database import DatabaseSettings
from tests.support.api import PASSWORD, Api, serving
from tests.support.databases import empty_all_tables
from tests.support.settings import settings_for_tests

pytestmark = pytest.mark.slow
SERVER_CONNECTIONS = 3
CONFIGURATION = """
[databases]
* = host={server} port=5432 user=rollcall
[pgbouncer]
unix_socket_dir = {directory}
listen_addr =
listen_port = 5432
auth_type = any
pool_mode = transaction
default_pool_size = {connections}
logfile = {directory}/log
pidfile = {directory}/pid
"""


@contextmanager
def pgbouncer(dsn: str) -> Iterator[str]:
    """Run PgBouncer before the server of a DSN; yield the DSN through it."""
    program = shutil.which("pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin")
    assert program, "this proof needs PgBouncer: apt install pgbouncer, or brew install pgbouncer"
    directory = Path(tempfile.mkdtemp(prefix="rollcall-pgbouncer-"))
    configuration = directory / "pgbouncer.ini"
    configuration.write_text(
        CONFIGURATION.format(
            server=socket_directory_of(dsn), directory=directory, connections=SERVER_CONNECTIONS
        )
    )
    running = subprocess.Popen([*_as_ordinary_user(), program, str(configuration)], stderr=subprocess.DEVNULL)
    try:
        yield dsn_through(dsn, directory)
    finally:
        running.terminate()
        running.wait(60)
        shutil.rmtree(directory)


def _as_ordinary_user() -> list[str]:
    """Return a prefix for a command that, like PostgreSQL, refuses to run as root."""
    if os.geteuid() != 0:
        return []
    ordinary_user = next(user.pw_uid for user in pwd.getpwall() if user.pw_uid != 0)
    return ["unshare", "--user", f"--map-user={ordinary_user}", f"--map-group={ordinary_user}", "--"]


@pytest_asyncio.fixture
async def pooled(postgres: EmbeddedPostgres, database: str) -> AsyncIterator[Api]:
    with pgbouncer(database) as dsn:
        settings = settings_for_tests(database=DatabaseSettings(pgbouncer=True))
        async with serving(settings, dsn) as running, running.client() as client:
            await wait_until_ready(api := Api(client, running.service))
            await empty_all_tables(running.service.engine)
            yield api


async def wait_until_ready(api: Api) -> None:
    async with asyncio.timeout(60):
        while (await api.get("/health/ready")).status_code != 200:
            pass


async def test_user_lifecycle_through_pgbouncer_succeeds(pooled: Api) -> None:
    root = pooled.by(await pooled.admin())
    key = {"Idempotency-Key": "one"}
    body = {"login_id": "ada", "name": "Ada", "password": PASSWORD}
    created = await root.post("/v1/users", body, headers=key)
    assert created.status_code == 201
    assert (await root.post("/v1/users", body, headers=key)).headers["Idempotent-Replayed"] == "true"
    opened = (await pooled.log_in("ada")).json()
    ada = pooled.by(opened["token"])
    assert (await ada.patch("/v1/users/me", {"name": "Ada L."})).json()["name"] == "Ada L."
    assert (await ada.get("/v1/sessions/current")).status_code == 200
    assert (await root.get("/v1/events")).status_code == 200
    assert (await ada.delete("/v1/sessions/current")).status_code == 204
    assert (await ada.get("/v1/users/me")).status_code == 401


async def test_many_concurrent_requests_through_pgbouncer_succeed_on_few_connections(
    pooled: Api,
) -> None:
    root = pooled.by(await pooled.admin())
    for _ in range(5):
        responses = await asyncio.gather(
            *(
                root.post("/v1/users", {"login_id": f"u{os.urandom(6).hex()}", "name": "U"})
                for _ in range(20)
            ),
            *(root.get("/v1/users") for _ in range(20)),
            *(root.get("/v1/users/me") for _ in range(20)),
        )
        assert {response.status_code for response in responses} == {200, 201}
    assert len((await root.get("/v1/users?limit=100")).json()["items"]) == 100
