"""The faults. Each begins when it is called, and is over when it returns."""

import asyncio
import os
import random
import resource
import signal
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from harness.http_client import Client
from harness.processes import children_of, frozen, open_files_of
from harness.proxy import LostCommits
from tools.chaos.environment import ROLE, Stage
from tools.chaos.generator import PASSWORD, Load

_, _HARD_LIMIT = resource.getrlimit(resource.RLIMIT_NOFILE)
_FILES_LEFT = 5
_OTHER_SESSIONS = "FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
_END_ALL = f"SELECT pg_terminate_backend(pid) {_OTHER_SESSIONS} AND usename = '{ROLE}'"
_END_OPEN = f"{_END_ALL} AND state = 'idle in transaction'"
_RAISING = """
CREATE OR REPLACE FUNCTION storm() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
  IF random() < 0.4 THEN RAISE EXCEPTION 'storm' USING ERRCODE = '{sqlstate}'; END IF;
  RETURN NULL; END $$
"""


class InvariantViolated(Exception):
    """The service did not do what it says of itself."""


@dataclass(frozen=True, slots=True)
class FaultContext:
    """What a fault works with."""

    stage: Stage
    load: Load
    rng: random.Random

    async def for_a_while(self, least_s: float, most_s: float) -> None:
        """Let a random time pass."""
        await asyncio.sleep(self.rng.uniform(least_s, most_s))


Fault = Callable[[FaultContext], Awaitable[None]]
FAULTS: dict[str, tuple[int, Fault]] = {}
"""Name → how often it comes in one round of all faults, and what it does."""


def fault(times: int = 1) -> Callable[[Fault], Fault]:
    """List a fault under its function's name."""

    def print_status(function: Fault) -> Fault:
        FAULTS[getattr(function, "__name__", "").replace("_", " ")] = (times, function)
        return function

    return print_status


@fault(times=10)
async def worker_killed(sky: FaultContext) -> None:
    """Kill one worker; the service replaces it."""
    if workers := sky.stage.workers:
        os.kill(sky.rng.choice(workers), signal.SIGKILL)


@fault()
async def service_killed(sky: FaultContext) -> None:
    """Kill the service with all its workers, and start it again."""
    sky.stage.kill_service()
    await sky.stage.start_service()


@fault()
async def supervisor_killed(sky: FaultContext) -> None:
    """Kill the process above the workers; what outlives it for long is killed, as by an init system."""
    os.kill(sky.stage.supervisor, signal.SIGKILL)
    await asyncio.sleep(2)
    sky.stage.kill_service()
    await sky.stage.start_service()


@fault()
async def service_drained(sky: FaultContext) -> None:
    """Ask the service to end, and start it again."""
    status = await sky.stage.stop_service()
    if status != 0:
        raise InvariantViolated(f"a drained service ended with status {status}")
    await sky.stage.start_service()


@fault()
async def workers_rolled(sky: FaultContext) -> None:
    """Ask each worker to end, one after the other."""
    for worker in sky.stage.workers:
        os.kill(worker, signal.SIGTERM)
        await sky.stage.until_complete(without=worker)


@fault(times=10)
async def postgresql_killed(sky: FaultContext) -> None:
    """Kill the database server, and start it again."""
    os.kill(sky.stage.postmaster, signal.SIGKILL)
    await sky.for_a_while(0, 1)
    await sky.stage.start_postgres()


@fault()
async def postgresql_stopped_at_once(sky: FaultContext) -> None:
    """Stop the database server without a checkpoint, and start it again."""
    os.kill(sky.stage.postmaster, signal.SIGQUIT)
    await sky.for_a_while(0.2, 1)
    await sky.stage.start_postgres()


@fault()
async def backend_killed(sky: FaultContext) -> None:
    """Kill one process of the database server, on which it ends all sessions and recovers."""
    os.kill(sky.rng.choice(children_of(sky.stage.postmaster)), signal.SIGKILL)
    await asyncio.sleep(0.1)
    await sky.stage.start_postgres()


@fault()
async def postgresql_frozen(sky: FaultContext) -> None:
    """Stop every process of the database server for some seconds."""
    with frozen(sky.stage.postmaster):
        await sky.for_a_while(1, 12)


@fault()
async def sessions_ended(sky: FaultContext) -> None:
    """Have the database end every session of the service."""
    await sky.stage.run(_END_ALL)


