"""The database that a command works on."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import click

from service.app import Service, create_service
from service.cli.logs import configure_logs
from service.db.embedded import EmbeddedPostgres
from service.db.faults import sqlstate_of
from service.domain.errors import DatabaseUnavailable, ValidationFailed
from settings import Settings, get_settings

ResultT = TypeVar("ResultT")
_NO_SUCH_SCHEMA = frozenset({"42P01", "42703"})  # no such table, no such column


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
            with _telling_failures(settings):
                return await work(service)
        finally:
            await service.lane.close()
            await asyncio.to_thread(service.hasher.close)
            await service.engine.dispose()
            await service.chore_engine.dispose()

    return asyncio.run(run())


@contextmanager
def _telling_failures(settings: Settings) -> Iterator[None]:
    try:
        yield
    except ValidationFailed as error:
        raise click.ClickException(" ".join(fault.detail for fault in error.faults)) from None
    except DatabaseUnavailable as error:
        where = settings.database.masked_dsn
        raise click.ClickException(f"The database does not answer: {where}.") from error
    except Exception as error:
        if sqlstate_of(error) not in _NO_SUCH_SCHEMA:
            raise
        raise click.ClickException("The schema is missing or old: run `database migrate` first.") from error
