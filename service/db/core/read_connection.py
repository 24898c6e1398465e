"""Connections of the engine on which nothing can be written."""

import asyncio
import math
import time
from typing import Any, ClassVar, Final

import asyncpg
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from service.db.core.driver import EXECUTE, Method, ResultT, driver_of
from service.db.core.error_classes import is_disconnect

_OPEN_ATTEMPTS: Final = 3


class KeptConnection:
    """A connection that is kept between reads, for `recycle` seconds; its session is read-only."""

    _begin: ClassVar[str] = "SET default_transaction_read_only = on"

    def __init__(self, engine: AsyncEngine, recycle: float) -> None:
        self._engine = engine
        self._recycle = recycle
        self._connection: AsyncConnection | None = None
        self._driver: Any = None
        self._opened_at = -math.inf

    @property
    def is_usable(self) -> bool:
        """Whether the connection is open and not too old."""
        driver = self._driver
        return (
            driver is not None
            and not driver.is_closed()
            and time.monotonic() - self._opened_at < self._recycle
        )

    async def open(self) -> None:
        """Replace the connection; try again if the one from the engine's pool is dead."""
        for attempt in range(1, _OPEN_ATTEMPTS + 1):
            await self.discard()
            try:
                await self._connect()
            except Exception as error:
                if attempt == _OPEN_ATTEMPTS or not is_disconnect(error):
                    raise
            else:
                return

    async def run(self, method: Method[ResultT], sql: str, arguments: list[Any]) -> ResultT:
        """Run a statement; terminate the connection unless it is known to be idle and healthy afterwards."""
        driver = self._driver
        try:
            return await method(driver, sql, *arguments)
        except asyncpg.PostgresError as error:
            if is_disconnect(error):
                driver.terminate()
            raise
        except BaseException:
            driver.terminate()
            raise

    async def discard(self) -> None:
        """Close the connection: the engine's pool must not get it back."""
        connection, self._connection, self._driver = self._connection, None, None
        if connection is not None:
            # Shielded: a cancellation would leave the connection to the garbage collector.
            await asyncio.shield(asyncio.ensure_future(_invalidate(connection)))

    async def _connect(self) -> None:
        self._opened_at = -math.inf  # not usable before it is read-only
        self._connection = await self._engine.connect()
        self._driver = driver_of(self._connection)
        await self.run(EXECUTE, self._begin, [])
        self._opened_at = time.monotonic()


class BorrowedConnection(KeptConnection):
    """A connection for one read in a read-only transaction, as a transaction pooler requires."""

    _begin = "BEGIN READ ONLY"

    async def finish(self) -> None:
        """End the transaction and return the connection to the engine's pool, or discard a broken one."""
        connection = self._connection
        if connection is None or not self.is_usable:
            await self.discard()
            return
        try:
            await self.run(EXECUTE, "COMMIT", [])
        except Exception:  # noqa: BLE001 - the read is over, and a broken connection is not reused
            await self.discard()
        except BaseException:
            await self.discard()
            raise
        else:
            await connection.close()


async def _invalidate(connection: AsyncConnection) -> None:
    await connection.invalidate()
    await connection.close()