@fault()
async def open_transactions_ended(sky: FaultContext) -> None:
    """Have the database end sessions in the middle of their transactions."""
    for _ in range(50):
        await sky.stage.run(_END_OPEN)
        await asyncio.sleep(0.02)


@fault(times=2)
async def commit_replies_lost(sky: FaultContext) -> None:
    """Lose the word that a transaction was committed, and the connection."""
    await _lose_commits(sky, LostCommits.DONE)


@fault()
async def commits_lost(sky: FaultContext) -> None:
    """Lose the COMMIT, and the connection."""
    await _lose_commits(sky, LostCommits.SENT)


@fault()
async def commits_unanswered(sky: FaultContext) -> None:
    """Lose the word that a transaction was committed, and keep the connection."""
    await _lose_commits(sky, LostCommits.UNANSWERED)
    sky.stage.proxy.cut()


async def _lose_commits(sky: FaultContext, how: LostCommits) -> None:
    sky.stage.proxy.lost_commits = how
    await sky.for_a_while(0.5, 1.5)
    sky.stage.proxy.lost_commits = None


@fault()
async def network_slow(sky: FaultContext) -> None:
    """Delay everything between service and database."""
    sky.stage.proxy.latency_s = sky.rng.uniform(0.02, 0.5)
    await sky.for_a_while(1, 3)
    sky.stage.proxy.latency_s = 0.0


@fault()
async def network_thin(sky: FaultContext) -> None:
    """Let a kilobyte a second through to each connection."""
    sky.stage.proxy.bytes_per_second = 1000
    await sky.for_a_while(1, 3)
    sky.stage.proxy.bytes_per_second = None


@fault()
async def network_silent(sky: FaultContext) -> None:
    """Let nothing through, and tell nobody."""
    with sky.stage.proxy.silence():
        await sky.for_a_while(1, 12)


@fault()
async def connections_cut_at_a_byte(sky: FaultContext) -> None:
    """End each connection after a random number of bytes."""
    for _ in range(10):
        sky.stage.proxy.cut_after_bytes = sky.rng.randrange(1, 6000)
        sky.stage.proxy.cut()
        await asyncio.sleep(0.2)
    sky.stage.proxy.cut_after_bytes = None
    sky.stage.proxy.cut()


@fault()
async def table_locked(sky: FaultContext) -> None:
    """Lock a table that every write needs, so that the pool runs dry."""
    await _hold(sky, "LOCK TABLE events")


@fault()
async def rows_locked(sky: FaultContext) -> None:
    """Lock every account."""
    await _hold(sky, "SELECT count(*) FROM (SELECT 1 FROM users FOR UPDATE) AS locked")


async def _hold(sky: FaultContext, lock: str) -> None:
    async with sky.stage.engine.connect() as connection:
        with suppress(DBAPIError):  # it may meet the storm's own traffic
            await connection.execute(text(lock))
            await sky.for_a_while(0.5, 4)


@fault()
async def connections_refused(sky: FaultContext) -> None:
    """Let the service have one connection to the database."""
    await sky.stage.run(f"ALTER ROLE {ROLE} CONNECTION LIMIT 1", _END_ALL)
    await sky.for_a_while(1, 3)
    await sky.stage.run(f"ALTER ROLE {ROLE} CONNECTION LIMIT -1")


@fault()
async def database_read_only(sky: FaultContext) -> None:
    """Have the database refuse writes, as a standby does."""
    await sky.stage.run("ALTER SYSTEM SET default_transaction_read_only = on", "SELECT pg_reload_conf()")
    await sky.for_a_while(1, 3)
    await sky.stage.run("ALTER SYSTEM RESET default_transaction_read_only", "SELECT pg_reload_conf()")


@fault()
async def transactions_in_conflict(sky: FaultContext) -> None:
    """Have two in five writes lose against another."""
    await _raise(sky, "40001")


@fault()
async def disk_full(sky: FaultContext) -> None:
    """Have two in five writes find no space."""
    await _raise(sky, "53100")


@fault()
async def commits_refused(sky: FaultContext) -> None:
    """Have two in five COMMITs fail in the database."""
    await _raise(sky, "40001", "CONSTRAINT", "DEFERRABLE INITIALLY DEFERRED")


