"""What the service does by itself, beside the requests."""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta

import structlog

from service.db.core.error_classes import translate
from service.domain.errors import RollcallError

_log = structlog.get_logger(__name__)

BackgroundWork = Callable[[], Awaitable[object]]


@asynccontextmanager
async def run_periodically(chores: Mapping[str, tuple[timedelta, BackgroundWork]]) -> AsyncIterator[None]:
    """Do each chore at its interval for as long as the block runs. A failed one is logged and done again."""
    tasks = [
        asyncio.create_task(_repeat(name, interval, work), name=name)
        for name, (interval, work) in chores.items()
    ]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _repeat(name: str, interval: timedelta, work: BackgroundWork) -> None:
    while True:
        await asyncio.sleep(interval.total_seconds() * random.uniform(0.9, 1.1))  # noqa: S311 - replicas apart
        await run_and_log(name, work)


async def run_and_log(name: str, work: BackgroundWork) -> None:
    """Do a chore once; a failure is logged by its type and leaves the service as it is."""
    try:
        await work()
    except RollcallError as error:
        _log.warning("periodic_task_postponed", task=name, code=error.code)
    except Exception as error:  # noqa: BLE001 - a chore must not end the process. Source: PocketBase #7762
        if (refusal := translate(error)) is not None:
            _log.warning("periodic_task_postponed", task=name, code=refusal.code)
            return
        _log.error("periodic_task_failed", task=name, error=type(error).__name__)
