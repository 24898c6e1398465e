"""Who hashes next: a few at a time are let in, and the rest wait in a line that is fair, bounded and cheap.

A log-in that waits here has cost the event loop next to nothing and the database nothing at all, and nothing
has been counted for it. So a storm of log-ins slows nobody else, and a refusal has nothing to undo.
"""

import asyncio
import math
import time
from collections import OrderedDict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from contextvars import ContextVar
from datetime import timedelta
from typing import Final

from service.domain.errors import HashingBusy
from service.security.hashing.fair_queue import DeficitRoundRobinQueue

_MEAN_WEIGHT = 1 / 8
_stay: Final[ContextVar["_Permit | None"]] = ContextVar("stay", default=None)


class HashingLimiter:
    """Lets `places` tasks in at once, callers in turn, and keeps none waiting longer than `wait`.

    At most `limit` wait; when that many do, whoever has most of them gives way to whoever has fewer. A caller
    whose hashes take longer than usual is passed over for as many turns. Used from one event loop; any thread
    may read its figures.
    Source: OWASP ASVS 5.0 15.1.3, 15.2.2.
    """

    def __init__(self, *, permits: int, max_queue: int, queue_timeout: timedelta) -> None:
        self._places = self._free = permits
        self._limit = max_queue
        self._queue_timeout_seconds = queue_timeout.total_seconds()
        self._line: DeficitRoundRobinQueue[_Waiter] = DeficitRoundRobinQueue()
        self._waiting: OrderedDict[_Waiter, None] = OrderedDict()
        self._oldest: float | None = None
        self._mean_stay = _Ewma()
        self._mean_work = _Ewma()
        self.shed_total = 0
        """How many were refused since the gate was made."""

    @asynccontextmanager
    async def acquire(self, caller: str) -> AsyncIterator[None]:
        """Run the block inside.

        Raises:
            HashingBusy: too many wait already, or it has waited too long.
        """
        if self._free > 0:
            self._free -= 1
        else:
            await self._wait_for_turn(caller)
        stay = _Permit()
        _stay.set(stay)
        try:
            yield
        finally:
            _stay.set(None)
            self._settle(caller, stay)
            self._leave()

    def note_work(self, seconds: float) -> None:
        """Note for how long a thread has worked for the task, if it is inside."""
        if (stay := _stay.get()) is not None:
            stay.worked_seconds += seconds

    @property
    def waiting(self) -> int:
        """How many wait to be let in."""
        return len(self._line)

    def oldest_wait_seconds(self) -> float:
        """Return how long who waits longest has waited, or 0."""
        oldest = self._oldest
        return 0.0 if oldest is None else time.monotonic() - oldest

    async def _wait_for_turn(self, caller: str) -> None:
        self._make_room(caller)
        loop = asyncio.get_running_loop()
        turn = _Waiter(loop.create_future(), time.monotonic())
        self._line.push(caller, turn)
        self._waiting[turn] = None
        self._note_oldest()
        timer = loop.call_later(self._queue_timeout_seconds, self._expire, caller, turn)
        try:
            is_let_in = await turn.has_come
        except asyncio.CancelledError:
            if turn.has_come.cancelled():
                self._line.remove(caller, turn)
            elif turn.has_come.result():
                self._leave()  # it came in the same breath in which it was given up
            raise
        finally:
            timer.cancel()
            del self._waiting[turn]
            self._note_oldest()
        if not is_let_in:
            raise self._busy()

    def _make_room(self, caller: str) -> None:
        if len(self._line) < self._limit:
            return
        if not self._line.gives_way_to(caller):
            self.shed_total += 1
            raise self._busy()
        self._shed(self._line.evict())

    def _expire(self, caller: str, turn: "_Waiter") -> None:
        if self._line.remove(caller, turn):
            self._shed(turn)

    def _shed(self, turn: "_Waiter") -> None:
        if not turn.has_come.done():
            self.shed_total += 1
            turn.has_come.set_result(False)

    def _busy(self) -> HashingBusy:
        """Tell when there may be room: nobody who waits now will do so for longer than everybody may."""
        backlog_seconds = (len(self._line) + 1) * self._mean_stay.seconds / self._places
        return HashingBusy(retry_after=max(1, math.ceil(min(backlog_seconds, self._queue_timeout_seconds))))

    def _settle(self, caller: str, stay: "_Permit") -> None:
        """Charge a caller for its own hashes: it did not cause the wait for those of others."""
        self._mean_stay.note(time.monotonic() - stay.began_at)
        if stay.worked_seconds > 0:
            self._mean_work.note(stay.worked_seconds)
            self._line.charge(caller, turns=round(stay.worked_seconds / self._mean_work.seconds) - 1)

    def _note_oldest(self) -> None:
        self._oldest = next(iter(self._waiting)).waits_since if self._waiting else None

    def _leave(self) -> None:
        self._free += 1
        while self._free > 0 and (turn := self._line.pop()) is not None:
            if not turn.has_come.done():
                self._free -= 1
                turn.has_come.set_result(True)


class _Permit:
    """The time of one task inside."""

    __slots__ = ("began_at", "worked_seconds")

    def __init__(self) -> None:
        self.began_at = time.monotonic()
        self.worked_seconds = 0.0


class _Ewma:
    """A moving mean."""

    __slots__ = ("seconds",)

    def __init__(self) -> None:
        self.seconds = 0.0

    def note(self, seconds: float) -> None:
        weight = _MEAN_WEIGHT if self.seconds else 1
        self.seconds += weight * (seconds - self.seconds)


class _Waiter:
    """The place of one task in the line; compared by identity."""

    __slots__ = ("has_come", "waits_since")

    def __init__(self, has_come: "asyncio.Future[bool]", waits_since: float) -> None:
        self.has_come = has_come
        """Resolves to whether it is let in."""
        self.waits_since = waits_since
