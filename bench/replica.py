"""`python -m bench.replica`: the cost of a read from a standby beside that of a read from the primary."""

import asyncio
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from statistics import median
from time import perf_counter

import httpx

from service.db.core.replica import Outcome, Replica
from service.db.migrations.running import upgrade
from service.db.reads import Reads
from service.domain.users import UserRole
from service.domain.wal_position import WalPosition
from service.embedded.server import EmbeddedPostgres
from service.security.tokens import SESSION_PREFIX, digest_of
from service.services import Services
from tests.support.api import Account, Api
from tests.support.settings import settings_for_tests
from tests.support.standbys import standby_of

ROUNDS = 200
READS = 64
Read = Callable[[], Awaitable[object]]


async def main() -> None:
    """Print the median of many interleaved rounds, one read at a time and many concurrently."""
    async with _pair() as (service, replica):
        async with httpx.AsyncClient(trust_env=False) as unused:  # accounts are made past the API
            account = await Api(unused, service).account("ada", role=UserRole.ADMIN)
        reads = await _reads(service, replica, account)
        for at_once in (1, READS):
            taken: dict[str, list[float]] = {name: [] for name in reads}
            for _ in range(ROUNDS):
                for name, read in reads.items():
                    taken[name].append(await _time(read, at_once))
            for name, spans in taken.items():
                print(f"{at_once:3} concurrently  {median(spans) * 1e6:6.0f} µs  {name}")


async def _reads(service: Services, replica: Replica, account: Account) -> dict[str, Read]:
    digest = digest_of(account.token, SESSION_PREFIX)
    assert digest is not None
    plain, routed = Reads(service.read_pool), service.reads
    while not replica.is_healthy:
        await replica.probe()
    caller = await routed.sessions.find_live(digest)
    assert caller is not None
    wal_position = caller.wal_position
    assert wal_position is not None
    while not replica.outcomes[Outcome.ANSWERED]:
        await routed.at(wal_position).users.get(account.id)

    async def read_after_a_write() -> None:
        replica._reached.clear()  # noqa: SLF001 - as after a write: the position must be queried
        await routed.at(wal_position).users.get(account.id)

    return {
        "user from the primary": lambda: plain.users.get(account.id),
        "user from the replica, known to have caught up": lambda: routed.at(wal_position).users.get(
            account.id
        ),
        "user from the replica, after a query of its position": read_after_a_write,
        "user from the primary, because the replica is behind": lambda: routed.at(
            WalPosition(wal_position.timeline, wal_position.position + 2**40)
        ).users.get(account.id),
        "authentication": lambda: plain.sessions.find_live(digest),
        "authentication with WAL position": lambda: routed.sessions.find_live(digest),
    }


async def _time(read: Read, at_once: int) -> float:
    await read()  # the first read that finds the replica behind waits 15 ms for it
    started_at = perf_counter()
    for _ in range(READS // at_once):
        await asyncio.gather(*(read() for _ in range(at_once)))
    return (perf_counter() - started_at) / READS


@asynccontextmanager
async def _pair() -> AsyncIterator[tuple[Services, Replica]]:
    with tempfile.TemporaryDirectory(prefix="rollcall-bench-") as name:
        directory = Path(name)
        with EmbeddedPostgres(directory / "primary") as postgres:
            await upgrade(postgres.dsn)
            with standby_of(postgres.dsn, directory / "standby") as standby:
                settings = settings_for_tests(database={"replica_url": standby.dsn})
                async with Services(settings, postgres.dsn).closing() as service:
                    replica = service.replica
                    assert replica is not None  # the settings name one
                    yield service, replica


if __name__ == "__main__":
    asyncio.run(main())
