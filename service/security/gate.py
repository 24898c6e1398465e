"""A few at a time: what a request that hashes does besides goes on between the others, and not before them.

Two hundred log-ins that arrive at once would all be read, checked and asked about before the event loop turns
to anybody else. Behind the gate they come a few at a time, networks in turn, and a request for something else
waits for those few alone.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

from service.domain.errors import HashingBusy
from service.security.queueing import FairQueue


class Gate:
    """Lets `places` tasks in at once, callers in turn; a task that waits for its hash stands aside meanwhile.

    Who comes back from its hash goes first: it is almost done, and it has waited. At most `limit` others
    wait, none longer than `wait`.
    """

    def __init__(self, *, places: int, limit: int, wait: timedelta) -> None:
        self._wait_seconds = wait.total_seconds()
        self._limit = limit
        self._free = places
        self._coming: FairQueue[asyncio.Future[None]] = FairQueue()
        self._returning: deque[asyncio.Future[None]] = deque()
        self._inside: set[asyncio.Task[Any] | None] = set()

    @asynccontextmanager
    async def entered(self, caller: str) -> AsyncIterator[None]:
        """Run the block inside.

        Raises:
            HashingBusy: too many wait already, or it has waited too long.
        """
        if self._free > 0:
            self._free -= 1
        else:
            await self._wait_for_turn(caller)
        task = asyncio.current_task()
        self._inside.add(task)
        try:
            yield
        finally:
            self._inside.discard(task)
            self._leave()

    @asynccontextmanager
    async def aside(self) -> AsyncIterator[None]:
        """Run the block outside, if the task is inside, and come back first."""
        if asyncio.current_task() not in self._inside:
            yield
            return
        self._leave()
        try:
            yield
        except asyncio.CancelledError:
            self._free -= 1  # it has no time to wait for a place, and gives one back in a moment
            raise
        except Exception:
            await self._come_back()
            raise
        await self._come_back()

    async def _wait_for_turn(self, caller: str) -> None:
        if len(self._coming) >= self._limit:
            raise HashingBusy
        turn = asyncio.get_running_loop().create_future()
        self._coming.push(caller, turn)
        try:
            async with asyncio.timeout(self._wait_seconds):
                await turn
        except (TimeoutError, asyncio.CancelledError) as error:
            if turn.cancelled():
                self._coming.remove(caller, turn)
            else:
                self._leave()  # it was given in the same breath in which it was given up
            if isinstance(error, TimeoutError):
                raise HashingBusy from None
            raise

    async def _come_back(self) -> None:
        if self._free > 0:
            self._free -= 1
            return
        turn = asyncio.get_running_loop().create_future()
        self._returning.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.cancelled():
                self._free -= 1  # as the block it returns to gives a place back in the end
            raise

    def _leave(self) -> None:
        self._free += 1
        while self._free > 0 and (turn := self._next()) is not None:
            if not turn.done():
                self._free -= 1
                turn.set_result(None)

    def _next(self) -> "asyncio.Future[None] | None":
        return self._returning.popleft() if self._returning else self._coming.pop()
