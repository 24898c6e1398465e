"""A few low-priority threads for password hashing."""

import asyncio
import logging
import os
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import timedelta
from typing import TypeVar

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

    def __init__(self, *, workers: int, queue_wait: timedelta) -> None:
        self.workers = workers
        self._queue_wait_seconds = queue_wait.total_seconds()
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
            HashingBusy: no thread came free within `queue_wait`, none could be started, or the pool is
                closed.
        """
        future = self._submit(work)
        timer = asyncio.get_running_loop().call_later(self._queue_wait_seconds, future.cancel)
        try:
            return await asyncio.wrap_future(future)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if not future.cancelled() or (task is not None and task.cancelling()):
                raise
        finally:
            timer.cancel()
        self.shed_total += 1
        raise HashingBusy

    def close(self) -> None:
        """Refuse what comes later, and return when the work in hand is done."""
        self._executor.shutdown()

    def _submit(self, work: Callable[[], T]) -> "Future[T]":
        with self._lock:
            self.queued += 1
        is_refused = threading.Event()
        try:
            future = self._executor.submit(self._perform, work, is_refused)
        except RuntimeError as error:
            is_refused.set()  # where no thread could be started, the executor has kept the work all the same
            self._leave_queue()
            self.shed_total += 1
            logger.warning("no thread for a hash: %s", error)
            raise HashingBusy from None
        future.add_done_callback(self._note_end)
        return future

    def _perform(self, work: Callable[[], T], is_refused: threading.Event) -> T:
        if is_refused.is_set():
            raise HashingBusy
        with self._lock:
            self.queued -= 1
            self.running += 1
        try:
            return work()
        finally:
            with self._lock:
                self.running -= 1
                self.done_total += 1

    def _note_end(self, future: "Future[T]") -> None:
        if future.cancelled():
            self._leave_queue()

    def _leave_queue(self) -> None:
        with self._lock:
            self.queued -= 1


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
