"""Runs Rollcall's migrations for the `alembic` command and for `python -m service database …`."""

import asyncio

from alembic import context

from service.db.embedded import EmbeddedPostgres
from service.db.migrations import drafting, operations, running
from service.db.tables import Base
from settings import get_settings

operations.register()

OPTIONS = {
    "target_metadata": Base.metadata,
    "transaction_per_migration": True,
    "compare_server_default": True,
    "autogenerate_plugins": ["alembic.autogenerate.*", "alembic.ext.checkconstraint_byname"],
    "process_revision_directives": drafting.number_revision,
    "include_object": drafting.is_compared,
}


def run_offline() -> None:
    context.configure(dialect_name="postgresql", literal_binds=True, **OPTIONS)
    with context.begin_transaction():
        context.run_migrations()


def run_online(dsn: str) -> None:
    asyncio.run(running.run(dsn, context, OPTIONS))


def run_configured() -> None:
    """Run against the given database: by the caller, by the settings, or else the embedded one."""
    settings = get_settings()
    dsn = context.config.attributes.get("dsn") or settings.migrations_dsn
    if dsn is not None:
        run_online(dsn)
        return
    with EmbeddedPostgres(settings.database.embedded_dir) as postgres:
        run_online(postgres.dsn)


if context.is_offline_mode():
    run_offline()
else:
    run_configured()
