"""The fast way for reads: single statements on connections that are kept, handed out first come first served.

SQLAlchemy's pool, like asyncpg's own, lets a newcomer overtake who waits, and pays a reset and two greenlet
switches for every read. The lane keeps a few of the pool's connections checked out, compiles its statements
once at import and runs them straight on the driver.
"""

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, TypeAlias, TypeVar

import asyncpg
import structlog
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine
from sqlalchemy.pool import QueuePool

from service.db.core.engine import Record
from service.db.core.error_classes import describe, is_disconnect, is_retryable, translate
from service.db.core.statements import ReadQuery
from service.domain.errors import DatabaseUnavailable
from service.observability.stats import PoolStats

__all__ = ["ReadPool", "ReadQuery", "Record"]

ResultT = TypeVar("ResultT")
_Driver: TypeAlias = "asyncpg.Connection[Record]"
_Fetch: TypeAlias = Callable[..., Awaitable[ResultT]]
_Waiter: TypeAlias = "tuple[float, asyncio.Future[_PooledConnection]]"

_FETCH_ONE: Final[_Fetch[Record | None]] = asyncpg.Connection.fetchrow
_FETCH_ALL: Final[_Fetch[list[Record]]] = asyncpg.Connection.fetch
_OPEN_ATTEMPTS: Final = 3

_log = structlog.get_logger(__name__)


class ReadPool:
    """Runs reads on `size` kept connections, which count towards the engine's `pool_size`.

    Each read is one statement outside any transaction, in a session that refuses writes. With `size` 0, which
    is a must behind a transaction pooler, a read checks a connection out and runs in a read-only transaction;
    rows come out the same. Connections are opened when first needed, after `start()` as much as without it.

    `wait_timeout` bounds the wait for a connection and `deadline` what follows when that one turns out to be
    dead; the engine's `command_timeout` bounds the statement. `recycle` is the age at which a connection is
    replaced. All are seconds.

    A cancelled read costs its connection; the server ends the statement at its `statement_timeout` or before.
    """

    def __init__(
        self,
        engine: AsyncEngine,
        *,
        size: int,
        wait_timeout: float = 2.0,
        deadline: float = 8.0,
        recycle: float = 1800.0,
    ) -> None:
        if isinstance(engine.pool, QueuePool) and size >= engine.pool.size():
            raise ValueError("the read lane has to leave connections of the pool to the writers")
        self._engine = engine
        self._size = size
        self._wait_timeout = wait_timeout
        self._deadline = deadline
        self._recycle = recycle
        self._waiting: deque[_Waiter] = deque()
        self._expiry: asyncio.TimerHandle | None = None
        self._free = self._new_slots()
        self._is_closed = False

    async def start(self) -> None:
        """Open the connections now. A database that cannot be reached is logged and left to the reads."""
        if self._is_closed:
            self._free, self._is_closed = self._new_slots(), False
        await asyncio.gather(*(self._warm() for _ in range(self._size)))

    async def close(self) -> None:
        """Serve the reads that were asked for, refuse newer ones and give the connections up."""
        if self._is_closed:
            return
        self._is_closed = True
        slots: list[_PooledConnection] = []
        try:
            while len(slots) < self._size:
                slots.append(self._take() or await self._queue(self._deadline))
        except TimeoutError:
            _log.warning("read_pool_close_timeout", in_use=self._size - len(slots))
        finally:
            if self._expiry is not None:
                self._expiry.cancel()
                self._expiry = None
            await asyncio.gather(*(slot.close() for slot in slots))

    def stats(self) -> PoolStats:
        """Tell how the kept connections are used; they are those of the engine's pool."""
        idle = sum(slot.is_usable(self._recycle) for slot in self._free)
        waiting = sum(not waiter.done() for _, waiter in self._waiting)
        return PoolStats("read", self._size - len(self._free), idle, self._size, waiting)

    async def fetch_one(self, query: ReadQuery, /, **params: object) -> Record | None:
        """The first row, or None.

        Raises:
            DatabaseUnavailable: no answer in time, or none at all; a read changes nothing.
        """
        return await self._fetch(_FETCH_ONE, query, params)

    async def fetch_all(self, query: ReadQuery, /, **params: object) -> list[Record]:
        """All rows.

        Raises:
            DatabaseUnavailable: no answer in time, or none at all; a read changes nothing.
        """
        return await self._fetch(_FETCH_ALL, query, params)

    async def run(self, fetch: _Fetch[ResultT], query: ReadQuery, params: Mapping[str, object]) -> ResultT:
        """Run a read in a way of the caller's own on a kept connection; failures stay the driver's."""
        return await self._fetch_in_lane(fetch, query.sql, query.arguments(params))

    async def _fetch(self, fetch: _Fetch[ResultT], query: ReadQuery, params: Mapping[str, object]) -> ResultT:
        arguments = query.arguments(params)
        try:
            if self._size:
                return await self._fetch_in_lane(fetch, query.sql, arguments)
            return await self._fetch_in_transaction(fetch, query.sql, arguments)
        except Exception as exc:
            refusal = translate(exc)
            if refusal is None:
                raise
            _log.info("read_failed", code=refusal.code, **describe(exc))
            raise refusal from None

    async def _fetch_in_lane(self, fetch: _Fetch[ResultT], sql: str, arguments: list[Any]) -> ResultT:
        deadline = asyncio.get_running_loop().time() + self._deadline
        slot = self._take() or await self._wait()
        try:
            if slot.is_usable(self._recycle):
                try:
                    return await _run(slot.driver, fetch, sql, arguments)
                except Exception as exc:
                    if not is_retryable(exc):
                        raise
            async with asyncio.timeout_at(deadline):
                await slot.open(self._recycle)
                return await _run(slot.driver, fetch, sql, arguments)
        finally:
            self._release(slot)

    async def _fetch_in_transaction(self, fetch: _Fetch[ResultT], sql: str, arguments: list[Any]) -> ResultT:
        async def fetch_read_only(driver: _Driver, sql: str, *arguments: Any) -> ResultT:
            async with driver.transaction(readonly=True):
                return await fetch(driver, sql, *arguments)

        async with asyncio.timeout(self._deadline):
            try:
                return await self._fetch_once(fetch_read_only, sql, arguments)
            except Exception as exc:
                if not is_retryable(exc):
                    raise
            return await self._fetch_once(fetch_read_only, sql, arguments)

    async def _fetch_once(self, fetch: _Fetch[ResultT], sql: str, arguments: list[Any]) -> ResultT:
        if self._is_closed:
            raise DatabaseUnavailable
        async with self._engine.connect() as connection:
            driver = await _driver_of(connection)
            try:
                return await _run(driver, fetch, sql, arguments)
            finally:
                if driver.is_closed():
                    await connection.invalidate()

    async def _warm(self) -> None:
        slot = self._take()
        if slot is None:
            return
        try:
            async with asyncio.timeout(self._deadline):
                await slot.open(self._recycle)
        except Exception as exc:
            if translate(exc) is None:
                raise
            _log.warning("read_pool_connect_failed", **describe(exc))
        finally:
            self._release(slot)

    def _new_slots(self) -> "deque[_PooledConnection]":
        return deque(_PooledConnection(self._engine) for _ in range(self._size))

    def _take(self) -> "_PooledConnection | None":
        # Never overtakes: while somebody waits, nothing is free.
        return self._free.pop() if self._free else None

    async def _wait(self) -> "_PooledConnection":
        if self._is_closed:
            raise DatabaseUnavailable
        return await self._queue(self._wait_timeout)

    async def _queue(self, timeout: float) -> "_PooledConnection":  # noqa: ASYNC109 - one timer serves the whole queue
        loop = asyncio.get_running_loop()
        waiter: asyncio.Future[_PooledConnection] = loop.create_future()
        expires_at = loop.time() + timeout
        self._waiting.append((expires_at, waiter))
        if self._expiry is None:
            self._expiry = loop.call_at(expires_at, self._expire)
        try:
            return await waiter
        except asyncio.CancelledError:
            # Handed over and cancelled in the same breath: the place must not get lost.
            if not waiter.cancelled() and waiter.exception() is None:
                self._release(waiter.result())
            raise

    def _expire(self) -> None:
        # The longest waiter expires first, so that one timer is enough.
        loop = asyncio.get_running_loop()
        while self._waiting and self._waiting[0][0] <= loop.time():
            _, waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_exception(TimeoutError())
        self._expiry = loop.call_at(self._waiting[0][0], self._expire) if self._waiting else None

    def _release(self, slot: "_PooledConnection") -> None:
        while self._waiting:
            _, waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_result(slot)
                return
        if slot.is_usable(self._recycle):
            self._free.append(slot)
        else:
            self._free.appendleft(slot)  # taken last: who takes it has to open it


