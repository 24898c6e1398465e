"""An application behind a proxy, so that faults can be injected between it and its database."""

import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
from sqlalchemy.pool import QueuePool

from harness.database import DatabaseProbe
from harness.processes import postmaster_in
from harness.proxy import Proxy, dsn_through, socket_directory_of
from service.embedded.server import EmbeddedPostgres
from settings import Settings
from settings.database import DatabaseSettings
from settings.http import HttpSettings
from tests.support.api import Api, RunningService, serving
from tests.support.databases import empty_all_tables
from tests.support.settings import settings_for_tests

READ_POOL_SIZE = 2
POOL_SIZE = 4
MAX_REQUEST_S = 6.0
"""Three times the request timeout of `short_timeouts`, for slow machines."""


def milliseconds(number: int) -> timedelta:
    return timedelta(milliseconds=number)


def short_timeouts(**database: Any) -> Settings:
    """Return settings whose timeouts are a fraction of the default ones, in the same order."""
    return settings_for_tests(
        database=DatabaseSettings(
            **{
                "pool_size": POOL_SIZE,
                "read_pool_size": READ_POOL_SIZE,
                "pool_timeout": milliseconds(300),
                "connect_timeout": milliseconds(500),
                "lock_timeout": milliseconds(300),
                "statement_timeout": milliseconds(600),
                "command_timeout": milliseconds(800),
                **database,
            }
        ),
        http=HttpSettings(request_timeout=milliseconds(1800), body_timeout=milliseconds(2000)),
    )


def is_503(response: httpx.Response, code: str) -> bool:
    """Return whether a response is a 503 of that code, in time and with Retry-After."""
    return (
        (response.status_code, response.json()["code"]) == (503, code)
        and int(response.headers["Retry-After"]) > 0
        and response.elapsed.total_seconds() < MAX_REQUEST_S
    )


async def is_complete(database: DatabaseProbe, login_id: str) -> bool | None:
    """Return whether an account and its event are both there; None when only one of them is."""
    users = await database.fetch(f"SELECT id FROM users WHERE login_id = '{login_id}'")
    events = await database.fetch(
        "SELECT subject_id FROM events WHERE action = 'user.created'"
        f" AND subject_id NOT IN (SELECT id FROM users WHERE login_id <> '{login_id}')"
    )
    if not users:
        return False if not events else None
    return True if events == users else None


@dataclass(frozen=True)
class FaultEnvironment:
    """A running service, the proxy between it and its database, and a probe past both."""

    api: Api
    proxy: Proxy
    database: DatabaseProbe
    running: RunningService
    postgres: EmbeddedPostgres
    postgres_directory: Path

    @property
    def postmaster(self) -> int:
        """The process id of the PostgreSQL server."""
        return postmaster_in(self.postgres_directory)

    @property
    def leaks_connections(self) -> bool:
        """Whether more connections are checked out than the read pool keeps."""
        service = self.running.service
        pool = service.engine.pool
        assert isinstance(pool, QueuePool)
        return pool.checkedout() > service.settings.database.read_pool_size

    async def admin(self) -> Api:
        """Return a client with an administrator's token."""
        return self.api.by(await self.api.admin())


@asynccontextmanager
async def fault_environment(
    postgres: EmbeddedPostgres, postgres_directory: Path, dsn: str, settings: Settings
) -> AsyncIterator[FaultEnvironment]:
    """Run a service on empty tables, behind a proxy."""
    directory = Path(tempfile.mkdtemp(prefix="rollcall-faults-"))
    async with (
        Proxy(directory, socket_directory_of(dsn)) as proxy,
        serving(settings, dsn_through(dsn, directory)) as running,
        running.client() as client,
    ):
        await empty_all_tables(running.service.engine)
        api = Api(client, running.service)
        yield FaultEnvironment(api, proxy, DatabaseProbe(dsn), running, postgres, postgres_directory)
    shutil.rmtree(directory)
