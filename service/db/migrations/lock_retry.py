"""How long a migration waits for others, and how it steps back so that they need not wait for it."""

import random
from dataclasses import dataclass, field
from datetime import timedelta
from time import monotonic

from alembic.util import CommandError
from sqlalchemy.exc import DBAPIError

_LOCK_NOT_AVAILABLE, _DEADLOCK, _SERIALIZATION = "55P03", "40P01", "40001"

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.1, 2.0


class StillLocked(CommandError):
    """Others held what a revision needs until the deadline. Nothing of the revision was applied."""


@dataclass(frozen=True, slots=True)
class LockRetryPolicy:
    """`lock_timeout` bounds one wait, in which later readers queue; `deadline` all of them together."""

    lock_timeout: timedelta = timedelta(milliseconds=300)
    deadline: timedelta = timedelta(minutes=5)

    @property
    def lock_timeout_ms(self) -> int:
        """The lock timeout as PostgreSQL takes it."""
        return round(self.lock_timeout / timedelta(milliseconds=1))

    @property
    def deadline_ms(self) -> int:
        """The deadline as PostgreSQL takes it."""
        return round(self.deadline / timedelta(milliseconds=1))

    def start(self) -> "Attempts":
        """Return attempts that begin now."""
        return Attempts(ends_at=monotonic() + self.deadline.total_seconds())


@dataclass(slots=True)
class Attempts:
    """Attempts at one thing, ever further apart, until the deadline."""

    ends_at: float
    made: int = field(default=0)

    def next_pause_s(self, error: DBAPIError, in_the_way: str = "others") -> float:
        """Return how long to stay away after a failed attempt.

        Raises:
            StillLocked: the deadline has passed.
            sqlalchemy.exc.DBAPIError: the error itself, when it is no matter of waiting.
        """
        if sqlstate(error) not in {_LOCK_NOT_AVAILABLE, _DEADLOCK, _SERIALIZATION}:
            raise error
        if monotonic() > self.ends_at:
            raise StillLocked(
                f"{in_the_way} held what this change needs until the deadline: end that, or try again later"
            ) from error
        self.made += 1
        pause = min(_FIRST_PAUSE_S * 2.0 ** (self.made - 1), _LONGEST_PAUSE_S)
        return pause * random.uniform(0.5, 1.5)  # noqa: S311 -- spreads the tries, keeps no secret


def sqlstate(error: DBAPIError) -> str | None:
    """Return PostgreSQL's code of an error; None when it did not come from PostgreSQL."""
    state: str | None = getattr(error.orig, "sqlstate", None)
    return state