class _PooledConnection:
    """One place in the lane, with or without a living connection."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._connection: AsyncConnection | None = None
        self._opened_at = 0.0
        self.driver: Any = None

    def is_usable(self, recycle: float) -> bool:
        driver = self.driver
        return driver is not None and not driver.is_closed() and time.monotonic() - self._opened_at < recycle

    async def open(self, recycle: float) -> None:
        """Connect, unless a usable connection is there; again when the pool had a dead one."""
        if self.is_usable(recycle):
            return
        for attempt in range(1, _OPEN_ATTEMPTS + 1):
            try:
                await self._connect()
            except Exception as exc:
                if attempt == _OPEN_ATTEMPTS or not is_disconnect(exc):
                    raise
            else:
                return

    async def close(self) -> None:
        """Give the place in the pool back. The connection itself ends: it refuses writes."""
        connection, self._connection, self.driver = self._connection, None, None
        if connection is not None:
            # Shielded, because a cancellation would leave the connection to the garbage collector.
            await asyncio.shield(asyncio.ensure_future(_drop(connection)))

    async def _connect(self) -> None:
        await self.close()
        self._connection = await self._engine.connect()
        driver = await _driver_of(self._connection)
        await _run(driver, asyncpg.Connection.execute, "SET default_transaction_read_only = on", [])
        self.driver, self._opened_at = driver, time.monotonic()


async def _run(driver: _Driver, fetch: _Fetch[ResultT], sql: str, arguments: list[Any]) -> ResultT:
    """Run a statement; end the connection unless it is certain to be idle and well afterwards."""
    try:
        return await fetch(driver, sql, *arguments)
    except asyncpg.PostgresError as exc:
        if is_disconnect(exc):
            driver.terminate()
        raise
    except BaseException:
        driver.terminate()
        raise


async def _driver_of(connection: AsyncConnection) -> _Driver:
    driver: _Driver | None = (await connection.get_raw_connection()).driver_connection
    if driver is None:
        raise DatabaseUnavailable
    return driver


async def _drop(connection: AsyncConnection) -> None:
    await connection.invalidate()
    await connection.close()
