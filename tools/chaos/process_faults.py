"""The faults of processes: workers, service, database server."""

import asyncio
import os
import signal
from contextlib import suppress

from harness.processes import children_of, frozen
from tools.chaos.context import FaultContext, InvariantViolated
from tools.chaos.faults import fault


@fault(times=10)
async def worker_killed(context: FaultContext) -> None:
    """Kill one worker; the service replaces it."""
    if workers := context.environment.workers.serving():
        os.kill(context.rng.choice(workers), signal.SIGKILL)


@fault()
async def service_killed(context: FaultContext) -> None:
    """Kill the service with all its workers, and start it again."""
    context.service.kill()
    await context.environment.start_service()


@fault()
async def supervisor_killed(context: FaultContext) -> None:
    """Kill the supervisor, after two seconds also the workers that are left, as an init system does."""
    os.kill(context.service.process.pid, signal.SIGKILL)
    await asyncio.sleep(2)
    context.service.kill()
    await context.environment.start_service()


@fault()
async def service_drained(context: FaultContext) -> None:
    """Have the service drain and end, and start it again."""
    status = await context.environment.stop_service()
    if status != 0:
        raise InvariantViolated(f"a drained service ended with status {status}")
    await context.environment.start_service()


@fault()
async def workers_rolled(context: FaultContext) -> None:
    """Have each worker drain and end, one after the other."""
    for worker in context.environment.workers.serving():
        os.kill(worker, signal.SIGTERM)
        await context.environment.workers.wait_until_complete(without=worker)


@fault(times=10)
async def postgresql_killed(context: FaultContext) -> None:
    """Kill the database server, and start it again."""
    os.kill(context.environment.postmaster, signal.SIGKILL)
    await context.sleep(0, 1)
    await context.environment.start_postgres()


@fault()
async def postgresql_stopped_at_once(context: FaultContext) -> None:
    """Stop the database server without a checkpoint, and start it again."""
    os.kill(context.environment.postmaster, signal.SIGQUIT)
    await context.sleep(0.2, 1)
    await context.environment.start_postgres()


@fault()
async def backend_killed(context: FaultContext) -> None:
    """Kill one process of the database server, which then ends all sessions and recovers."""
    os.kill(context.rng.choice(children_of(context.environment.postmaster)), signal.SIGKILL)
    await asyncio.sleep(0.1)
    await context.environment.start_postgres()


@fault()
async def postgresql_frozen(context: FaultContext) -> None:
    """Stop every process of the database server for some seconds."""
    with frozen(context.environment.postmaster):
        await context.sleep(1, 12)


@fault()
async def migrations_at_once(context: FaultContext) -> None:
    """Run three migrations concurrently, and kill one of them."""
    running = [await context.environment.start_command("database", "migrate") for _ in range(3)]
    await context.sleep(0, 1)
    with suppress(ProcessLookupError):
        running[0].kill()
    for process in running:
        status = await process.wait()
        if status != 0 and process is not running[0]:
            raise InvariantViolated(f"a concurrent migration ended with status {status}")
