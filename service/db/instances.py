"""Heartbeats: each serving process says that it lives, and which schema revisions it serves.

All of it tolerates that the table is missing: the service works without it, one revision behind.
"""

import os
import socket
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Executable, Row, delete, func, select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import ProgrammingError
from sqlalchemy.ext.asyncio import AsyncEngine

from service.db.migrations.compatibility import SUPPORTED, UNDEFINED_TABLE, RevisionRange
from service.db.tables import InstanceRow

HEARTBEAT_INTERVAL = timedelta(seconds=5)
"""How often a process should call `beat`."""

LIVE_FOR = timedelta(seconds=30)
"""How long after its last heartbeat a process counts as live."""

_FORGOTTEN_AFTER = timedelta(hours=1)

_TABLE = InstanceRow.__table__
_IDENTITY = ("id", "host", "pid", "release", "oldest_revision", "newest_revision")


@dataclass(frozen=True, slots=True)
class Instance:
    """A serving process."""

    id: UUID
    host: str
    pid: int
    release: str
    oldest_revision: int
    newest_revision: int

    @classmethod
    def here(cls, instance_id: UUID, release: str) -> "Instance":
        """Describe the current process."""
        return cls(
            instance_id, socket.gethostname(), os.getpid(), release, SUPPORTED.oldest, SUPPORTED.newest
        )

    @property
    def window(self) -> RevisionRange:
        """The revisions it serves."""
        return RevisionRange(self.oldest_revision, self.newest_revision)

    def __str__(self) -> str:
        return f"{self.host} process {self.pid} (release {self.release}, serves {self.window})"


async def record_heartbeat(engine: AsyncEngine, instance: Instance) -> None:
    """Say that an instance lives, and forget those long gone."""
    written = insert(InstanceRow).values(asdict(instance))
    await _execute(
        engine,
        written.on_conflict_do_update(index_elements=["id"], set_={"seen_at": func.now()}),
        delete(InstanceRow).where(InstanceRow.seen_at < func.now() - _FORGOTTEN_AFTER),
    )


async def unregister(engine: AsyncEngine, instance_id: UUID) -> None:
    """Say that an instance has ended."""
    await _execute(engine, delete(InstanceRow).where(InstanceRow.id == instance_id))


async def list_live(engine: AsyncEngine) -> list[Instance] | None:
    """Return the processes that gave a heartbeat lately; None when there is no table to look in."""
    columns = [_TABLE.c[name] for name in _IDENTITY]
    statement = (
        select(*columns).where(_TABLE.c.seen_at > func.now() - LIVE_FOR).order_by(_TABLE.c.host, _TABLE.c.pid)
    )
    rows = await _fetch(engine, statement)
    return None if rows is None else [Instance(*tuple(row)) for row in rows]


async def count_connections(engine: AsyncEngine, application_names: Sequence[str]) -> int:
    """Return how many connections of these names this database has: signs of life without a heartbeat."""
    statement = text(
        "SELECT count(*) FROM pg_stat_activity"
        " WHERE datname = current_database() AND application_name = ANY(:names) AND pid <> pg_backend_pid()"
    )
    rows = await _fetch(engine, statement, {"names": list(application_names)})
    return int(rows[0][0]) if rows else 0


async def _execute(engine: AsyncEngine, *statements: Executable) -> None:
    try:
        async with engine.begin() as connection:
            for statement in statements:
                await connection.execute(statement)
    except ProgrammingError as error:
        _tolerate_missing_table(error)


async def _fetch(
    engine: AsyncEngine, statement: Executable, values: Mapping[str, Any] | None = None
) -> list[Row[Any]] | None:
    try:
        async with engine.connect() as connection:
            return list(await connection.execute(statement, values))
    except ProgrammingError as error:
        _tolerate_missing_table(error)
        return None


def _tolerate_missing_table(error: ProgrammingError) -> None:
    if getattr(error.orig, "sqlstate", None) != UNDEFINED_TABLE:
        raise error
