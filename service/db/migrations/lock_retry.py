"""Lock timeouts of a migration, and its retries when a lock is not available."""

import random
from dataclasses import dataclass
from datetime import timedelta
from time import monotonic

from alembic.util import CommandError
from sqlalchemy.exc import DBAPIError

_LOCK_NOT_AVAILABLE, _DEADLOCK, _SERIALIZATION = "55P03", "40P01", "40001"

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.1, 2.0


class StillLocked(CommandError):
    """A lock that a revision needs was held until the deadline. Nothing of the revision was applied."""


@dataclass(frozen=True, slots=True)
class LockRetryPolicy:
    """`lock_timeout` limits one wait, behind which later queries queue; `deadline` limits the retries."""

    lock_timeout: timedelta = timedelta(milliseconds=300)
    deadline: timedelta = timedelta(minutes=5)

    @property
    def lock_timeout_ms(self) -> int:
        """The lock timeout in milliseconds, as PostgreSQL takes it."""
        return round(self.lock_timeout / timedelta(milliseconds=1))

    @property
    def deadline_ms(self) -> int:
        """The deadline in milliseconds, as PostgreSQL takes it."""
        return round(self.deadline / timedelta(milliseconds=1))

    def start(self) -> "Attempts":
        """Return a count of attempts at a change."""
        return Attempts(self.deadline.total_seconds())


@dataclass(slots=True)
class Attempts:
    """Attempts at one change with exponential backoff until the deadline.

    It starts with the first failure: the work itself may take longer.
    """

    deadline_s: float
    ends_at: float | None = None
    count: int = 0

    def restart(self) -> None:
        """Begin with another change, after one was completed."""
        self.ends_at, self.count = None, 0

    def next_pause_s(self, error: DBAPIError, blockers: str = "others") -> float:
        """Return the seconds to wait after a failed attempt.

        Raises:
            StillLocked: the deadline has passed.
            sqlalchemy.exc.DBAPIError: the error itself, if waiting does not help.
        """
        if not is_lock_conflict(error):
            raise error
        if self.ends_at is None:
            self.ends_at = monotonic() + self.deadline_s
        if monotonic() > self.ends_at:
            raise StillLocked(
                f"{blockers} held what this change needs until the deadline: end that, or try again later"
            ) from error
        self.count += 1
        pause = min(_FIRST_PAUSE_S * 2.0 ** (self.count - 1), _LONGEST_PAUSE_S)
        return pause * random.uniform(0.5, 1.5)  # noqa: S311 -- jitter, not a secret


def is_lock_conflict(error: DBAPIError) -> bool:
    """Return whether waiting may help: others hold what a change needs."""
    return sqlstate(error) in {_LOCK_NOT_AVAILABLE, _DEADLOCK, _SERIALIZATION}


def sqlstate(error: DBAPIError) -> str | None:
    """Return PostgreSQL's code of an error, or None if PostgreSQL did not raise it."""
    state: str | None = getattr(error.orig, "sqlstate", None)
    return state
