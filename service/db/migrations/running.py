"""Running revisions against a database."""

import asyncio
from typing import Any

import asyncpg
from alembic import command
from sqlalchemy import Connection
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

from service.db.migrations.history import alembic_config


async def upgrade(dsn: str, target: str = "head") -> None:
    """Bring the database at a libpq DSN up to a revision."""
    await asyncio.to_thread(command.upgrade, alembic_config(dsn=dsn), target)


async def downgrade(dsn: str, target: str = "-1") -> None:
    """Bring the database at a libpq DSN down to a revision, or down one step. What is taken away is parked."""
    await asyncio.to_thread(command.downgrade, alembic_config(dsn=dsn), target)


def migration_engine(dsn: str) -> AsyncEngine:
    """Return an engine without the statement timeouts that the service itself lives under."""

    async def connect() -> asyncpg.Connection:
        return await asyncpg.connect(
            dsn, timeout=10, statement_cache_size=0, server_settings={"application_name": "rollcall-migrate"}
        )

    return create_async_engine("postgresql+asyncpg://", async_creator=connect, poolclass=NullPool)


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
