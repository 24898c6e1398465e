"""A few low-priority threads for password hashing."""

import asyncio
import logging
import os
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import timedelta
from typing import Generic, TypeVar

from service.domain.errors import HashingBusy

T = TypeVar("T")

logger = logging.getLogger(__name__)

_NICENESS = 10
_MAX_NICENESS = 19


class HashingPool:
    """Runs pieces of work on `workers` threads, first come first served.

    A thread belongs to the work and not to the request that asked for it: a cancelled request leaves the
    queue, but a thread is taken until its work is done. Source: OWASP ASVS 5.0 15.1.3.
    """

    def __init__(self, *, workers: int, queue_timeout: timedelta) -> None:
        self.workers = workers
        self._queue_wait_seconds = queue_timeout.total_seconds()
        self._executor = ThreadPoolExecutor(workers, "hashing", initializer=_lower_priority)
        self._lock = threading.Lock()
        self.queued = 0
        """How many pieces of work wait for a thread."""
        self.running = 0
        self.done_total = 0
        self.shed_total = 0

    async def run(self, work: Callable[[], T]) -> T:
        """Return what `work` returns, or raise what it raises.

        Raises:
            HashingBusy: no thread came free within `queue_timeout`, none could be started, or the pool is
                closed.
        """
        future = self._submit(work)
        timer = None
        if self.queued + self.running > self.workers:  # else a thread is free, and only has to wake up
            timer = asyncio.get_running_loop().call_later(self._queue_wait_seconds, future.cancel)
        try:
            return await asyncio.wrap_future(future)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if not future.cancelled() or (task is not None and task.cancelling()):
                raise
        finally:
            if timer is not None:
                timer.cancel()
        self.shed_total += 1
        raise HashingBusy

    def close(self) -> None:
        """Refuse what comes later, and return when the work in hand is done."""
        self._executor.shutdown()

    def _submit(self, work: Callable[[], T]) -> "Future[T]":
        with self._lock:
            self.queued += 1
        job = _Job(work)
        try:
            future = self._executor.submit(self._perform, job)
        except RuntimeError as error:
            self._refuse(job)
            self.shed_total += 1
            logger.warning("no thread for a hash: %s", error)
            raise HashingBusy from None
        future.add_done_callback(self._note_end)
        return future

    def _perform(self, job: "_Job[T]") -> T:
        with self._lock:
            if job.is_refused:
                raise HashingBusy
            job.has_begun = True
            self.queued -= 1
            self.running += 1
        try:
            return job.work()
        finally:
            with self._lock:
                self.running -= 1
                self.done_total += 1

    def _refuse(self, job: "_Job[T]") -> None:
        """Give up a piece of work, which the executor keeps even where no thread could be started."""
        with self._lock:
            if not job.has_begun:
                job.is_refused = True
                self.queued -= 1

    def _note_end(self, future: "Future[T]") -> None:
        if future.cancelled():
            with self._lock:
                self.queued -= 1


class _Job(Generic[T]):
    """A piece of work, and whether it has begun or will never begin."""

    __slots__ = ("has_begun", "is_refused", "work")

    def __init__(self, work: Callable[[], T]) -> None:
        self.work = work
        self.has_begun = False
        self.is_refused = False


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
