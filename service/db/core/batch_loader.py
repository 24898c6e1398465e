"""Reads of one row by its key, asked for together with everybody who asks at the same moment.

A look-up by a token's digest costs PostgreSQL and the driver some twenty microseconds each, and nearly all of
that is the round trip: twenty keys in one statement cost little more than one. Nothing is remembered. Every
statement begins after all who share it have asked, so each sees what was committed before.
"""

import asyncio
from collections.abc import Hashable
from contextvars import Context
from typing import Any, Final, Generic, TypeAlias, TypeVar

from service.db.core.read_pool import ReadPool, ReadQuery
from service.domain.errors import DatabaseUnavailable

KeyT = TypeVar("KeyT", bound=Hashable)
_Values: TypeAlias = tuple[Any, ...]
_Waiter: TypeAlias = "asyncio.Future[_Values | None]"

_MAX_IN_FLIGHT: Final = 2
"""One statement is on its way while the answers to another are worked off."""
_MAX_BATCH: Final = 128


class BatchLoader(Generic[KeyT]):
    """Finds rows of a query by keys that are unique.

    The query takes the keys as one array, `keys`, and gives the key of each row as its last column.
    `wait_timeout`, in seconds, bounds how long a key waits for its statement to begin.
    """

    def __init__(self, read_pool: ReadPool, query: ReadQuery, *, wait_timeout: float = 2.0) -> None:
        self._read_pool = read_pool
        self._query = query
        self._wait_timeout = wait_timeout
        self._waiting: dict[KeyT, list[_Waiter]] = {}
        self._asking: set[asyncio.Task[Any] | None] = set()
        self._is_due = False
        self._expiry: asyncio.TimerHandle | None = None

    async def get(self, key: KeyT) -> _Values | None:
        """Find the values of a key's row, without the key, or None.

        Raises:
            DatabaseUnavailable: no answer in time, or none at all; a read changes nothing.
        """
        loop = asyncio.get_running_loop()
        waiter: _Waiter = loop.create_future()
        self._waiting.setdefault(key, []).append(waiter)
        if not self._is_due:
            self._is_due = True
            loop.call_soon(self._begin, loop)  # after the others that this turn of the loop has read
        return await waiter

    def _begin(self, loop: asyncio.AbstractEventLoop) -> None:
        self._is_due = False
        if len(self._asking) < _MAX_IN_FLIGHT:
            # In a context of its own: what is logged of it concerns more than one request.
            self._asking.add(loop.create_task(self._ask(), context=Context()))
        elif self._expiry is None:
            self._expiry = loop.call_later(self._wait_timeout, self._expire)

    async def _ask(self) -> None:
        """Ask until nobody waits; then, in the same breath, make room for who asks next."""
        try:
            while self._waiting:
                await self._ask_for(self._take_group())
        finally:
            self._asking.discard(asyncio.current_task())

    async def _ask_for(self, group: dict[KeyT, list[_Waiter]]) -> None:
        try:
            rows = await self._read_pool.fetch_all(self._query, keys=list(group))
        except BaseException as error:
            _refuse(group, error)
            if not isinstance(error, Exception):
                raise
        else:
            found = {row[-1]: row[:-1] for row in rows}
            for key, waiters in group.items():
                _tell(waiters, found.get(key))

    def _take_group(self) -> dict[KeyT, list[_Waiter]]:
        if self._expiry is not None:
            self._expiry.cancel()
            self._expiry = None
        if len(self._waiting) <= _MAX_BATCH:
            group, self._waiting = self._waiting, {}
            return group
        return {key: self._waiting.pop(key) for key in list(self._waiting)[:_MAX_BATCH]}

    def _expire(self) -> None:
        self._expiry = None
        group, self._waiting = self._waiting, {}
        _refuse(group, DatabaseUnavailable())


def _tell(waiters: list[_Waiter], values: _Values | None) -> None:
    for waiter in waiters:
        if not waiter.done():
            waiter.set_result(values)


def _refuse(group: dict[KeyT, list[_Waiter]], error: BaseException) -> None:
    """Let everybody know; what ends the asking itself is an outage to those who asked."""
    for waiters in group.values():
        for waiter in waiters:
            if not waiter.done():
                waiter.set_exception(error if isinstance(error, Exception) else DatabaseUnavailable())
