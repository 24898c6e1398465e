"""Limit concurrent password hashing: a fixed number of permits, a bounded fair queue, a timeout.

A waiting request has not used the database, and no attempt has been counted: a rejection has nothing to undo.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta

from service.domain.errors import HashingBusy
from service.domain.throttle import retry_after_seconds
from service.security.hashing.ewma import Ewma
from service.security.hashing.fair_queue import DeficitRoundRobinQueue


class Permit:
    """The right to hash, from `HashingLimiter.acquire`, with the seconds of work done under it."""

    __slots__ = ("granted_at", "work_seconds")

    def __init__(self, granted_at: float) -> None:
        self.granted_at = granted_at
        self.work_seconds = 0.0

    def charge(self, seconds: float) -> None:
        """Add the time for which a hashing thread worked."""
        self.work_seconds += seconds


class HashingLimiter:
    """Grant at most `total_permits` permits at once. Waiters are served round robin by flow.

    A flow is a path of names: first between groups, then between the members of each. At most `max_queue`
    tasks wait, for at most `queue_timeout`; in a full queue, the busiest group loses its newest waiter. Flows
    whose work takes longer than average are skipped for more rounds.
    Used from one event loop; any thread may read `waiting`, `shed_total` and `oldest_wait_seconds()`.
    Source: OWASP ASVS 5.0 15.1.3, 15.2.2.
    """

    def __init__(
        self,
        *,
        total_permits: int,
        max_queue: int,
        queue_timeout: timedelta,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.max_queue = max_queue
        self.queue_timeout = queue_timeout
        self.shed_total = 0
        """The number of rejected tasks since the limiter was created."""
        self._total_permits = total_permits
        self._in_use = 0
        self._clock = clock
        self._queue: DeficitRoundRobinQueue[_Waiter] = DeficitRoundRobinQueue()
        self._by_age: OrderedDict[_Waiter, None] = OrderedDict()
        self._oldest_since: float | None = None
        self._mean_hold_seconds = Ewma()
        self._mean_work_seconds = Ewma()

    @property
    def total_permits(self) -> int:
        """The number of permits; raising it grants the new ones at once."""
        return self._total_permits

    @total_permits.setter
    def total_permits(self, value: int) -> None:
        self._total_permits = value
        self._grant_free_permits()

    @property
    def waiting(self) -> int:
        """The number of waiting tasks."""
        return len(self._queue)

    def oldest_wait_seconds(self) -> float:
        """Return for how long the oldest waiter has waited, or 0."""
        since = self._oldest_since
        return 0.0 if since is None else self._clock() - since

    @asynccontextmanager
    async def acquire(self, *flow: str) -> AsyncIterator[Permit]:
        """Hold a permit for the block. `flow` names the source of the request, from the group to the member.

        Raises:
            HashingBusy: the queue is full, or no permit became free within `queue_timeout`.
        """
        if self._in_use < self._total_permits:
            self._in_use += 1
        else:
            await self._wait_for_permit(flow)
        permit = Permit(self._clock())
        try:
            yield permit
        finally:
            self._charge(flow, permit)
            self._release()

    async def _wait_for_permit(self, flow: tuple[str, ...]) -> None:
        self._make_room(flow)
        loop = asyncio.get_running_loop()
        waiter = _Waiter(flow, loop.create_future(), self._clock())
        self._queue.push(flow, waiter)
        self._by_age[waiter] = None
        self._update_oldest()
        timer = loop.call_later(self.queue_timeout.total_seconds(), self._expire, waiter)
        try:
            is_granted = await waiter.granted
        except asyncio.CancelledError:
            if waiter.granted.cancelled():
                self._queue.remove(flow, waiter)
            elif waiter.granted.result():
                self._release()  # granted and cancelled in the same loop iteration
            raise
        finally:
            timer.cancel()
            del self._by_age[waiter]
            self._update_oldest()
        if not is_granted:
            raise self._overloaded()

    def _make_room(self, flow: tuple[str, ...]) -> None:
        if len(self._queue) < self.max_queue:
            return
        displaced = self._queue.displace(flow)
        if displaced is None:
            self.shed_total += 1
            raise self._overloaded()
        self._reject(displaced)

    def _expire(self, waiter: "_Waiter") -> None:
        if self._queue.remove(waiter.flow, waiter):
            self._reject(waiter)

    def _reject(self, waiter: "_Waiter") -> None:
        if not waiter.granted.done():
            self.shed_total += 1
            waiter.granted.set_result(False)

    def _overloaded(self) -> HashingBusy:
        """Return the error with the expected wait, at most `queue_timeout`: by then every waiter is gone."""
        backlog_seconds = (len(self._queue) + 1) * self._mean_hold_seconds.value / self._total_permits
        wait = min(timedelta(seconds=backlog_seconds), self.queue_timeout)
        return HashingBusy(retry_after=retry_after_seconds(wait))

    def _charge(self, flow: tuple[str, ...], permit: Permit) -> None:
        """Charge the flow for its own hashing alone: others cause the rest of the time it held the permit."""
        self._mean_hold_seconds.add(self._clock() - permit.granted_at)
        if permit.work_seconds > 0:
            self._mean_work_seconds.add(permit.work_seconds)
            self._queue.charge(flow, rounds=round(permit.work_seconds / self._mean_work_seconds.value) - 1)

    def _update_oldest(self) -> None:
        self._oldest_since = next(iter(self._by_age)).since if self._by_age else None

    def _release(self) -> None:
        self._in_use -= 1
        self._grant_free_permits()

    def _grant_free_permits(self) -> None:
        while self._in_use < self._total_permits and (waiter := self._queue.pop()) is not None:
            if not waiter.granted.done():
                self._in_use += 1
                waiter.granted.set_result(True)


class _Waiter:
    """A waiting task; compared by identity. `granted` resolves to False when it is rejected."""

    __slots__ = ("flow", "granted", "since")

    def __init__(self, flow: tuple[str, ...], granted: "asyncio.Future[bool]", since: float) -> None:
        self.flow = flow
        self.granted = granted
        self.since = since
