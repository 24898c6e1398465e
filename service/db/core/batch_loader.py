"""Look-ups by a unique key; those issued in the same event-loop turn share one statement.

A round trip through driver, socket and PostgreSQL costs some 50 µs of processor time for one key and little
more for thirty (ADR 12). Nothing is cached: a statement begins after all look-ups that share it, so each
sees what was committed before.
"""

import asyncio
from collections.abc import Hashable
from contextvars import Context
from typing import Any, Final, Generic, TypeAlias, TypeVar

from service.db.core.columns import Columns
from service.db.core.statements import Executor, Statement
from service.domain.errors import DatabaseUnavailable

KeyT = TypeVar("KeyT", bound=Hashable)
ItemT = TypeVar("ItemT")
_Batch: TypeAlias = dict[KeyT, list[asyncio.Future[ItemT | None]]]

_MAX_IN_FLIGHT: Final = 2
"""Overlap one statement with the decoding of another."""
_MAX_BATCH: Final = 128


class BatchLoader(Generic[KeyT, ItemT]):
    """Loads items by key.

    The statement takes the keys as one array, `keys`, and returns the key of each row before the `columns` of
    its item. `wait_timeout`, in seconds, bounds the wait for the statement to begin.
    """

    def __init__(
        self, executor: Executor, statement: Statement, columns: Columns[ItemT], *, wait_timeout: float = 2.0
    ) -> None:
        self._executor = executor
        self._statement = statement
        self._columns = columns
        self._wait_timeout = wait_timeout
        self._waiting: _Batch[KeyT, ItemT] = {}
        self._in_flight: set[asyncio.Task[Any] | None] = set()
        self._is_scheduled = False
        self._expiry: asyncio.TimerHandle | None = None

    async def load(self, key: KeyT) -> ItemT | None:
        """Return the item of a key, or None.

        Raises:
            DatabaseUnavailable: no response in time, or none at all.
        """
        loop = asyncio.get_running_loop()
        waiter: asyncio.Future[ItemT | None] = loop.create_future()
        self._waiting.setdefault(key, []).append(waiter)
        if not self._is_scheduled:
            self._is_scheduled = True
            loop.call_soon(self._dispatch, loop)  # after the other requests of this turn of the loop
        return await waiter

    def _dispatch(self, loop: asyncio.AbstractEventLoop) -> None:
        self._is_scheduled = False
        if len(self._in_flight) < _MAX_IN_FLIGHT:
            # An empty context: log lines of the statement belong to more than one request.
            self._in_flight.add(loop.create_task(self._load_all(), context=Context()))
        elif self._expiry is None:
            self._expiry = loop.call_later(self._wait_timeout, self._expire)

    async def _load_all(self) -> None:
        """Load batches until no key waits. No await separates that check from leaving `_in_flight`."""
        try:
            while self._waiting:
                await self._load_batch(self._next_batch())
        finally:
            self._in_flight.discard(asyncio.current_task())

    async def _load_batch(self, batch: _Batch[KeyT, ItemT]) -> None:
        try:
            rows = await self._executor.fetch_all(self._statement, keys=list(batch))
            found = dict(map(self._key_and_item, rows))
        except BaseException as error:
            _fail(batch, error)
            if not isinstance(error, Exception):
                raise
        else:
            for key, waiters in batch.items():
                for waiter in waiters:
                    if not waiter.done():
                        waiter.set_result(found.get(key))

    def _key_and_item(self, row: Any) -> tuple[KeyT, ItemT]:
        values = iter(row)
        return next(values), self._columns.decode(values)

    def _next_batch(self) -> _Batch[KeyT, ItemT]:
        if self._expiry is not None:
            self._expiry.cancel()
            self._expiry = None
        if len(self._waiting) <= _MAX_BATCH:
            batch, self._waiting = self._waiting, {}
            return batch
        return {key: self._waiting.pop(key) for key in list(self._waiting)[:_MAX_BATCH]}

    def _expire(self) -> None:
        self._expiry = None
        batch, self._waiting = self._waiting, {}
        _fail(batch, DatabaseUnavailable())


def _fail(batch: _Batch[KeyT, ItemT], error: BaseException) -> None:
    """Raise the error in every waiter; the end of the task itself is an outage to them."""
    for waiters in batch.values():
        for waiter in waiters:
            if not waiter.done():
                waiter.set_exception(error if isinstance(error, Exception) else DatabaseUnavailable())
