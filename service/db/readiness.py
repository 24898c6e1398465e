"""Whether this process should receive requests."""

import asyncio
from datetime import timedelta

import structlog
from sqlalchemy.ext.asyncio import AsyncEngine

from service.db.core import error_classes
from service.db.core.connect_errors import explain
from service.db.core.server import unmet_need
from service.db.migrations.compatibility import THIS_RELEASE, SchemaStatus, read_schema_state

READINESS_TIMEOUT = timedelta(seconds=1)
_log = structlog.get_logger("rollcall")


class Readiness:
    """Checks that the process is not draining and that its database answers with a supported schema."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self.is_draining = False
        self.schema_revision: int | None = None
        """The number of the database's revision at the last `refresh_schema_revision`, None if unknown."""

    async def is_ready(self) -> bool:
        """Return whether the process can serve; log `not_ready` with the reason if it cannot."""
        if self.is_draining:
            return False
        try:
            async with asyncio.timeout(READINESS_TIMEOUT.total_seconds()):
                schema = await read_schema_state(self._engine)
                async with self._engine.connect() as connection:
                    unmet = await unmet_need(connection)
        except Exception as error:  # noqa: BLE001 - any failure means not ready
            _log.warning(
                "not_ready", reason="database", cause=explain(error), **error_classes.describe(error)
            )
            return False
        if unmet is not None:
            _log.warning("not_ready", reason="server", cause=unmet)
            return False
        status = THIS_RELEASE.classify(schema)
        if status is SchemaStatus.SERVED:
            return True
        _log.warning("not_ready", reason=f"schema {status}", schema=str(schema), release=str(THIS_RELEASE))
        return False

    async def refresh_schema_revision(self) -> None:
        """Read `schema_revision` from the database; an unavailable database makes it None."""
        try:
            self.schema_revision = (await read_schema_state(self._engine)).number
        except Exception as error:
            if error_classes.translate(error) is None and not isinstance(error, ValueError):
                raise
            self.schema_revision = None
