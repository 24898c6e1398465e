"""Which processes may write: those that the database has confirmed lately that it serves."""

import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any, Final

import structlog

from service.db.migrations.compatibility import HOLD_SERVED, READ_STATE, THIS_RELEASE, Release, schema_state
from service.domain.errors import DatabaseUnavailable

LEASE_TTL: Final = timedelta(seconds=15)
"""Half of the time after which a process without heartbeats no longer counts as live, and longer than a
transaction may be idle: a process that was frozen past a contract step has no lease when it continues."""

_CLOCK: Final = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
_log = structlog.get_logger("rollcall")


def seconds_since_boot() -> float:
    """Return a clock that goes on while the machine sleeps, where there is one."""
    return time.clock_gettime(_CLOCK)


class WriteLease:
    """Permits writes for `LEASE_TTL` after each confirmation that the database serves this release.

    Heartbeats renew it. Without a valid lease, each transaction confirms it by itself.
    """

    def __init__(
        self, release: Release = THIS_RELEASE, *, clock: Callable[[], float] = seconds_since_boot
    ) -> None:
        self.release: Final = release
        self.now: Final = clock
        self._expires_at = clock()

    def is_valid(self) -> bool:
        """Return whether a transaction may write without a confirmation of its own."""
        return self.now() < self._expires_at

    def renew(self, asked_at: float) -> None:
        """Extend the lease; `asked_at` is the time before the database was asked."""
        self._expires_at = asked_at + LEASE_TTL.total_seconds()

    def revoke(self) -> None:
        """End the lease."""
        self._expires_at = self.now()

    async def confirm(self, driver: Any) -> None:
        """Check in an open transaction that the database serves this release.

        Locks: `HOLD_SERVED`.

        Raises:
            DatabaseUnavailable: the database does not serve this release; the lease is revoked.
        """
        await driver.execute(HOLD_SERVED)
        schema = schema_state(await driver.fetch(READ_STATE))
        if self.release.is_served_by(schema):
            return
        self.revoke()
        _log.warning("write_rejected", schema=str(schema), release=str(self.release))
        raise DatabaseUnavailable
