"""Heartbeats: each serving process records that it is live, and what its release has and needs.

A schema without the table has no live processes to read; an unserved process writes no heartbeat.
"""

import os
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Connection, delete, func, select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from service.db.migrations.compatibility import HOLD_SERVED, THIS_RELEASE, Release, read_state
from service.db.tables import InstanceRow
from service.db.write_lease import WriteLease

HEARTBEAT_INTERVAL: Final = timedelta(seconds=5)
"""How often a process records a heartbeat."""

LIVE_FOR: Final = timedelta(seconds=30)
"""How long a process counts as live after its last heartbeat; at least twice `LEASE_TTL`."""

_KEPT_FOR: Final = timedelta(hours=1)

_TABLE: Final = InstanceRow.__table__
_COLUMNS: Final = ("id", "host", "pid", "release", "oldest_revision", "newest_revision")
_LIVE: Final = (
    select(*(_TABLE.c[name] for name in _COLUMNS))
    .where(_TABLE.c.seen_at > func.now() - LIVE_FOR)
    .order_by(_TABLE.c.host, _TABLE.c.pid)
)
_CONNECTIONS: Final = text(
    "SELECT count(*) FROM pg_stat_activity"
    " WHERE datname = current_database() AND application_name = ANY(:names) AND pid <> pg_backend_pid()"
)


@dataclass(frozen=True, slots=True)
class Instance:
    """A serving process. `version` is what its release is called."""

    id: UUID
    host: str
    pid: int
    version: str
    release: Release

    @classmethod
    def here(cls, instance_id: UUID, version: str, release: Release = THIS_RELEASE) -> "Instance":
        """Return the instance of the current process."""
        return cls(instance_id, socket.gethostname(), os.getpid(), version, release)

    @property
    def values(self) -> dict[str, Any]:
        """The row. `newest_revision` is one ahead of the head, as releases before 0012 write and read it."""
        return {
            "id": self.id,
            "host": self.host,
            "pid": self.pid,
            "release": self.version,
            "oldest_revision": self.release.needs,
            "newest_revision": self.release.head + 1,
        }

    def __str__(self) -> str:
        return f"{self.host} process {self.pid} (release {self.version}, {self.release})"


async def record_heartbeat(engine: AsyncEngine, instance: Instance, lease: WriteLease) -> None:
    """Record a heartbeat and renew the lease if the database serves this release; otherwise revoke the lease.

    The transaction is its own: those of `service.db.core` depend on the lease that it renews.

    Locks: `HOLD_SERVED`: a step that ends the service waits, and then sees the heartbeat.
    """
    asked_at = lease.now()
    async with engine.begin() as connection:
        await connection.execute(text(HOLD_SERVED))
        is_served = instance.release.is_served_by(await read_state(connection))
        if is_served:
            await _write_heartbeat(connection, instance)
    if is_served:
        lease.renew(asked_at)
    else:
        lease.revoke()


async def unregister(engine: AsyncEngine, instance: Instance, lease: WriteLease) -> None:
    """Delete the heartbeat of a process that ends, unless it may not write."""
    if lease.is_valid():
        async with engine.begin() as connection:
            await connection.execute(delete(InstanceRow).where(InstanceRow.id == instance.id))


async def list_live(engine: AsyncEngine) -> list[Instance] | None:
    """Return the live processes, or None if the schema has no heartbeats."""
    async with engine.connect() as connection:
        return await connection.run_sync(read_live)


def read_live(connection: Connection) -> list[Instance] | None:
    """Return the live processes, or None if the schema has no heartbeats."""
    if connection.scalar(text("SELECT to_regclass('instances')")) is None:
        return None
    return [
        Instance(instance_id, host, pid, version, Release(head=newest - 1, needs=oldest))
        for instance_id, host, pid, version, oldest, newest in connection.execute(_LIVE)
    ]


def count_connections(connection: Connection, application_names: Sequence[str]) -> int:
    """Return the number of connections with these names: signs of life in a schema without heartbeats."""
    return int(connection.execute(_CONNECTIONS, {"names": list(application_names)}).scalar_one())


async def _write_heartbeat(connection: AsyncConnection, instance: Instance) -> None:
    row = insert(InstanceRow).values(instance.values)
    await connection.execute(row.on_conflict_do_update(index_elements=["id"], set_={"seen_at": func.now()}))
    await connection.execute(delete(InstanceRow).where(InstanceRow.seen_at < func.now() - _KEPT_FOR))
