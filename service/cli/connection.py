"""The database that a command works on."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from service.app import Service, create_service
from service.db.embedded import EmbeddedPostgres
from settings import Settings

ResultT = TypeVar("ResultT")


@contextmanager
def database_of(settings: Settings) -> Iterator[str]:
    """Give the DSN of the configured database; the embedded one runs for as long as the block does."""
    if settings.database.dsn is not None:
        yield settings.database.dsn
        return
    with EmbeddedPostgres(settings.database.embedded_dir) as postgres:
        yield postgres.dsn


def with_service(settings: Settings, dsn: str, work: Callable[[Service], Awaitable[ResultT]]) -> ResultT:
    """Run work with the parts of the service, without serving anything."""

    async def run() -> ResultT:
        service = create_service(settings, dsn)
        try:
            return await work(service)
        finally:
            await asyncio.to_thread(service.hasher.close)
            await service.engine.dispose()
            await service.chore_engine.dispose()

    return asyncio.run(run())
