"""A few low-priority threads for password hashing, behind a queue that is short, fair and bounded by time."""

import asyncio
import logging
import math
import os
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, NoReturn, TypeVar

from service.domain.errors import HashingBusy
from service.security.queueing import FairQueue

T = TypeVar("T")

logger = logging.getLogger(__name__)

_NICENESS = 10
_MAX_NICENESS = 19
_MEAN_WEIGHT = 1 / 8


@dataclass(frozen=True, slots=True)
class HashingStats:
    """What the pool does now, and how many pieces of work it has done and refused since it was made."""

    workers: int
    queued: int
    oldest_wait_seconds: float
    running: int
    done_total: int
    shed_total: int


class HashingPool:
    """Runs pieces of work on `workers` threads, callers in turn, none waiting longer than `queue_wait`.

    A place belongs to the work and not to the request that asked for it: a cancelled request leaves the
    queue, but a thread counts as busy until its work is done. At most `queue_limit` pieces wait; when that
    many do, whoever has most of them gives way to whoever has fewer.
    Source: OWASP ASVS 5.0 15.1.3, 15.2.2.
    """

    def __init__(self, *, workers: int, queue_limit: int, queue_wait: timedelta) -> None:
        self._workers = workers
        self._queue_limit = queue_limit
        self._queue_wait_seconds = queue_wait.total_seconds()
        self._lock = threading.Lock()
        self._queue: FairQueue[_Job] = FairQueue()
        self._executor = ThreadPoolExecutor(workers, "hashing", initializer=_lower_priority)
        self._mailbox: _Mailbox | None = None
        self._running = 0
        self._mean_seconds = 0.0
        self._done_total = 0
        self._shed_total = 0
        self._closed = False

    async def run(self, work: Callable[[], T], *, caller: str) -> T:
        """Return what `work` returns, or raise what it raises. `caller` names whose turn it takes.

        Raises:
            HashingBusy: the queue is full, the wait took longer than `queue_wait`, or the pool is closed.
        """
        loop = asyncio.get_running_loop()
        job = _Job(work, caller, self._mailbox_of(loop), loop.create_future())
        self._admit(job)
        timer = loop.call_later(self._queue_wait_seconds, self._expire, job)
        try:
            result: T = await job.future
        finally:
            timer.cancel()
            if job.future.cancelled():
                self._withdraw(job)
            del job  # its future keeps a refusal, which keeps this frame: a circle for the garbage collector
        return result

    def check_room(self, caller: str) -> None:
        """Refuse, before anything is done for it, what would be refused at once now.

        Raises:
            HashingBusy: the queue is full, or the pool is closed.
        """
        with self._lock:
            if not self._has_room(caller):
                self._refuse()

    def stats(self) -> HashingStats:
        """Return the present figures; the wait is that of the piece of work that waits longest."""
        with self._lock:
            oldest = min((job.queued_at for job in self._queue.heads()), default=None)
            waited = 0.0 if oldest is None else time.monotonic() - oldest
            queued, running = len(self._queue), self._running
            return HashingStats(self._workers, queued, waited, running, self._done_total, self._shed_total)

    def close(self) -> None:
        """Refuse what waits and what comes later, and return when the work in hand is done."""
        with self._lock:
            self._closed = True
            while (job := self._queue.pop()) is not None:
                self._shed(job)
        self._executor.shutdown()

    def _mailbox_of(self, loop: asyncio.AbstractEventLoop) -> "_Mailbox":
        if self._mailbox is None or self._mailbox.loop is not loop:
            self._mailbox = _Mailbox(loop)
        return self._mailbox

    def _admit(self, job: "_Job") -> None:
        with self._lock:
            if not self._has_room(job.caller):
                self._refuse()
            if self._running < self._workers:
                self._executor.submit(self._work_off, job)
                self._running += 1
                return
            if len(self._queue) >= self._queue_limit:
                self._shed(self._queue.evict())
            self._queue.push(job.caller, job)

    def _has_room(self, caller: str) -> bool:
        if self._closed:
            return False
        is_full = self._running >= self._workers and len(self._queue) >= self._queue_limit
        return not is_full or self._queue.gives_way_to(caller)

    def _refuse(self) -> NoReturn:
        self._shed_total += 1
        raise self._busy()

    def _expire(self, job: "_Job") -> None:
        with self._lock:
            if self._queue.remove(job.caller, job):
                self._shed(job)

    def _withdraw(self, job: "_Job") -> None:
        with self._lock:
            self._queue.remove(job.caller, job)

    def _shed(self, job: "_Job") -> None:
        self._shed_total += 1
        job.settle(None, self._busy())

    def _busy(self) -> HashingBusy:
        backlog_seconds = (len(self._queue) + 1) * self._mean_seconds / self._workers
        return HashingBusy(retry_after=max(1, math.ceil(backlog_seconds)))

    def _work_off(self, first: "_Job") -> None:
        job: _Job | None = first
        while job is not None:
            started_at = time.monotonic()
            result, error = job.perform()
            upcoming = self._next_after(job, time.monotonic() - started_at)
            job.settle(result, error)
            job = upcoming

    def _next_after(self, job: "_Job", spent_seconds: float) -> "_Job | None":
        with self._lock:
            self._done_total += 1
            weight = _MEAN_WEIGHT if self._mean_seconds else 1
            self._mean_seconds += weight * (spent_seconds - self._mean_seconds)
            if self._mean_seconds:
                self._queue.charge(job.caller, turns=round(spent_seconds / self._mean_seconds) - 1)
            upcoming = self._queue.pop()
            if upcoming is None:
                self._running -= 1
            return upcoming


class _Job:
    """A piece of work and the future of whoever waits for it; compared by identity."""

    __slots__ = ("caller", "future", "mailbox", "queued_at", "work")

    def __init__(
        self, work: Callable[[], Any], caller: str, mailbox: "_Mailbox", future: asyncio.Future[Any]
    ) -> None:
        self.work = work
        self.caller = caller
        self.mailbox = mailbox
        self.future = future
        self.queued_at = time.monotonic()

    def perform(self) -> tuple[Any, BaseException | None]:
        try:
            return self.work(), None
        except BaseException as error:  # noqa: BLE001 - nothing is lost: it is raised where the result is awaited
            return None, error

    def settle(self, result: object, error: BaseException | None) -> None:
        self.mailbox.post(self.future, result, error)


class _Mailbox:
    """Hands results back to an event loop, all that are ready in one wake-up."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self._lock = threading.Lock()
        self._letters: list[tuple[asyncio.Future[Any], Any, BaseException | None]] = []

    def post(self, future: asyncio.Future[Any], result: object, error: BaseException | None) -> None:
        with self._lock:
            self._letters.append((future, result, error))
            if len(self._letters) > 1:
                return
        try:
            self.loop.call_soon_threadsafe(self._deliver)
        except RuntimeError:
            logger.debug("the event loop was closed before the result was ready")

    def _deliver(self) -> None:
        with self._lock:
            letters, self._letters = self._letters, []
        for future, result, error in letters:
            if future.done():
                continue
            if error is None:
                future.set_result(result)
            else:
                future.set_exception(error)


def _lower_priority() -> None:
    """Let the event loop's thread go first; on Linux niceness belongs to the thread."""
    if sys.platform != "linux":
        return
    thread_id = threading.get_native_id()
    try:
        niceness = os.getpriority(os.PRIO_PROCESS, thread_id) + _NICENESS
        os.setpriority(os.PRIO_PROCESS, thread_id, min(niceness, _MAX_NICENESS))
    except OSError as error:
        logger.warning("hashing threads keep the usual priority: %s", error.strerror)
