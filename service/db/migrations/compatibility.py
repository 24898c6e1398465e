"""The schema revisions that a release serves: one behind its own head to one ahead, told by number."""

from dataclasses import dataclass
from enum import StrEnum

from sqlalchemy import text
from sqlalchemy.exc import ProgrammingError
from sqlalchemy.ext.asyncio import AsyncEngine

HEAD = 11
"""The number of this release's newest revision, which a test compares with `alembic/versions`."""

HEAD_ID = "0011_tune_sessions"
"""Its id, likewise."""

UNDEFINED_TABLE = "42P01"


class SchemaStatus(StrEnum):
    """Where a database's schema stands, seen from a window."""

    INSIDE = "inside"
    BEHIND = "behind"
    AHEAD = "ahead"
    UNMIGRATED = "unmigrated"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class RevisionRange:
    """The oldest and the newest revision number that a process serves."""

    oldest: int
    newest: int

    def __contains__(self, number: int) -> bool:
        return self.oldest <= number <= self.newest

    def __str__(self) -> str:
        return f"{self.oldest:04} to {self.newest:04}"

    def classify(self, revision: str | None) -> SchemaStatus:
        """Tell where a revision stands; None is a database without any."""
        if revision is None:
            return SchemaStatus.UNMIGRATED
        try:
            number = number_of(revision)
        except ValueError:
            return SchemaStatus.UNKNOWN
        if number in self:
            return SchemaStatus.INSIDE
        return SchemaStatus.BEHIND if number < self.oldest else SchemaStatus.AHEAD


SUPPORTED = RevisionRange(HEAD - 1, HEAD + 1)
"""What this release serves."""


def number_of(revision: str | None) -> int:
    """Return the number that a revision id starts with; 0 for none.

    Raises:
        ValueError: the id has no number.
    """
    return int(revision.partition("_")[0]) if revision else 0


async def read_revision(engine: AsyncEngine) -> str | None:
    """Return the revision a database is at, None before the first; several at once are joined by plus signs.

    Raises:
        sqlalchemy.exc.SQLAlchemyError, OSError, TimeoutError: the database did not answer.
    """
    try:
        async with engine.connect() as connection:
            found = await connection.scalars(text("SELECT version_num FROM alembic_version ORDER BY 1"))
            return "+".join(found) or None
    except ProgrammingError as error:
        if getattr(error.orig, "sqlstate", None) != UNDEFINED_TABLE:
            raise
        return None
