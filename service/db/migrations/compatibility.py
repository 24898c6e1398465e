"""Which schemas a release works on, and which releases a schema still serves."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from sqlalchemy import text
from sqlalchemy.exc import ProgrammingError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from service.db.core.error_classes import sqlstate_of

HEAD: Final = 24
"""The number of this release's newest revision; a test compares it with `alembic/versions`."""

HEAD_ID: Final = "0024_index_present_values"
"""The id of that revision."""

NEEDS: Final = 22
"""The number of the oldest revision that this release works on.

What needs a newer revision is optional: without it, an operation gets 503 `schema_behind`.
"""

_UNDEFINED_TABLE: Final = "42P01"

HAS_SERVES_FROM: Final = 12
"""The revision that adds `serves_from`. Releases with an older head serve at most one revision ahead."""

READ_STATE: Final = "SELECT version_num, to_jsonb(v) ->> 'serves_from' FROM alembic_version AS v"
"""Read revision and `serves_from`; through JSON, because older schemas have no such column."""

HOLD_SERVED: Final = "SELECT pg_advisory_xact_lock_shared(8242558622567392627)"
"""Taken in a transaction that relies on being served: until it ends, no migration step ends the service."""

END_SERVED: Final = "SELECT pg_advisory_xact_lock(8242558622567392627)"
"""Taken in the transaction of a migration step: waits for those that rely on being served."""


class SchemaStatus(StrEnum):
    """What a schema is to a release."""

    SERVED = "served"
    BEHIND = "behind"
    AHEAD = "ahead"
    UNMIGRATED = "unmigrated"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class SchemaState:
    """The revision of a database, and the oldest release that it serves; None if it states none."""

    revision: str | None
    serves_from: str | None = None

    @property
    def number(self) -> int:
        """The number of the revision, 0 without one.

        Raises:
            ValueError: the revision has no number.
        """
        return number_of(self.revision)

    @property
    def oldest_head(self) -> int:
        """The head of the oldest release that is served. Schemas that state none serve one revision back."""
        return number_of(self.serves_from) if self.serves_from else max(self.number - 1, 0)

    def __str__(self) -> str:
        if self.revision is None:
            return "base"
        return f"{self.revision}, which serves releases from {self.serves_from or 'one revision back'}"


@dataclass(frozen=True, slots=True)
class Release:
    """The newest revision that a release brings, and the oldest that it works on."""

    head: int
    needs: int

    def classify(self, schema: SchemaState) -> SchemaStatus:
        """Return whether a schema serves this release, or why not."""
        if schema.revision is None:
            return SchemaStatus.UNMIGRATED
        try:
            number, oldest_head = schema.number, schema.oldest_head
        except ValueError:
            return SchemaStatus.UNKNOWN
        if number < self.needs:
            return SchemaStatus.BEHIND
        if oldest_head > self.head or (self.head < HAS_SERVES_FROM and number > self.head + 1):
            return SchemaStatus.AHEAD
        return SchemaStatus.SERVED

    def is_served_by(self, schema: SchemaState) -> bool:
        """Return whether a schema serves this release."""
        return self.classify(schema) is SchemaStatus.SERVED

    def __str__(self) -> str:
        return f"head {self.head:04}, needs {self.needs:04}"


THIS_RELEASE: Final = Release(HEAD, NEEDS)


def number_of(revision: str | None) -> int:
    """Return the number that a revision id starts with; 0 for none.

    Raises:
        ValueError: the id has no number.
    """
    return int(revision.partition("_")[0]) if revision else 0


def schema_state(rows: Sequence[Any]) -> SchemaState:
    """Return the state that the rows of `READ_STATE` describe; several revisions are joined by plus signs."""
    if not rows:
        return SchemaState(None)
    return SchemaState("+".join(sorted(revision for revision, _ in rows)), rows[0][1])


async def read_schema_state(engine: AsyncEngine) -> SchemaState:
    """Return the state of a database.

    Raises:
        sqlalchemy.exc.SQLAlchemyError, OSError, TimeoutError: the database did not respond.
    """
    async with engine.connect() as connection:
        return await read_state(connection)


async def read_state(connection: AsyncConnection) -> SchemaState:
    """Return the state of the database of a connection; its transaction cannot go on if there is none."""
    try:
        return schema_state((await connection.execute(text(READ_STATE))).all())
    except ProgrammingError as error:
        if sqlstate_of(error) != _UNDEFINED_TABLE:
            raise
        return SchemaState(None)
