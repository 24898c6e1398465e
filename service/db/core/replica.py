"""Reads from a standby, none older than the moment in which their caller was authenticated.

A statement sees what was there when it began, so it cannot prove by itself how far the standby is: what is
replayed while it runs would count and not be seen. How far the standby is, is therefore asked before, on the
same connection, and remembered with it. One that is known to be far enough is asked for the read alone.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from datetime import timedelta
from enum import StrEnum
from functools import partial
from typing import Any, Final, TypeAlias, TypeVar
from weakref import WeakKeyDictionary

import asyncpg
import structlog
from sqlalchemy import func, literal_column, select
from sqlalchemy.ext.asyncio import AsyncEngine

from service.db.core.error_classes import describe
from service.db.core.read_pool import ReadPool, ReadQuery, Record
from service.domain.wal_position import WalPosition
from service.observability.stats import PoolStats

PROBE_INTERVAL: Final = timedelta(seconds=1)

_WITHIN_S: Final = 0.5
"""What a request gives the replica before it asks the primary."""
_PAUSES_S: Final = (0.001, 0.002, 0.004, 0.008)
"""When to ask again a standby that is behind; streaming takes about a millisecond."""

ResultT = TypeVar("ResultT")
_Driver: TypeAlias = "asyncpg.Connection[Record]"
_Fetch: TypeAlias = Callable[..., Awaitable[ResultT]]

_SYSTEM = ReadQuery(select(literal_column("system_identifier")).select_from(func.pg_control_system()))
_REACHED = ReadQuery(
    select(
        func.pg_last_wal_replay_lsn().label("replayed"),
        literal_column("min_recovery_end_timeline").label("timeline"),
        literal_column("system_identifier"),
    ).select_from(func.pg_control_recovery(), func.pg_control_system())
)
_log = structlog.get_logger(__name__)


class Outcome(StrEnum):
    """What became of a read that the replica might have answered; all but the first were the primary's."""

    ANSWERED = "answered"
    BEHIND = "behind"
    FAILED = "failed"


class NotItsStandby(Exception):
    """The server is no standby, or that of another primary."""


