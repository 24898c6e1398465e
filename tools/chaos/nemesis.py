"""The faults. Each begins when its function is called, and is over when it returns."""

import asyncio
import os
import resource
import signal
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, suppress
from typing import Final

import asyncpg

from harness.database import failing_writes, holding_lock, read_only
from harness.processes import children_of, frozen, open_files_of
from harness.proxy import LostCommits
from tools.chaos.context import FaultContext, InvariantViolated
from tools.chaos.environment import ROLE
from tools.chaos.generator import PASSWORD

_, _MAX_FILES = resource.getrlimit(resource.RLIMIT_NOFILE)
_FILES_LEFT: Final = 5
_OTHER_SESSIONS: Final = (
    "FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
)
_END_ALL: Final = f"SELECT pg_terminate_backend(pid) {_OTHER_SESSIONS} AND usename = '{ROLE}'"
_END_OPEN: Final = f"{_END_ALL} AND state = 'idle in transaction'"
_FAILING_SHARE: Final = 0.4


Fault = Callable[[FaultContext], Awaitable[None]]
FAULTS: dict[str, tuple[int, Fault]] = {}
"""How often a fault occurs in a round of all faults, and its function, by name."""


def fault(times: int = 1) -> Callable[[Fault], Fault]:
    """Register a fault under the name of its function."""

    def register(function: Fault) -> Fault:
        FAULTS[getattr(function, "__name__", "").replace("_", " ")] = (times, function)
        return function

    return register


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
async def sessions_ended(context: FaultContext) -> None:
    """Have the database end every session of the service."""
    await context.database.run(_END_ALL)


@fault()
async def open_transactions_ended(context: FaultContext) -> None:
    """Have the database end sessions in the middle of their transactions."""
    for _ in range(50):
        await context.database.run(_END_OPEN)
        await asyncio.sleep(0.02)


@fault(times=2)
async def commit_replies_lost(context: FaultContext) -> None:
    """Lose the replies to COMMIT, with their connections."""
    await _lose_commits(context, LostCommits.DONE)


@fault()
async def commits_lost(context: FaultContext) -> None:
    """Lose COMMITs, with their connections."""
    await _lose_commits(context, LostCommits.SENT)


@fault()
async def commits_unanswered(context: FaultContext) -> None:
    """Lose the replies to COMMIT, and keep their connections open."""
    await _lose_commits(context, LostCommits.UNANSWERED)
    context.proxy.cut()


async def _lose_commits(context: FaultContext, how: LostCommits) -> None:
    context.proxy.lost_commits = how
    await context.sleep(0.5, 1.5)
    context.proxy.lost_commits = None


@fault()
async def network_slow(context: FaultContext) -> None:
    """Delay everything between service and database."""
    context.proxy.latency_s = context.rng.uniform(0.02, 0.5)
    await context.sleep(1, 3)
    context.proxy.latency_s = 0.0


@fault()
async def network_thin(context: FaultContext) -> None:
    """Limit each connection to a kilobyte a second."""
    context.proxy.bytes_per_second = 1000
    await context.sleep(1, 3)
    context.proxy.bytes_per_second = None


@fault()
async def network_silent(context: FaultContext) -> None:
    """Forward nothing, and keep connections open."""
    with context.proxy.silence():
        await context.sleep(1, 12)


@fault()
async def connections_cut_at_a_byte(context: FaultContext) -> None:
    """End each connection after a random number of bytes."""
    for _ in range(10):
        context.proxy.cut_after_bytes = context.rng.randrange(1, 6000)
        context.proxy.cut()
        await asyncio.sleep(0.2)
    context.proxy.cut_after_bytes = None
    context.proxy.cut()


@fault()
async def table_locked(context: FaultContext) -> None:
    """Lock a table that every write needs, so that the pool is exhausted."""
    await _hold(context, "LOCK TABLE events")


@fault()
async def rows_locked(context: FaultContext) -> None:
    """Lock every account."""
    await _hold(context, "SELECT count(*) FROM (SELECT 1 FROM users FOR UPDATE) AS locked")


async def _hold(context: FaultContext, lock: str) -> None:
    with suppress(asyncpg.PostgresError):  # it may be the victim of a deadlock with the workload
        async with holding_lock(context.database, lock):
            await context.sleep(0.5, 4)


@fault()
async def connections_refused(context: FaultContext) -> None:
    """Limit the service to one connection to the database."""
    await context.database.run(f"ALTER ROLE {ROLE} CONNECTION LIMIT 1", _END_ALL)
    await context.sleep(1, 3)
    await context.database.run(f"ALTER ROLE {ROLE} CONNECTION LIMIT -1")


