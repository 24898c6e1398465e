"""Bringing the schema up before the service serves: apart, because it needs Alembic, and seldom is."""

import structlog

from service.db.migrations.lock_retry import LockRetryPolicy
from service.db.migrations.running import migrate
from settings import Settings

_log = structlog.get_logger("rollcall")


def migrate_to_head(settings: Settings, dsn: str) -> None:
    """Bring the schema to this release's head, and log each step.

    Raises: as `service.db.migrations.running.migrate`.
    """
    lock_retry = LockRetryPolicy(settings.migrations.lock_timeout, settings.migrations.deadline)
    migrate(
        dsn, "head", upward=True, lock_retry=lock_retry, report=lambda line: _log.info("migrating", step=line)
    )
