"""Wait for the attempts at a login that are being verified, in order of arrival."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Final
from weakref import WeakValueDictionary

from service.domain.errors import HashingBusy

_FIRST_PAUSE_S: Final = 0.02
_MAX_PAUSE_S: Final = 0.32


class AttemptTurns:
    """Queue logins that have no room in their bucket until attempts in progress succeed.

    Of the waiters for one bucket, the oldest tries again and the others wait for it: many cost no more.
    At most `max_waiting` wait, each for at most `timeout`. Used from one event loop.
    """

    def __init__(self, *, timeout: timedelta, max_waiting: int) -> None:
        self._timeout_s = timeout.total_seconds()
        self._max_waiting = max_waiting
        self._waiting = 0
        self._locks: WeakValueDictionary[bytes, asyncio.Lock] = WeakValueDictionary()

    def has_waiters(self, bucket: bytes) -> bool:
        """Return whether others wait for the bucket, who came before."""
        lock = self._locks.get(bucket)
        return lock is not None and lock.locked()

    @asynccontextmanager
    async def wait(self, bucket: bytes) -> AsyncIterator["Turn"]:
        """Wait for those that came before, and hold the turn until the block or `Turn.end` ends it.

        Raises:
            HashingBusy: too many wait, or the turn did not come in time.
        """
        if self._waiting >= self._max_waiting:
            raise HashingBusy
        deadline = asyncio.get_running_loop().time() + self._timeout_s
        lock = self._locks.setdefault(bucket, asyncio.Lock())
        self._waiting += 1
        try:
            async with asyncio.timeout_at(deadline):
                await lock.acquire()
        except TimeoutError:
            raise HashingBusy from None
        finally:
            self._waiting -= 1
        turn = Turn(lock, deadline)
        try:
            yield turn
        finally:
            turn.end()


class Turn:
    """The right to try next, until `end` is called."""

    def __init__(self, lock: asyncio.Lock, deadline: float) -> None:
        self._lock = lock
        self._deadline = deadline
        self._pause_s = _FIRST_PAUSE_S
        self._has_ended = False

    async def pause(self) -> None:
        """Wait before the next try, each time longer.

        Raises:
            HashingBusy: the time of the turn is over.
        """
        if asyncio.get_running_loop().time() + self._pause_s > self._deadline:
            raise HashingBusy
        await asyncio.sleep(self._pause_s)
        self._pause_s = min(2 * self._pause_s, _MAX_PAUSE_S)

    def end(self) -> None:
        """Let the next one try; no effect the second time."""
        if not self._has_ended:
            self._has_ended = True
            self._lock.release()