async def _raise(sky: FaultContext, sqlstate: str, kind: str = "", when: str = "") -> None:
    trigger = (
        f"CREATE {kind} TRIGGER storm AFTER INSERT ON events {when} FOR EACH ROW EXECUTE FUNCTION storm()"
    )
    await sky.stage.run(_RAISING.format(sqlstate=sqlstate), trigger)
    await sky.for_a_while(1, 2)
    await sky.stage.run("DROP TRIGGER storm ON events")


@fault()
async def schema_changed(sky: FaultContext) -> None:
    """Add a column that every statement on accounts has to be planned anew for, and drop it."""
    await sky.stage.run("ALTER TABLE users ADD COLUMN storm int")
    await sky.for_a_while(0.2, 1)
    await sky.stage.run("ALTER TABLE users DROP COLUMN storm")


@fault()
async def migrations_at_once(sky: FaultContext) -> None:
    """Migrate three times at once, and kill one of them."""
    running = [await sky.stage.command("database", "migrate") for _ in range(3)]
    await sky.for_a_while(0, 1)
    with suppress(ProcessLookupError):
        running[0].kill()
    for process in running:
        _, status = await process.communicate(), process.returncode
        if status != 0 and process is not running[0]:
            raise InvariantViolated(f"a migration beside others ended with status {status}")


@fault()
async def hashing_flooded(sky: FaultContext) -> None:
    """Log in from many places at once."""
    clients = [Client(sky.load.port, "none", f"10.9.{n}.1") for n in range(100)]
    body = {"login_id": "nobody", "password": PASSWORD}
    for answer in await asyncio.gather(*(c.request("POST", "/v1/sessions", body) for c in clients)):
        sky.load.see(sky.load.fault, answer)


@fault()
async def same_login_id_wanted(sky: FaultContext) -> None:
    """Create the same account twenty times at once, ten times over."""
    for _ in range(10):
        subject = f"race-{sky.rng.randrange(10**12)}"
        await asyncio.gather(*(_want(sky, subject, f"{subject}-{number}") for number in range(20)))


async def _want(sky: FaultContext, subject: str, mark: str) -> None:
    client = Client(sky.load.port, sky.load.key)
    answer = await client.request("POST", "/v1/users", {"login_id": subject, "name": mark})
    await sky.load.print_status("race", subject, mark, sky.load.fault, answer)


@fault()
async def clients_vanishing(sky: FaultContext) -> None:
    """Hang up in the middle of requests, or right after them."""
    await asyncio.gather(*(_vanish(sky, f"gone-{sky.rng.randrange(10**12)}") for _ in range(50)))


async def _vanish(sky: FaultContext, subject: str) -> None:
    client = Client(sky.load.port, sky.load.key)
    message = client.message("POST", "/v1/users", {"login_id": subject, "name": subject})
    part = message[: sky.rng.randrange(1, len(message) * 2)]
    await _say(sky, [part], pause_s=sky.rng.uniform(0, 0.05))


@fault()
async def clients_slow(sky: FaultContext) -> None:
    """Send requests a byte at a time."""
    message = Client(sky.load.port, sky.load.key).message("POST", "/v1/users", {"login_id": "slow"})
    pieces = [message[position : position + 1] for position in range(20)]
    await asyncio.gather(*(_say(sky, pieces, pause_s=0.1) for _ in range(50)))


@fault()
async def descriptors_used_up(sky: FaultContext) -> None:
    """Leave a worker hardly any file descriptors, and take them all."""
    if not (workers := sky.stage.workers):
        return
    worker = sky.rng.choice(workers)
    with suppress(ProcessLookupError, FileNotFoundError):
        limits = resource.prlimit(
            worker, resource.RLIMIT_NOFILE, (open_files_of(worker) + _FILES_LEFT, _HARD_LIMIT)
        )
        await asyncio.gather(*(_say(sky, [b"", b""], pause_s=1) for _ in range(100)))
        resource.prlimit(worker, resource.RLIMIT_NOFILE, limits)


async def _say(sky: FaultContext, pieces: list[bytes], *, pause_s: float) -> None:
    """Send pieces with a pause after each, then hang up; the service may be away or hang up first."""
    with suppress(OSError):
        _, writer = await asyncio.open_connection("127.0.0.1", sky.load.port)
        try:
            for piece in pieces:
                writer.write(piece)
                await asyncio.sleep(pause_s)
        finally:
            writer.transport.abort()
