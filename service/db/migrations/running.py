"""Running revisions against a database."""

import asyncio
from typing import Any

from alembic import command
from sqlalchemy import Connection
from sqlalchemy.ext.asyncio import AsyncEngine

from service.db.engine import create_engine
from service.db.migrations.history import alembic_config

_DAY = 86_400.0


async def upgrade(dsn: str, target: str = "head") -> None:
    """Bring the database at a libpq DSN up to a revision."""
    await asyncio.to_thread(command.upgrade, alembic_config(dsn=dsn), target)


async def downgrade(dsn: str, target: str = "-1") -> None:
    """Bring the database at a libpq DSN down to a revision, or one step. What goes is parked."""
    await asyncio.to_thread(command.downgrade, alembic_config(dsn=dsn), target)


def migration_engine(dsn: str) -> AsyncEngine:
    """Return an engine for changing the schema: without the timeouts of a request, and nothing prepared."""
    return create_engine(
        dsn, pool_size=3, command_timeout=_DAY, application_name="rollcall-migrate", pgbouncer=True
    )


async def run(dsn: str, context: Any, options: dict[str, Any]) -> None:
    """Run what the `alembic` command asked for. For alembic/env.py only."""
    engine = migration_engine(dsn)
    try:
        async with engine.connect() as connection:
            await connection.run_sync(_run, context, options)
    finally:
        await engine.dispose()


def _run(connection: Connection, context: Any, options: dict[str, Any]) -> None:
    context.configure(connection=connection, **options)
    with context.begin_transaction():
        context.run_migrations()
