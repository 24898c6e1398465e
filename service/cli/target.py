"""The database whose schema a command shows or changes."""

import signal
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import click
from alembic.util import CommandError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from service.db.migrations import running
from service.db.migrations.lock_retry import LockRetryPolicy
from service.db.migrations.scratch import CannotCopy
from service.embedded.binaries import EmbeddedUnavailable
from service.services import configured_database, explaining_database_errors
from settings import Settings, get_settings

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class MigrationTarget:
    """The database to migrate, and the settings."""

    dsn: str
    settings: Settings

    @property
    def lock_retry(self) -> LockRetryPolicy:
        """The configured lock timeout and deadline."""
        return LockRetryPolicy(self.settings.migrations.lock_timeout, self.settings.migrations.deadline)

    async def with_engine(self, work: Callable[[AsyncEngine], Awaitable[T]]) -> T:
        """Run work with an engine for schema changes."""
        engine = running.migration_engine(self.dsn)
        try:
            return await work(engine)
        finally:
            await engine.dispose()

    async def with_connection(self, work: Callable[[AsyncConnection], Awaitable[T]]) -> T:
        """Run work with one connection for schema changes."""
        async with running.connection_to(self.dsn) as connection:
            return await work(connection)


@contextmanager
def configured_target() -> Iterator[MigrationTarget]:
    """Yield the configured database; errors become one sentence."""
    settings = get_settings()
    database = configured_database(settings, for_migrations=True)
    with _terminable(), _explaining_errors(settings), database as dsn:
        yield MigrationTarget(dsn, settings)


@contextmanager
def _terminable() -> Iterator[None]:
    """Make SIGTERM interrupt like Ctrl-C: the current revision is rolled back.

    A shell starts background jobs with SIGINT ignored, which must not make them deaf to SIGTERM.
    """
    interrupt = signal.signal(signal.SIGINT, signal.default_int_handler)
    terminate = signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, terminate)
        signal.signal(signal.SIGINT, interrupt)


@contextmanager
def _explaining_errors(settings: Settings) -> Iterator[None]:
    with explaining_database_errors(settings.migrations_dsn, settings.migrations_variable):
        try:
            yield
        except (CommandError, CannotCopy, EmbeddedUnavailable) as error:
            raise click.ClickException(_sentence(str(error))) from error


def _sentence(message: str) -> str:
    return message[:1].upper() + message[1:].rstrip(".") + "."