@fault()
async def database_read_only(context: FaultContext) -> None:
    """Have the database reject writes, as a standby does."""
    await _during(context, read_only(context.database), 1, 3)


@fault()
async def transactions_in_conflict(context: FaultContext) -> None:
    """Have two in five writes fail with a serialization failure."""
    await _during(context, failing_writes(context.database, "40001", share=_FAILING_SHARE), 1, 2)


@fault()
async def disk_full(context: FaultContext) -> None:
    """Have two in five writes find no space."""
    await _during(context, failing_writes(context.database, "53100", share=_FAILING_SHARE), 1, 2)


@fault()
async def commits_refused(context: FaultContext) -> None:
    """Have two in five COMMITs fail in the database."""
    failing = failing_writes(context.database, "40001", share=_FAILING_SHARE, at_commit=True)
    await _during(context, failing, 1, 2)


async def _during(
    context: FaultContext, injected: AbstractAsyncContextManager[None], min_s: float, max_s: float
) -> None:
    async with injected:
        await context.sleep(min_s, max_s)


@fault()
async def schema_changed(context: FaultContext) -> None:
    """Add a column to the table of accounts, which invalidates every plan for it, and drop it."""
    await context.database.run("ALTER TABLE users ADD COLUMN chaos int")
    await context.sleep(0.2, 1)
    await context.database.run("ALTER TABLE users DROP COLUMN chaos")


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


@fault()
async def hashing_flooded(context: FaultContext) -> None:
    """Log in from a hundred networks at once."""
    clients = [context.client(f"10.9.{number}.1") for number in range(100)]
    body = {"login_id": "nobody", "password": PASSWORD}
    for result in await asyncio.gather(*(each.request("POST", "/v1/sessions", body) for each in clients)):
        context.workload.count(context.workload.fault, result)


@fault()
async def same_login_id_wanted(context: FaultContext) -> None:
    """Create the same account twenty times at once, ten times over."""
    for _ in range(10):
        login_id = f"race-{context.rng.randrange(10**12)}"
        await asyncio.gather(*(_create(context, login_id, f"{login_id}-{number}") for number in range(20)))


async def _create(context: FaultContext, login_id: str, name: str) -> None:
    result = await context.client().request("POST", "/v1/users", {"login_id": login_id, "name": name})
    await context.workload.record("race", login_id, name, context.workload.fault, result)


@fault()
async def clients_vanishing(context: FaultContext) -> None:
    """Disconnect in the middle of requests, or right after them."""
    await asyncio.gather(*(_vanish(context, f"gone-{context.rng.randrange(10**12)}") for _ in range(50)))


async def _vanish(context: FaultContext, login_id: str) -> None:
    body = {"login_id": login_id, "name": login_id}
    request = context.client().raw_request("POST", "/v1/users", body)
    part = request[: context.rng.randrange(1, len(request) * 2)]
    await _send_and_disconnect(context, [part], pause_s=context.rng.uniform(0, 0.05))


@fault()
async def clients_slow(context: FaultContext) -> None:
    """Send requests a byte at a time."""
    request = context.client().raw_request("POST", "/v1/users", {"login_id": "slow"})
    pieces = [request[position : position + 1] for position in range(20)]
    await asyncio.gather(*(_send_and_disconnect(context, pieces, pause_s=0.1) for _ in range(50)))


@fault()
async def descriptors_used_up(context: FaultContext) -> None:
    """Leave a worker hardly any file descriptors, and take them all."""
    if not (workers := context.environment.workers.serving()):
        return
    worker = context.rng.choice(workers)
    with suppress(ProcessLookupError, FileNotFoundError):
        limits = resource.prlimit(
            worker, resource.RLIMIT_NOFILE, (open_files_of(worker) + _FILES_LEFT, _MAX_FILES)
        )
        await asyncio.gather(*(_send_and_disconnect(context, [b"", b""], pause_s=1) for _ in range(100)))
        resource.prlimit(worker, resource.RLIMIT_NOFILE, limits)


async def _send_and_disconnect(context: FaultContext, pieces: list[bytes], *, pause_s: float) -> None:
    """Send pieces with a pause after each; the service may be down, or disconnect first."""
    with suppress(OSError):
        _, writer = await asyncio.open_connection("127.0.0.1", context.workload.port)
        try:
            for piece in pieces:
                writer.write(piece)
                await asyncio.sleep(pause_s)
        finally:
            writer.transport.abort()
