"""A pool that serves its waiters in order."""

import asyncio
from collections import deque
from collections.abc import Iterable
from typing import Generic, TypeVar

ItemT = TypeVar("ItemT")


class FifoPool(Generic[ItemT]):
    """Lends a fixed set of items, first come first served; the last one returned is lent first.

    The pools of SQLAlchemy and asyncpg let a new request overtake those that wait.
    """

    def __init__(self, items: Iterable[ItemT]) -> None:
        self._free = deque(items)
        self._waiting: deque[tuple[float, asyncio.Future[ItemT]]] = deque()
        self._expiry: asyncio.TimerHandle | None = None

    @property
    def free(self) -> list[ItemT]:
        """The items that are not lent."""
        return list(self._free)

    @property
    def waiting(self) -> int:
        """The number of requests that wait for an item."""
        return sum(not waiter.done() for _, waiter in self._waiting)

    def acquire_nowait(self) -> ItemT | None:
        """Return an item if one is free, which is never the case while a request waits."""
        return self._free.pop() if self._free else None

    async def acquire(self, wait_timeout: float) -> ItemT:
        """Return an item. A request must not time out before those that wait already; seconds.

        Raises:
            TimeoutError: no item was returned in time.
        """
        if (item := self.acquire_nowait()) is not None:
            return item
        loop = asyncio.get_running_loop()
        waiter: asyncio.Future[ItemT] = loop.create_future()
        expires_at = loop.time() + wait_timeout
        self._waiting.append((expires_at, waiter))
        if self._expiry is None:
            self._expiry = loop.call_at(expires_at, self._expire)
        try:
            return await waiter
        except asyncio.CancelledError:
            # Granted and cancelled in the same loop iteration: pass the item on.
            if not waiter.cancelled() and waiter.exception() is None:
                self.release(waiter.result())
            raise

    def release(self, item: ItemT, *, lend_last: bool = False) -> None:
        """Return an item, which goes to the request that has waited longest."""
        while self._waiting:
            _, waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_result(item)
                return
        if lend_last:
            self._free.appendleft(item)
        else:
            self._free.append(item)

    def close(self) -> None:
        """Stop the timer. Call it when no request waits any more."""
        if self._expiry is not None:
            self._expiry.cancel()
            self._expiry = None

    def _expire(self) -> None:
        loop = asyncio.get_running_loop()
        while self._waiting and self._waiting[0][0] <= loop.time():
            _, waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_exception(TimeoutError())
        self._expiry = loop.call_at(self._waiting[0][0], self._expire) if self._waiting else None
