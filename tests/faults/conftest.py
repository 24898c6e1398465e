import asyncio
import shutil
import socket
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio
from sqlalchemy import text
from sqlalchemy.pool import QueuePool

from harness.proxy import Proxy, dsn_through, socket_directory_of
from service.db.core.engine import create_engine
from service.db.migrations.running import upgrade
from service.embedded.server import EmbeddedPostgres
from service.server.uvicorn_server import Server, make_server
from settings import Settings
from settings.database import DatabaseSettings
from settings.http import HttpSettings
from tests.support.api import Api, Running, serving
from tests.support.databases import empty_all_tables
from tests.support.settings import settings_for_tests

ROOT = Path(__file__).resolve().parents[2]
READ_POOL_SIZE = 2
POOL_SIZE = 4


def milliseconds(number: int) -> timedelta:
    return timedelta(milliseconds=number)


def impatient(**database: Any) -> Settings:
    """Settings whose limits are a fraction of the real ones, in the same order."""
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


LONGEST_S = 6.0
"""What a request may take under `impatient` settings: three times their limit, for slow machines."""


def is_clear(answer: httpx.Response, code: str) -> bool:
    """Whether an answer is a 503 of that code, in time and with the advice to come back."""
    return (
        (answer.status_code, answer.json()["code"]) == (503, code)
        and int(answer.headers["Retry-After"]) > 0
        and answer.elapsed.total_seconds() < LONGEST_S
    )


@dataclass(frozen=True)
class Seen:
    """What stands in the database, past the application."""

    dsn: str

    async def fetch(self, statement: str) -> list[tuple[Any, ...]]:
        engine = create_engine(self.dsn, pool_size=1)
        try:
            async with engine.connect() as connection:
                return [tuple(row) for row in await connection.execute(text(statement))]
        finally:
            await engine.dispose()

    async def run(self, *statements: str) -> None:
        engine = create_engine(self.dsn, pool_size=1)
        try:
            async with engine.connect() as connection:
                await connection.execution_options(isolation_level="AUTOCOMMIT")
                for statement in statements:
                    await connection.execute(text(statement))
        finally:
            await engine.dispose()

    async def is_whole(self, login_id: str) -> bool | None:
        """Whether an account and its event are both there; None when only one of them is."""
        users = await self.fetch(f"SELECT id FROM users WHERE login_id = '{login_id}'")
        told = await self.fetch(
            "SELECT subject_id FROM events WHERE action = 'user.created'"
            f" AND subject_id NOT IN (SELECT id FROM users WHERE login_id <> '{login_id}')"
        )
        if not users:
            return False if not told else None
        return True if told == users else None


@dataclass(frozen=True)
class Stage:
    """An application with short patience, the proxy between it and its database, and a look behind both."""

    api: Api
    proxy: Proxy
    seen: Seen
    running: Running
    postgres: EmbeddedPostgres
    server_directory: Path

    @property
    def misses_connections(self) -> bool:
        """Whether connections did not come back to the pool, beyond those that the read lane keeps."""
        service = self.running.service
        pool = service.engine.pool
        assert isinstance(pool, QueuePool)
        return pool.checkedout() > service.settings.database.read_pool_size

    async def turn_read_only(self, state: str) -> None:
        """Have the server refuse writes to everybody, or not."""
        await self.seen.run(
            f"ALTER SYSTEM SET default_transaction_read_only = {state}", "SELECT pg_reload_conf()"
        )
        async with asyncio.timeout(5):
            while await self.seen.fetch("SHOW default_transaction_read_only") != [(state,)]:
                pass

    async def admin(self) -> Api:
        """A client with an administrator's token."""
        return self.api.by(await self.api.admin())


@asynccontextmanager
async def staged(
    postgres: EmbeddedPostgres, server_directory: Path, dsn: str, settings: Settings
) -> AsyncIterator[Stage]:
    directory = Path(tempfile.mkdtemp(prefix="rollcall-faults-"))
    async with (
        Proxy(directory, socket_directory_of(dsn)) as proxy,
        serving(settings, dsn_through(dsn, directory)) as running,
        running.client() as client,
    ):
        await empty_all_tables(running.service.engine)
        api = Api(client, running.service)
        yield Stage(api, proxy, Seen(dsn), running, postgres, server_directory)
    shutil.rmtree(directory)


@pytest_asyncio.fixture
async def stage(postgres: EmbeddedPostgres, shared_database: str) -> AsyncIterator[Stage]:
    """An application on empty tables of the shared server, which stays as it is."""
    async with staged(postgres, Path(), shared_database, impatient()) as stage:
        yield stage


@pytest_asyncio.fixture
async def patient_stage(postgres: EmbeddedPostgres, shared_database: str) -> AsyncIterator[Stage]:
    """As `stage`, with the real limits: for what no request may notice, on a slow machine neither."""
    async with staged(postgres, Path(), shared_database, settings_for_tests()) as stage:
        yield stage


@pytest.fixture(scope="session")
def own_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("postgres")


@pytest_asyncio.fixture(scope="session")
async def own_postgres(own_directory: Path) -> AsyncIterator[EmbeddedPostgres]:
    """A server of its own, to be broken; durable, as a forgetful one loses what it acknowledged."""
    with EmbeddedPostgres(own_directory) as postgres:
        await upgrade(postgres.dsn)
        yield postgres


@pytest_asyncio.fixture
async def own_stage(own_postgres: EmbeddedPostgres, own_directory: Path) -> AsyncIterator[Stage]:
    """An application on empty tables of a server that the test may break."""
    async with staged(own_postgres, own_directory, own_postgres.dsn, impatient()) as stage:
        yield stage


@dataclass(frozen=True)
class Place:
    """A server as `serve` runs it, in this process."""

    server: Server
    address: tuple[str, int]
    ended: asyncio.Task[None]

    async def at_rest(self) -> None:
        """Wait until no request is being answered and no connection is open."""
        async with asyncio.timeout(30):
            while self.server.server_state.tasks or self.server.server_state.connections:  # noqa: ASYNC110 - it tells nobody
                await asyncio.sleep(0.005)


@asynccontextmanager
async def placed(running: Running) -> AsyncIterator[Place]:
    """Serve an application that already lives, on a real socket, until the block or the server ends."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    server = make_server(running.app, lifespan="off")
    ended = asyncio.create_task(server.serve(sockets=[listener]))
    while not server.started:  # noqa: ASYNC110 - it tells nobody
        await asyncio.sleep(0)
    try:
        yield Place(server, listener.getsockname(), ended)
    finally:
        server.should_exit = True
        await ended
