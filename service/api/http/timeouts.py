"""Time limits of all requests, by one shared timer."""

import asyncio
from typing import Final

_MAX_TICK_S: Final = 0.25


class Deadline:
    """The time limit of one task. `expired` is set before the task is cancelled because of it."""

    __slots__ = ("_cancellations", "_task", "at_s", "expired")

    def __init__(self, task: "asyncio.Task[object]", at_s: float) -> None:
        self._task = task
        self._cancellations = task.cancelling()
        self.at_s = at_s
        self.expired = False

    def expire(self) -> None:
        """Cancel the task."""
        self.expired = True
        self._task.cancel()

    def consume_cancellation(self) -> bool:
        """Withdraw our cancellation; return whether it was the only one."""
        return self._task.uncancel() <= self._cancellations


class CoarseTimer:
    """All deadlines of a process. They expire up to a quarter of a second late, never early."""

    def __init__(self, tick_s: float = _MAX_TICK_S) -> None:
        self._tick_s = min(tick_s, _MAX_TICK_S)
        self._running: set[Deadline] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.TimerHandle | None = None

    def start(self, limit_s: float) -> Deadline:
        """Limit the current task from now on, until `stop`."""
        loop = asyncio.get_running_loop()
        task = asyncio.current_task(loop)
        if task is None:
            raise RuntimeError("There is no task to limit.")
        if self._timer is None or self._loop is not loop:
            self._loop = loop
            self._timer = loop.call_later(self._tick_s, self._sweep, loop)
        deadline = Deadline(task, loop.time() + limit_s)
        self._running.add(deadline)
        return deadline

    def stop(self, deadline: Deadline) -> None:
        """Remove a deadline."""
        self._running.discard(deadline)

    def _sweep(self, loop: asyncio.AbstractEventLoop) -> None:
        now_s = loop.time()
        for deadline in [running for running in self._running if running.at_s <= now_s]:
            self._running.discard(deadline)
            deadline.expire()
        self._timer = loop.call_later(self._tick_s, self._sweep, loop) if self._running else None
