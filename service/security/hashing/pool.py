"""Low-priority threads for password hashing."""

import asyncio
import os
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import timedelta
from typing import Generic, TypeVar

import structlog

from service.domain.errors import HashingBusy

T = TypeVar("T")

_NICENESS = 10
_MAX_NICENESS = 19

_log = structlog.get_logger(__name__)


class HashingPool:
    """Run jobs on `workers` threads, first come, first served.

    A thread belongs to its job, not to the request: a cancelled request leaves the queue, but a running job
    keeps its thread until it is done. Source: OWASP ASVS 5.0 15.1.3.
    """

    def __init__(self, *, workers: int, queue_timeout: timedelta) -> None:
        self.workers = workers
        self._queue_timeout_seconds = queue_timeout.total_seconds()
        self._executor = ThreadPoolExecutor(workers, "hashing", initializer=_lower_priority)
        self._lock = threading.Lock()
        self.queued = 0
        """The number of jobs waiting for a thread."""
        self.running = 0
        self.done_total = 0
        self.shed_total = 0

    async def run(self, work: Callable[[], T]) -> T:
        """Run `work` on a thread; return its result or raise its error.

        Raises:
            HashingBusy: no thread became free within `queue_timeout`, none could be started, or the pool is
                closed.
        """
        future = self._submit(work)
        timer = None
        if self.queued + self.running > self.workers:  # else a thread is free
            timer = asyncio.get_running_loop().call_later(self._queue_timeout_seconds, future.cancel)
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
        """Reject new jobs, and return when the accepted ones are done."""
        self._executor.shutdown()

    def _submit(self, work: Callable[[], T]) -> "Future[T]":
        with self._lock:
            self.queued += 1
        job = _Job(work)
        try:
            future = self._executor.submit(self._perform, job)
        except RuntimeError as error:
            self._cancel(job)
            self.shed_total += 1
            _log.warning("hashing_thread_unavailable", reason=str(error))
            raise HashingBusy from None
        future.add_done_callback(self._on_done)
        return future

    def _perform(self, job: "_Job[T]") -> T:
        with self._lock:
            if job.is_cancelled:
                raise HashingBusy
            job.has_started = True
            self.queued -= 1
            self.running += 1
        try:
            return job.work()
        finally:
            with self._lock:
                self.running -= 1
                self.done_total += 1

    def _cancel(self, job: "_Job[T]") -> None:
        """Cancel a job that the executor queued but could not start."""
        with self._lock:
            if not job.has_started:
                job.is_cancelled = True
                self.queued -= 1

    def _on_done(self, future: "Future[T]") -> None:
        if future.cancelled():
            with self._lock:
                self.queued -= 1


class _Job(Generic[T]):
    """Work with its state, which decides between a thread that starts it and `_cancel`."""

    __slots__ = ("has_started", "is_cancelled", "work")

    def __init__(self, work: Callable[[], T]) -> None:
        self.work = work
        self.has_started = False
        self.is_cancelled = False


def _lower_priority() -> None:
    """Raise the niceness of this thread, so that the event loop goes first; Linux has it per thread."""
    if sys.platform != "linux":
        return
    thread_id = threading.get_native_id()
    try:
        niceness = os.getpriority(os.PRIO_PROCESS, thread_id) + _NICENESS
        os.setpriority(os.PRIO_PROCESS, thread_id, min(niceness, _MAX_NICENESS))
    except OSError as error:
        _log.warning("hashing_priority_unchanged", reason=error.strerror)
