"""Reads from a standby that has replayed everything up to the WAL position of the caller's authentication.

A statement cannot check that itself: its snapshot may be older than the position that it reads. The replayed
position is therefore read before it, on the same connection, and cached with the connection.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from datetime import timedelta
from enum import StrEnum
from functools import partial
from typing import Any, Final
from weakref import WeakKeyDictionary

import structlog
from sqlalchemy import func, literal_column, select
from sqlalchemy.ext.asyncio import AsyncEngine

from service.db.core.connect_errors import explain
from service.db.core.driver import Driver, Method, ResultT
from service.db.core.error_classes import describe
from service.db.core.read_pool import ReadPool
from service.db.core.statements import Executor, Statement
from service.domain.wal_position import WalPosition
from service.observability.stats import PoolStats

PROBE_INTERVAL: Final = timedelta(seconds=1)

READ_TIMEOUT_S: Final = 0.5
"""After it, a read goes to the primary."""
_PAUSES_S: Final = (0.001, 0.002, 0.004, 0.008)
"""Pauses before further attempts on a standby that is behind; streaming takes about a millisecond."""

_SYSTEM = Statement(select(literal_column("system_identifier")).select_from(func.pg_control_system()))
_REPLAYED = Statement(
    select(
        func.pg_last_wal_replay_lsn().label("replayed"),
        literal_column("min_recovery_end_timeline").label("timeline"),
        literal_column("system_identifier"),
    ).select_from(func.pg_control_recovery(), func.pg_control_system())
)
_log = structlog.get_logger(__name__)


class Outcome(StrEnum):
    """The outcome of a read on the replica; the primary serves all but the first."""

    ANSWERED = "answered"
    BEHIND = "behind"
    FAILED = "failed"


class NotItsStandby(Exception):
    """The server is not a standby, or not of this primary."""


class Replica:
    """A standby with `size` connections. A read that fails there goes to the primary.

    A circuit breaker: it is used after a successful `probe`, and after any failure not until the next one.
    """

    def __init__(self, engine: AsyncEngine, primary: ReadPool, *, size: int, recycle: float = 1800.0) -> None:
        self.engine: Final = engine
        self.primary: Final = primary
        self.outcomes: Counter[str] = Counter(dict.fromkeys(Outcome, 0))
        self._read_pool = ReadPool(engine, size=size, deadline=READ_TIMEOUT_S, recycle=recycle)
        self._reached: WeakKeyDictionary[Driver, WalPosition] = WeakKeyDictionary()
        self._system: int | None = None
        self._last_error: dict[str, str] | None = {}
        self._is_caught_up = True

    @property
    def is_healthy(self) -> bool:
        """Whether it gets reads."""
        return self._last_error is None

    def stats(self) -> PoolStats:
        """Return pool statistics."""
        return replace(self._read_pool.stats(), name="replica")

    async def probe(self) -> None:
        """Close the circuit if it is open and the replica works."""
        if self.is_healthy:
            return
        try:
            async with asyncio.timeout(PROBE_INTERVAL.total_seconds()):
                self._system = self._system or await self._system_of_primary()
                await self._read_pool.run(self._read_position, _REPLAYED, {})
                await self._read_pool.start()
        except Exception as error:  # noqa: BLE001 - any failure: the primary serves
            self._open_circuit(error)
        else:
            self._last_error, self._is_caught_up = None, True
            _log.info("replica_up")

    async def close(self) -> None:
        """Close the connections."""
        self._last_error = {}
        await self._read_pool.close()
        await self.engine.dispose()

    async def fetch(
        self,
        method: Method[ResultT],
        statement: Statement,
        params: Mapping[str, Any],
        wal_position: WalPosition,
    ) -> ResultT | Outcome:
        """Run a read that shows everything up to a position, or return why the primary has to."""
        read = partial(self._fetch_at, wal_position, method)
        found = await self._attempt(partial(self._fetch_with_retry, read, statement, params))
        self.outcomes[found if isinstance(found, Outcome) else Outcome.ANSWERED] += 1
        return found

    async def _attempt(self, read: Callable[[], Awaitable[ResultT | Outcome]]) -> ResultT | Outcome:
        if not self.is_healthy:
            return Outcome.FAILED
        try:
            async with asyncio.timeout(READ_TIMEOUT_S):
                found = await read()
        except Exception as error:  # noqa: BLE001 - any failure: the primary serves
            self._open_circuit(error)
            return Outcome.FAILED
        self._is_caught_up = found is not Outcome.BEHIND
        return found

    async def _fetch_with_retry(
        self, method: Method[ResultT | Outcome], statement: Statement, params: Mapping[str, Any]
    ) -> ResultT | Outcome:
        """Retry while the standby is behind, unless it was before; hold no connection in the pauses."""
        for pause_s in _PAUSES_S if self._is_caught_up else ():
            found = await self._read_pool.run(method, statement, params)
            if found is not Outcome.BEHIND:
                return found
            await asyncio.sleep(pause_s)
        return await self._read_pool.run(method, statement, params)

    async def _fetch_at(
        self, wal_position: WalPosition, method: Method[ResultT], driver: Driver, sql: str, *arguments: Any
    ) -> ResultT | Outcome:
        reached = self._reached.get(driver)
        if reached is None or not reached.includes(wal_position):
            reached = self._reached[driver] = await self._read_position(driver)
        if not reached.includes(wal_position):
            return Outcome.BEHIND
        found = await method(driver, sql, *arguments)
        _require_standby(driver)
        return found

    async def _read_position(self, driver: Driver, sql: str = _REPLAYED.sql) -> WalPosition:
        """Return the replayed position of the server behind a connection.

        The timeline is that of its control file, which follows a switch late: a standby counts as behind
        until then.
        """
        row = await driver.fetchrow(sql)
        _require_standby(driver)
        if row is None or row.system_identifier != self._system:
            raise NotItsStandby
        return WalPosition(row.timeline, row.replayed)

    async def _system_of_primary(self) -> int:
        """Return the identifier that only a primary and its standbys share."""
        row = await self.primary.fetch_one(_SYSTEM)
        if row is None:
            raise NotItsStandby
        system: int = row.system_identifier
        return system

    def _open_circuit(self, error: Exception) -> None:
        description = describe(error)
        if description != self._last_error:
            cause = explain(error, "ROLLCALL_DATABASE__REPLICA_URL")
            _log.warning("replica_down", cause=cause, **description)
        self._last_error = description


class ReplicaRouter(Executor):
    """Runs reads that show everything up to a WAL position, on the replica if it has got there."""

    def __init__(self, replica: Replica, wal_position: WalPosition) -> None:
        self._replica = replica
        self._wal_position = wal_position

    async def fetch(
        self, method: Method[ResultT], statement: Statement, params: Mapping[str, Any]
    ) -> ResultT:
        """Run a read by any method.

        Raises:
            DatabaseUnavailable: the primary did not respond either.
        """
        found = await self._replica.fetch(method, statement, params, self._wal_position)
        if isinstance(found, Outcome):
            return await self._replica.primary.fetch(method, statement, params)
        return found


def _require_standby(driver: Driver) -> None:
    """Check that the server is still a standby: it reports its promotion with the next response.

    Raises:
        NotItsStandby: it is not; the read pool then closes the connection.
    """
    if getattr(driver.get_settings(), "in_hot_standby", None) != "on":
        raise NotItsStandby
