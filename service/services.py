"""The database that a command works on."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import TypeVar

import click

from service.app import Service, create_service
from service.db.core.error_classes import translate
from service.db.migrations.compatibility import THIS_RELEASE, SchemaStatus, read_schema_state
from service.domain.errors import DatabaseUnavailable, OutcomeUnknown, ValidationFailed
from service.embedded.server import EmbeddedPostgres
from service.observability.logging import configure_logs
from settings import Settings, get_settings

ResultT = TypeVar("ResultT")


@contextmanager
def database_of(settings: Settings) -> Iterator[str]:
    """Give the DSN of the configured database; the embedded one runs for as long as the block does."""
    if settings.database.dsn is not None:
        yield settings.database.dsn
        return
    with EmbeddedPostgres(settings.database.embedded_dir) as postgres:
        yield postgres.dsn


def perform(work: Callable[[Service], Awaitable[ResultT]]) -> ResultT:
    """Run work on the configured database with the parts of the service, and log as configured."""
    settings = get_settings()
    configure_logs(settings, is_command=True)
    with database_of(settings) as dsn:
        return with_service(settings, dsn, work)


def with_service(settings: Settings, dsn: str, work: Callable[[Service], Awaitable[ResultT]]) -> ResultT:
    """Run work with the parts of the service, without serving anything."""

    async def run() -> ResultT:
        service = create_service(settings, dsn)
        try:
            async with _telling_failures(service):
                return await work(service)
        finally:
            if service.replica is not None:
                await service.replica.close()
            await service.read_pool.close()
            await asyncio.to_thread(service.hasher.close)
            await service.engine.dispose()
            await service.background_engine.dispose()

    return asyncio.run(run())


@asynccontextmanager
async def _telling_failures(service: Service) -> AsyncIterator[None]:
    try:
        yield
    except ValidationFailed as error:
        raise click.ClickException(" ".join(fault.detail for fault in error.faults)) from None
    except DatabaseUnavailable as error:
        raise click.ClickException(await _reason(service)) from error
    except OutcomeUnknown:
        task = asyncio.current_task()
        if task is not None and task.cancelling():  # Ctrl-C met a COMMIT
            raise asyncio.CancelledError from None
        raise


async def _reason(service: Service) -> str:
    """Tell a database that does not answer from one whose schema is another release's."""
    try:
        status = THIS_RELEASE.classify(await read_schema_state(service.background_engine))
    except Exception as error:
        if translate(error) is None:
            raise
        status = SchemaStatus.SERVED
    if status in (SchemaStatus.BEHIND, SchemaStatus.UNMIGRATED):
        return "The schema is missing or old: run `database migrate` first."
    if status is SchemaStatus.AHEAD:
        return "The schema no longer serves this release: use a newer one."
    return f"The database does not answer: {service.settings.database.masked_dsn}."
