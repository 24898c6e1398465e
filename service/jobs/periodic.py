"""Run periodic tasks in the background."""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta

import structlog

from service.db.core.error_classes import describe as describe_outage
from service.db.core.error_classes import translate
from service.observability.exception_report import describe

_log = structlog.get_logger("rollcall")

Work = Callable[[], Awaitable[object]]


@dataclass(frozen=True, slots=True)
class PeriodicTask:
    """Work that is repeated, with a pause of `interval` before each run."""

    name: str
    interval: timedelta
    work: Work


def interval_jitter() -> float:
    """Return a random factor for an interval, so that replicas do not run their tasks at the same time."""
    return random.uniform(0.9, 1.1)  # noqa: S311 - not a secret


@asynccontextmanager
async def run_periodically(
    tasks: Iterable[PeriodicTask], *, jitter: Callable[[], float] = interval_jitter
) -> AsyncIterator[None]:
    """Repeat each task as long as the block runs. A failed run is logged and does not stop the task."""
    running = [asyncio.create_task(_repeat(task, jitter), name=task.name) for task in tasks]
    try:
        yield
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)


async def _repeat(task: PeriodicTask, jitter: Callable[[], float]) -> None:
    current = asyncio.current_task()
    # A COMMIT that is cancelled raises OutcomeUnknown instead of CancelledError.
    while current is None or not current.cancelling():
        await asyncio.sleep(task.interval.total_seconds() * jitter())
        await run_and_log(task.name, task.work)


async def run_and_log(name: str, work: Work) -> None:
    """Run work once; log a failure instead of raising it.

    An outage is a warning with its code and cause. Anything else is an error with types and frames, never
    messages.
    """
    try:
        await work()
    except Exception as error:  # noqa: BLE001 - must not end the process. Source: PocketBase #7762
        if (outage := translate(error)) is not None:
            _log.warning("periodic_task_postponed", task=name, code=outage.code, **describe_outage(error))
        else:
            _log.error("periodic_task_failed", task=name, **describe(error))
