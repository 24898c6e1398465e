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

Chore = Callable[[], Awaitable[object]]


@asynccontextmanager
async def doing(chores: Mapping[str, tuple[timedelta, Chore]]) -> AsyncIterator[None]:
    """Do each chore at its interval for as long as the block runs. A failed one is logged and done again."""
    tasks = [
        asyncio.create_task(_repeat(name, interval, chore), name=name)
        for name, (interval, chore) in chores.items()
    ]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _repeat(name: str, interval: timedelta, chore: Chore) -> None:
    while True:
        await asyncio.sleep(interval.total_seconds() * random.uniform(0.9, 1.1))  # noqa: S311 - replicas apart
        await attempt(name, chore)


async def attempt(name: str, chore: Chore) -> None:
    """Do a chore once; a failure is logged by its type and leaves the service as it is."""
    try:
        await chore()
    except RollcallError as error:
        _log.warning("chore_postponed", chore=name, code=error.code)
    except Exception as error:  # noqa: BLE001 - a chore must not end the process. Source: PocketBase #7762
        if (refusal := translate(error)) is not None:
            _log.warning("chore_postponed", chore=name, code=refusal.code)
            return
        _log.error("chore_failed", chore=name, error=type(error).__name__)
