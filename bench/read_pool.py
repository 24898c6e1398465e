"""`python -m bench.read_pool`: kept connections for reads compared with the engine's own pool.

Two service processes take turns at the same requests: one with the default READ_POOL_SIZE, one with 0.
"""

from contextlib import ExitStack
from functools import partial
from statistics import median
from uuid import UUID

import asyncpg
import uvloop

from bench import fixtures, load, servers
from bench.comparison import interleaved, say

ROUNDS = 5
SECONDS = 2.0
CONNECTIONS = 32
CALLERS = 1000


def main() -> None:
    """Print the processor time per request, the rate and the p99 of both, and the median of the ratios."""
    with ExitStack() as stack:
        server = stack.enter_context(fixtures.database_server())
        dsn = fixtures.fresh_database(server, "bench_read_pool", accounts=fixtures.ACCOUNTS)
        pools = {
            "kept": stack.enter_context(servers.rollcall(dsn, "kept")),
            "engine": stack.enter_context(
                servers.rollcall(dsn, "engine", ROLLCALL_DATABASE__READ_POOL_SIZE="0")
            ),
        }
        ids = uvloop.run(_user_ids(dsn))
        requests = {
            "GET /v1/users/me (token look-ups in batches)": fixtures.reads("/v1/users/me", CALLERS),
            "GET /v1/users/{id} (and a statement of its own)": [
                fixtures.get(f"/v1/users/{user_id}", fixtures.KEY) for user_id in ids
            ],
            "GET /v1/users?limit=50": [fixtures.get("/v1/users?limit=50", fixtures.KEY)],
        }
        for name, sent in requests.items():
            _compare(name, pools, sent)


def _compare(name: str, pools: dict[str, servers.Server], requests: list[bytes]) -> None:
    outcomes: dict[str, list[load.LoadResult]] = {pool: [] for pool in pools}

    def processor_us(pool: str) -> float:
        service, postgres = pools[pool].processor_s(), servers.database_s()
        outcome = load.full_speed(pools[pool].port, requests, connections=CONNECTIONS, seconds=SECONDS)
        if outcome.rejected:
            raise RuntimeError(f"{pool} rejected {outcome.rejected} of {outcome.responses} requests")
        outcomes[pool].append(outcome)
        postgres_us[pool].append((servers.database_s() - postgres) / outcome.responses * 1e6)
        return (pools[pool].processor_s() - service) / outcome.responses * 1e6

    postgres_us: dict[str, list[float]] = {pool: [] for pool in pools}
    say(name)
    rounds = interleaved(ROUNDS, "µs a request", {pool: partial(processor_us, pool) for pool in pools})
    print(f"{name}, {CONNECTIONS} connections")
    for pool, seen in outcomes.items():
        print(
            f"  {pool:6}: {median(taken[pool] for taken in rounds):4.0f} µs of the service,"
            f" {median(postgres_us[pool]):4.0f} µs of PostgreSQL,"
            f" {median(outcome.rate for outcome in seen):6.0f}/s,"
            f" p99 {median(outcome.p99_ms for outcome in seen):5.1f} ms"
        )
    ratio = median(taken["kept"] / taken["engine"] for taken in rounds)
    print(f"  kept / engine, processor time of the service: {ratio:.2f} ×")


async def _user_ids(dsn: str) -> list[UUID]:
    connection = await asyncpg.connect(dsn)
    try:
        return [row[0] for row in await connection.fetch(f"SELECT id FROM users LIMIT {CALLERS}")]
    finally:
        await connection.close()


if __name__ == "__main__":
    main()
