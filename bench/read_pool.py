"""`python -m bench.read_pool`: the read pool compared with the engine's own pool.

First a read of one user in process: on kept connections, with READ_POOL_SIZE=0, and as a bare statement on a
connection of the engine. Then requests to two service processes that take turns.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from functools import partial
from statistics import median
from typing import Any, cast
from uuid import UUID

import asyncpg
import uvloop

from bench import fixtures, load, servers
from bench.comparison import interleaved, say
from service.db.core.driver import FETCH_ONE, Record, driver_of
from service.db.core.engine import create_engine
from service.db.core.read_pool import ReadPool
from service.db.core.statements import Executor, Statement
from service.db.repositories.users import UserReads

ROUNDS = 5
SECONDS = 2.0
CONNECTIONS = 32
CALLERS = 1000
READ_ROUNDS = 40
READS = 64
SIZE = 4


def main() -> None:
    """Print processor times, and the median ratio of the read pool to each alternative."""
    with fixtures.database_server() as server:
        dsn = fixtures.fresh_database(server, "bench_read_pool", accounts=fixtures.ACCOUNTS)
        ids = uvloop.run(_user_ids(dsn))
        uvloop.run(_compare_reads(dsn, ids))
        _compare_requests(dsn, ids)


class BarePool:
    """Reads without a transaction on connections of the engine's pool."""

    def __init__(self, dsn: str) -> None:
        self.engine = create_engine(dsn, pool_size=SIZE)

    async def fetch_one(self, statement: Statement, /, **params: Any) -> Record | None:
        async with self.engine.connect() as connection:
            return await FETCH_ONE(driver_of(connection), statement.sql, *statement.arguments(params))


async def _compare_reads(dsn: str, ids: list[UUID]) -> None:
    async with _pools(dsn) as pools:
        for concurrency in (1, CONNECTIONS):
            taken: dict[str, list[float]] = {name: [] for name in pools}
            for _ in range(READ_ROUNDS):
                for name, reads in pools.items():
                    started_at = time.process_time()
                    for _ in range(READS // concurrency):
                        await asyncio.gather(*(reads.get(user_id) for user_id in ids[:concurrency]))
                    taken[name].append((time.process_time() - started_at) / READS * 1e6)
            print(f"a read of one user, {concurrency} at once")
            for name, spans in taken.items():
                ratio = median(map(float.__truediv__, taken["read pool"], spans))
                print(f"  {name:15}: {median(spans):4.0f} µs; read pool: {ratio:.2f} ×")


@asynccontextmanager
async def _pools(dsn: str) -> AsyncIterator[dict[str, UserReads]]:
    async with AsyncExitStack() as stack:
        engines = [create_engine(dsn, pool_size=SIZE + 1), create_engine(dsn, pool_size=SIZE)]
        bare = BarePool(dsn)
        for engine in (*engines, bare.engine):
            stack.push_async_callback(engine.dispose)
        kept, borrowed = ReadPool(engines[0], size=SIZE), ReadPool(engines[1], size=0)
        stack.push_async_callback(kept.close)
        await kept.start()
        yield {
            "read pool": UserReads(kept),
            "size 0": UserReads(borrowed),
            "bare statement": UserReads(cast(Executor, bare)),
        }


def _compare_requests(dsn: str, ids: list[UUID]) -> None:
    requests = {
        "GET /v1/users/me (token look-ups in batches)": fixtures.reads("/v1/users/me", CALLERS),
        "GET /v1/users/{id} (and a statement of its own)": [
            fixtures.get(f"/v1/users/{user_id}", fixtures.KEY) for user_id in ids
        ],
        "GET /v1/users?limit=50": [fixtures.get("/v1/users?limit=50", fixtures.KEY)],
    }
    with ExitStack() as stack:
        pools = {
            "read pool": stack.enter_context(servers.rollcall(dsn, "read-pool")),
            "size 0": stack.enter_context(
                servers.rollcall(dsn, "no-read-pool", ROLLCALL_DATABASE__READ_POOL_SIZE="0")
            ),
        }
        for name, sent in requests.items():
            _compare_request(name, pools, sent)


def _compare_request(name: str, pools: dict[str, servers.Server], requests: list[bytes]) -> None:
    outcomes: dict[str, list[load.LoadResult]] = {pool: [] for pool in pools}
    postgres_us: dict[str, list[float]] = {pool: [] for pool in pools}

    def service_us(pool: str) -> float:
        service_s, postgres_s = pools[pool].processor_s(), servers.database_s()
        outcome = load.full_speed(pools[pool].port, requests, connections=CONNECTIONS, seconds=SECONDS)
        if outcome.rejected:
            raise RuntimeError(f"{pool} rejected {outcome.rejected} of {outcome.responses} requests")
        outcomes[pool].append(outcome)
        postgres_us[pool].append((servers.database_s() - postgres_s) / outcome.responses * 1e6)
        return (pools[pool].processor_s() - service_s) / outcome.responses * 1e6

    say(name)
    rounds = interleaved(ROUNDS, "µs a request", {pool: partial(service_us, pool) for pool in pools})
    print(f"{name}, {CONNECTIONS} connections")
    for pool, seen in outcomes.items():
        ratio = median(taken["read pool"] / taken[pool] for taken in rounds)
        print(
            f"  {pool:15}: {median(taken[pool] for taken in rounds):4.0f} µs; read pool: {ratio:.2f} ×;"
            f" PostgreSQL {median(postgres_us[pool]):4.0f} µs;"
            f" {median(outcome.rate for outcome in seen):6.0f}/s,"
            f" p99 {median(outcome.p99_ms for outcome in seen):5.1f} ms"
        )


async def _user_ids(dsn: str) -> list[UUID]:
    connection = await asyncpg.connect(dsn)
    try:
        return [row[0] for row in await connection.fetch("SELECT id FROM users LIMIT $1", CALLERS)]
    finally:
        await connection.close()


if __name__ == "__main__":
    main()
