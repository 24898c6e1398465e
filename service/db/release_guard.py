"""Protect live processes from migrations: write `serves_from` with each revision, reject unserved steps."""

from collections.abc import Iterable, Sequence
from typing import Any, Final

from alembic.util import CommandError
from sqlalchemy import Column, Connection, MetaData, Table, Text, text, update

from service.db import instances
from service.db.instances import Instance
from service.db.migrations.compatibility import END_SERVED, HAS_SERVES_FROM, THIS_RELEASE, SchemaState
from service.db.migrations.history import state_at

_VERSION: Final = Table("alembic_version", MetaData(), Column("serves_from", Text))
_ADD_COLUMN: Final = "ALTER TABLE alembic_version ADD COLUMN IF NOT EXISTS serves_from text"


class LiveProcessUnserved(CommandError):
    """A step would leave a live process with a schema that does not serve it. The step was not applied."""


class ReleaseGuard:
    """Checks the steps of one run of migrations. `force` applies steps that leave live processes unserved."""

    def __init__(self, service_name: str, *, force: bool = False) -> None:
        self._application_names = (service_name, f"{service_name}-background")
        self._force = force

    def check(self, connection: Connection, steps: Sequence[Any]) -> None:
        """Check before any step runs that every live process is served at the end.

        Raises:
            LiveProcessUnserved: one is not.
        """
        if self._force or not steps:
            return
        end = _destination(steps[-1].info)
        live = instances.read_live(connection)
        require_served(live or (), end)
        if live is None and not THIS_RELEASE.is_served_by(end):
            self._require_no_connections(connection, end)

    def on_version_apply(self, ctx: Any, step: Any, heads: object, run_args: object) -> None:  # noqa: ARG002 - Alembic's signature
        """Write `serves_from` in the transaction of a revision, and check the live processes once more.

        Locks: `END_SERVED`: heartbeats before it are seen here, those after the commit see the new revision.

        Raises:
            LiveProcessUnserved: a live process is not served by the new revision.
        """
        schema = _destination(step)
        if schema.number >= HAS_SERVES_FROM:
            if step.is_stamp:
                ctx.execute(_ADD_COLUMN)
            ctx.execute(update(_VERSION).values(serves_from=schema.serves_from))
        if ctx.as_sql or self._force:
            return
        ctx.connection.execute(text(END_SERVED))
        require_served(instances.read_live(ctx.connection) or (), schema)

    def _require_no_connections(self, connection: Connection, end: SchemaState) -> None:
        count = instances.count_connections(connection, self._application_names)
        if count:
            raise LiveProcessUnserved(
                f"{count} connections of a running service, which records no heartbeats at this revision, "
                f"may not be served at {end}: stop it first, or use --force"
            )


def unserved(live: Iterable[Instance], schema: SchemaState) -> list[Instance]:
    """Return the processes that a schema does not serve."""
    return [instance for instance in live if not instance.release.is_served_by(schema)]


def require_served(live: Iterable[Instance], schema: SchemaState) -> None:
    """Check that a schema serves all processes.

    Raises:
        LiveProcessUnserved: it does not serve all.
    """
    if found := unserved(live, schema):
        raise LiveProcessUnserved(
            f"{len(found)} live processes would not be served at {schema}: {'; '.join(map(str, found))}. "
            "Replace them first, or use --force"
        )


def _destination(info: Any) -> SchemaState:
    return state_at(info.revision_map, next(iter(info.destination_revision_ids), None))
