from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest
import pytest_asyncio

from service.embedded.server import EmbeddedPostgres
from settings.database import DatabaseSettings
from settings.http import HttpSettings
from tests.support.clusters import copy_migrated_cluster
from tests.support.faults import FaultEnvironment, fault_environment, short_timeouts
from tests.support.settings import settings_for_tests

_MINUTE = timedelta(minutes=1)


@pytest_asyncio.fixture
async def short_env(postgres: EmbeddedPostgres, shared_database: str) -> AsyncIterator[FaultEnvironment]:
    """A service with short timeouts, on the shared server."""
    async with fault_environment(postgres, Path(), shared_database, short_timeouts()) as env:
        yield env


@pytest_asyncio.fixture
async def env(postgres: EmbeddedPostgres, shared_database: str) -> AsyncIterator[FaultEnvironment]:
    """A service with the default timeouts, on the shared server: for faults that no request may notice."""
    async with fault_environment(postgres, Path(), shared_database, settings_for_tests()) as env:
        yield env


@pytest_asyncio.fixture
async def long_env(postgres: EmbeddedPostgres, shared_database: str) -> AsyncIterator[FaultEnvironment]:
    """A service with timeouts of minutes, on the shared server: for requests that wait for the test."""
    database = DatabaseSettings(lock_timeout=_MINUTE, statement_timeout=_MINUTE, command_timeout=2 * _MINUTE)
    settings = settings_for_tests(database=database, http=HttpSettings(request_timeout=3 * _MINUTE))
    async with fault_environment(postgres, Path(), shared_database, settings) as env:
        yield env


@pytest.fixture(scope="session")
def own_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("postgres")


@pytest_asyncio.fixture(scope="session")
async def own_postgres(own_directory: Path) -> AsyncIterator[EmbeddedPostgres]:
    """A server that tests may break; durable, because a crash of another kind loses acknowledged rows."""
    copy_migrated_cluster(own_directory)
    with EmbeddedPostgres(own_directory) as postgres:
        yield postgres


@pytest_asyncio.fixture
async def own_env(own_postgres: EmbeddedPostgres, own_directory: Path) -> AsyncIterator[FaultEnvironment]:
    """A service with short timeouts, on a server that the test may break."""
    async with fault_environment(own_postgres, own_directory, own_postgres.dsn, short_timeouts()) as env:
        yield env
