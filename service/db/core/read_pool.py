"""Single-statement reads on connections that are kept for them.

A read costs a fifth to a third of the processor time that it costs through the engine's pool, which pays for
a reset and two greenlet switches per read (ADR 12).
"""

import asyncio
from collections.abc import Mapping
from typing import Any

import structlog
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.pool import QueuePool

from service.db.core.connect_errors import explain
from service.db.core.driver import Method, ResultT
from service.db.core.error_classes import describe, is_retryable, translate
from service.db.core.fifo import FifoPool
from service.db.core.read_connection import BorrowedConnection, KeptConnection
from service.db.core.statements import Executor, Statement
from service.domain.errors import DatabaseUnavailable
from service.observability.stats import PoolStats

_log = structlog.get_logger(__name__)


class ReadPool(Executor):
    """Runs reads on `size` connections, which count towards the engine's `pool_size`.

    Each read is one statement outside any transaction, in a session that rejects writes. With `size` 0, as
    behind a transaction pooler, each read borrows a connection and runs in a read-only transaction.
    Connections are opened by `start()` or when first needed.

    `wait_timeout` bounds the wait for a connection and `deadline` the time to open one and to retry; the
    engine's `command_timeout` bounds the statement. A connection is replaced at the age of `recycle`. All are
    seconds.

    A cancelled read closes its connection; the server ends the statement at its `statement_timeout` at the
    latest.
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
            raise ValueError("the read pool has to leave connections of the engine's pool to the writers")
        self._engine = engine
        self._size = size
        self._wait_timeout = wait_timeout
        self._deadline = deadline
        self._recycle = recycle
        self._kept = self._new_connections()
        self._is_closed = False

    async def start(self) -> None:
        """Open the connections. An unreachable database is logged; reads try again."""
        if self._is_closed:
            self._kept, self._is_closed = self._new_connections(), False
        await asyncio.gather(*(self._open_one() for _ in range(self._size)))

    async def close(self) -> None:
        """Reject new reads, serve those that wait, and close the connections."""
        if self._is_closed:
            return
        self._is_closed = True
        connections: list[KeptConnection] = []
        try:
            while len(connections) < self._size:
                connections.append(await self._kept.acquire(self._deadline))
        except TimeoutError:
            _log.warning("read_pool_close_timeout", in_use=self._size - len(connections))
        finally:
            self._kept.close()
            await asyncio.gather(*(connection.discard() for connection in connections))

    def stats(self) -> PoolStats:
        """Return pool statistics; the connections are among those of the engine's pool."""
        free = self._kept.free
        idle = sum(connection.is_usable for connection in free)
        return PoolStats("read", self._size - len(free), idle, self._size, self._kept.waiting)

    async def fetch(
        self, method: Method[ResultT], statement: Statement, params: Mapping[str, Any]
    ) -> ResultT:
        """Run a read by any method.

        Raises:
            DatabaseUnavailable: no response in time, or none at all.
        """
        try:
            return await self.run(method, statement, params)
        except Exception as error:  # noqa: BLE001 - raised again, translated if it is known
            raise _translated(error) from None

    async def run(self, method: Method[ResultT], statement: Statement, params: Mapping[str, Any]) -> ResultT:
        """Run a read by any method, again on a dead connection or a stale plan; errors are the driver's."""
        arguments = statement.arguments(params)
        ends_at = asyncio.get_running_loop().time() + self._deadline
        connection = self._kept.acquire_nowait() or await self._wait()
        try:
            if not connection.is_usable:
                async with asyncio.timeout_at(ends_at):
                    await connection.open()
            try:
                return await connection.run(method, statement.sql, arguments)
            except Exception as error:
                if not is_retryable(error):
                    raise
            async with asyncio.timeout_at(ends_at):
                await connection.open()
                return await connection.run(method, statement.sql, arguments)
        finally:
            if isinstance(connection, BorrowedConnection):
                await connection.finish()
            else:
                self._kept.release(connection, lend_last=not connection.is_usable)

    async def _open_one(self) -> None:
        connection = self._kept.acquire_nowait()
        if connection is None:
            return
        try:
            if not connection.is_usable:
                async with asyncio.timeout(self._deadline):
                    await connection.open()
        except Exception as error:
            if translate(error) is None:
                raise
            _log.warning("read_pool_connect_failed", cause=explain(error), **describe(error))
        finally:
            self._kept.release(connection, lend_last=not connection.is_usable)

    def _new_connections(self) -> FifoPool[KeptConnection]:
        return FifoPool(KeptConnection(self._engine, self._recycle) for _ in range(self._size))

    async def _wait(self) -> KeptConnection:
        if self._is_closed:
            raise DatabaseUnavailable
        if self._size:
            return await self._kept.acquire(self._wait_timeout)
        return BorrowedConnection(self._engine, self._recycle)


def _translated(error: Exception) -> Exception:
    """Return the domain error that an error of the database means, or the error itself if it is a bug."""
    known = translate(error)
    if known is None:
        return error
    _log.info("read_failed", code=known.code, **describe(error))
    return known
