"""The background work of a serving process."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from functools import partial

from service import __version__
from service.db import instances
from service.db.core.replica import PROBE_INTERVAL
from service.jobs.periodic import PeriodicTask, Work, interval_jitter, run_and_log, run_periodically
from service.security.ids import new_id
from service.services import Services
from service.usecases.cleanup import purge_expired

LAST_USED_INTERVAL = timedelta(seconds=5)
ROTATION_CHECK_INTERVAL = timedelta(minutes=10)
METRICS_INTERVAL = timedelta(seconds=5)


@asynccontextmanager
async def background_work(
    services: Services,
    refresh_metrics: Callable[[], None],
    *more: PeriodicTask,
    jitter: Callable[[], float] = interval_jitter,
) -> AsyncIterator[None]:
    """Run the periodic tasks as long as the block runs.

    The instance is registered before the block; after it, pending writes are flushed and it is unregistered.
    """
    engine, lease = services.background_engine, services.lease
    instance = instances.Instance.here(new_id(), __version__)
    at_start = _tasks_at_start(
        services, partial(instances.record_heartbeat, engine, instance, lease), refresh_metrics
    )
    for task in at_start:
        await run_and_log(task.name, task.work)
    flush, purge = _later_tasks(services)
    try:
        async with run_periodically([*at_start, flush, purge, *more], jitter=jitter):
            yield
    finally:
        await run_and_log(flush.name, flush.work)
        await run_and_log("heartbeat", partial(instances.unregister, engine, instance, lease))


def _tasks_at_start(
    services: Services, record_heartbeat: Work, refresh_metrics: Callable[[], None]
) -> list[PeriodicTask]:
    """Return the tasks that run once before the first request, too."""

    async def refresh() -> None:
        await services.readiness.refresh_schema_revision()
        refresh_metrics()

    tasks = [
        PeriodicTask("heartbeat", instances.HEARTBEAT_INTERVAL, record_heartbeat),
        PeriodicTask("metrics", METRICS_INTERVAL, refresh),
    ]
    if services.replica is not None:
        tasks.append(PeriodicTask("replica", PROBE_INTERVAL, services.replica.probe))
    if (keys := services.signing_keys) is not None:
        tasks.append(PeriodicTask("signing_keys", ROTATION_CHECK_INTERVAL, keys.rotate_if_due))
    return tasks


def _later_tasks(services: Services) -> tuple[PeriodicTask, PeriodicTask]:
    """Return the tasks that write last uses and delete what has expired."""
    database, retention = services.background_database, services.policies.retention
    return (
        PeriodicTask("last_used", LAST_USED_INTERVAL, partial(services.last_used.flush, database)),
        PeriodicTask(
            "purge", services.settings.retention.purge_interval, partial(purge_expired, database, retention)
        ),
    )