class Replica:
    """A standby on `size` connections of its own. No read fails because of it: the primary answers then.

    It is used once `look` has found it well, and left alone after any failure until `look` does so again.
    """

    def __init__(self, engine: AsyncEngine, primary: ReadPool, *, size: int, recycle: float = 1800.0) -> None:
        self.engine: Final = engine
        self.primary: Final = primary
        self.outcomes: Counter[str] = Counter(dict.fromkeys(Outcome, 0))
        self._read_pool = ReadPool(engine, size=size, deadline=_WITHIN_S, recycle=recycle)
        self._reached: WeakKeyDictionary[_Driver, WalPosition] = WeakKeyDictionary()
        self._system: int | None = None
        self._last_error: dict[str, str] | None = {}
        self._is_caught_up = True

    @property
    def is_healthy(self) -> bool:
        """Whether reads are sent to it."""
        return self._last_error is None

    def stats(self) -> PoolStats:
        """Tell how its connections are used."""
        return replace(self._read_pool.stats(), name="replica")

    async def probe(self) -> None:
        """Use the replica from now on, if it was left alone and turns out to be well."""
        if self.is_healthy:
            return
        try:
            async with asyncio.timeout(PROBE_INTERVAL.total_seconds()):
                self._system = self._system or await self._system_of_primary()
                await self._read_pool.run(self._ask, _REACHED, {})
                await self._read_pool.start()
        except Exception as error:  # noqa: BLE001 - whatever it is, the primary answers
            self._open_circuit(error)
        else:
            self._last_error, self._is_caught_up = None, True
            _log.info("replica_up")

    async def close(self) -> None:
        """Give its connections up."""
        self._last_error = {}
        await self._read_pool.close()
        await self.engine.dispose()

    async def fetch(
        self, fetch: _Fetch[ResultT], query: ReadQuery, params: Mapping[str, Any], wal_position: WalPosition
    ) -> ResultT | Outcome:
        """Run a read as of the moment or later, or tell why the primary has to."""
        found = await self._attempt(partial(self._fetch_as_of, wal_position, fetch), query, params)
        self.outcomes[found if isinstance(found, Outcome) else Outcome.ANSWERED] += 1
        return found

    async def _attempt(
        self, fetch: _Fetch[ResultT | Outcome], query: ReadQuery, params: Mapping[str, Any]
    ) -> ResultT | Outcome:
        if not self.is_healthy:
            return Outcome.FAILED
        try:
            async with asyncio.timeout(_WITHIN_S):
                found = await self._fetch_with_retry(fetch, query, params)
        except Exception as error:  # noqa: BLE001 - whatever it is, the primary answers
            self._open_circuit(error)
            return Outcome.FAILED
        self._is_caught_up = found is not Outcome.BEHIND
        return found

    async def _fetch_with_retry(
        self, fetch: _Fetch[ResultT | Outcome], query: ReadQuery, params: Mapping[str, Any]
    ) -> ResultT | Outcome:
        """Ask a few times, without a connection in between; once while it is behind for longer."""
        for pause_s in _PAUSES_S if self._is_caught_up else ():
            found = await self._read_pool.run(fetch, query, params)
            if found is not Outcome.BEHIND:
                return found
            await asyncio.sleep(pause_s)
        return await self._read_pool.run(fetch, query, params)

    async def _fetch_as_of(
        self, wal_position: WalPosition, fetch: _Fetch[ResultT], driver: _Driver, sql: str, *arguments: Any
    ) -> ResultT | Outcome:
        reached = self._reached.get(driver)
        if reached is None or not reached.includes(wal_position):
            reached = self._reached[driver] = await self._ask(driver)
        if not reached.includes(wal_position):
            return Outcome.BEHIND
        found = await fetch(driver, sql, *arguments)
        _check_is_standby(driver)
        return found

    async def _ask(self, driver: _Driver, sql: str = _REACHED.sql) -> WalPosition:
        """Ask the server behind a connection how far it is.

        The timeline is that of its control file, which follows a switch late: a standby that does not know of
        it yet counts as behind.
        """
        row = await driver.fetchrow(sql)
        _check_is_standby(driver)
        if row is None or row.system_identifier != self._system:
            raise NotItsStandby
        return WalPosition(row.timeline, row.replayed)

    async def _system_of_primary(self) -> int:
        """Give what a database cluster has in common with its standbys alone."""
        row = await self.primary.fetch_one(_SYSTEM)
        if row is None:
            raise NotItsStandby
        system: int = row.system_identifier
        return system

    def _open_circuit(self, error: Exception) -> None:
        trouble = describe(error)
        if trouble != self._last_error:
            _log.warning("replica_down", **trouble)
        self._last_error = trouble


class ReplicaRouter:
    """Reads as of a moment or later: the replica's where it is far enough, else the primary's."""

    def __init__(self, replica: Replica, wal_position: WalPosition) -> None:
        self._replica = replica
        self._moment = wal_position

    async def fetch_one(self, query: ReadQuery, /, **params: object) -> Record | None:
        """The first row, or None.

        Raises:
            DatabaseUnavailable: the primary had to answer and did not.
        """
        found = await self._replica.fetch(asyncpg.Connection.fetchrow, query, params, self._moment)
        if isinstance(found, Outcome):
            return await self._replica.primary.fetch_one(query, **params)
        return found

    async def fetch_all(self, query: ReadQuery, /, **params: object) -> list[Record]:
        """All rows.

        Raises:
            DatabaseUnavailable: the primary had to answer and did not.
        """
        found = await self._replica.fetch(asyncpg.Connection.fetch, query, params, self._moment)
        if isinstance(found, Outcome):
            return await self._replica.primary.fetch_all(query, **params)
        return found


def _check_is_standby(driver: _Driver) -> None:
    """Refuse a server that is none any more: it reports its promotion with the next answer.

    Raises:
        NotItsStandby: it is not; the read lane ends the connection then.
    """
    if getattr(driver.get_settings(), "in_hot_standby", None) != "on":
        raise NotItsStandby
