"""Fixtures of all tests: real PostgreSQL, real application, production middleware."""

import gc
import os
from collections.abc import AsyncIterator, Generator, Iterator
from pathlib import Path

import asyncpg
import pytest
import pytest_asyncio

from service.embedded.server import EmbeddedPostgres
from service.services import Services
from settings import Settings, get_settings, sources
from tests.support.api import Api, RunningService, serving
from tests.support.databases import Databases, GivenServer, PostgresServer, empty_all_tables
from tests.support.order import longest_first
from tests.support.settings import patient_settings

ROOT = Path(__file__).resolve().parents[1]


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Have the collector look at nothing that stays: a million objects of modules and tests."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


@pytest.hookimpl(trylast=True)  # after the order was made random
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Start the longest tests first when there are several workers."""
    if worker := getattr(config, "workerinput", None):
        items[:] = longest_first(items, worker["workercount"])


@pytest.fixture(scope="session", autouse=True)
def _bare_environment() -> Iterator[None]:
    """Remove a developer's own settings."""
    with pytest.MonkeyPatch.context() as patch:
        for name in os.environ:
            if name.upper().startswith("ROLLCALL_") or name.upper() == "DATABASE_URL":
                patch.delenv(name)
        patch.setattr(sources, "DOTENV", Path(os.devnull))
        patch.setattr(sources, "DEFAULT_SECRETS_DIR", Path(os.devnull))
        get_settings.cache_clear()
        yield
    get_settings.cache_clear()


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """The test server: shared by all workers and kept between runs; DATABASE_URL never names it."""
    if given := os.environ.get("TEST_DATABASE_URL"):
        yield GivenServer(given)
        return
    with EmbeddedPostgres(ROOT / "var/test-postgres", durable=False) as running:
        yield running


@pytest_asyncio.fixture(scope="session")
async def databases(postgres: PostgresServer) -> AsyncIterator[Databases]:
    """Makes databases; the migrated template is made once per schema."""
    connection = await asyncpg.connect(postgres.dsn_for("postgres"))
    made = Databases(postgres, connection)
    yield made
    await made.drop_all()
    await connection.close()


@pytest_asyncio.fixture
async def empty_database(databases: Databases) -> AsyncIterator[str]:
    """The DSN of a new database without tables."""
    async with databases.empty() as dsn:
        yield dsn


@pytest_asyncio.fixture
async def database(databases: Databases) -> AsyncIterator[str]:
    """The DSN of a new migrated database."""
    async with databases.migrated() as dsn:
        yield dsn


@pytest_asyncio.fixture(scope="session")
async def shared_database(databases: Databases) -> AsyncIterator[str]:
    """The DSN of a migrated database that the tests of a worker share; `api` empties it before each."""
    async with databases.migrated() as dsn:
        yield dsn


@pytest.fixture(scope="session")
def test_settings() -> Settings:
    """Settings with a cheap hash, which production rejects, and with time for a slow machine."""
    return patient_settings()


@pytest_asyncio.fixture(scope="session")
async def running(test_settings: Settings, shared_database: str) -> AsyncIterator[RunningService]:
    """The running application with its background tasks."""
    async with serving(test_settings, shared_database) as running:
        yield running


@pytest_asyncio.fixture
async def service(running: RunningService) -> Services:
    """The parts of the running application, on empty tables."""
    await empty_all_tables(running.service.engine)
    return running.service


@pytest.fixture
def _many_processes(service: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let as many requests hash at once as many processes would: each has a limiter of its own."""
    monkeypatch.setattr(service.hasher.limiter, "total_permits", 1000)


@pytest_asyncio.fixture
async def api(running: RunningService, service: Services) -> AsyncIterator[Api]:
    """A client of the running application, on empty tables, without a token."""
    async with running.client() as client:
        yield Api(client, service)
