"""Memory of a worker, and time from the start to the first response."""

import subprocess
import sys
import time
from contextlib import ExitStack

from bench import fixtures, load, servers
from bench.comparison import Comparison, Plan, interleaved
from service.embedded.server import EmbeddedPostgres

REQUESTS = 100_000


def measure(dsn: str, plan: Plan) -> list[Comparison]:
    return [*_memory(dsn), _start(plan)]


def _memory(dsn: str) -> list[Comparison]:
    idle = Comparison(
        "resident memory of a worker, idle", "a bare Litestar route", "MiB", 1.5, at_least=False
    )
    used = Comparison(
        "resident memory after 100 k requests",
        "a bare Litestar route after as many",
        "MiB",
        1.5,
        at_least=False,
    )
    growth = Comparison(
        "its growth from 10 k to 100 k requests", "the memory at 10 k", "MiB", 1.05, at_least=False
    )
    with ExitStack() as stack:
        ours = stack.enter_context(servers.rollcall(dsn))
        bare = stack.enter_context(servers.peer("bare", dsn))
        idle.add(ours.resident_mib(), bare.resident_mib())
        _send(ours, REQUESTS // 10)
        early = ours.resident_mib()
        _send(ours, REQUESTS - REQUESTS // 10)
        _send(bare, REQUESTS)
        used.add(ours.resident_mib(), bare.resident_mib())
        growth.add(ours.resident_mib(), early)
    return [idle, used, growth]


def _send(server: servers.Server, count: int) -> None:
    requests, sent = fixtures.reads("/v1/users/me"), 0
    while sent < count:
        sent += load.full_speed(server.port, requests, connections=32, seconds=2).responses


def _start(plan: Plan) -> Comparison:
    comparison = Comparison(
        "start to the first 200, migrated embedded database",
        'python -c "import litestar, sqlalchemy" + PostgreSQL start', "s", 2.0, at_least=False,
    )  # fmt: skip
    directory = servers.STATE / "start"
    with EmbeddedPostgres(directory) as embedded:
        fixtures.migrate(embedded.dsn)
    with servers.rollcall(None, "start", ROLLCALL_DATABASE__EMBEDDED_DIR=str(directory)):
        pass  # the first run makes an administrator

    def serve() -> float:
        with servers.rollcall(None, "start", ROLLCALL_DATABASE__EMBEDDED_DIR=str(directory)) as server:
            return server.started_in_s

    def parts() -> float:
        started_at = time.perf_counter()
        subprocess.run([sys.executable, "-c", "import litestar, sqlalchemy"], check=True)
        embedded = EmbeddedPostgres(directory)
        embedded.start()
        taken = time.perf_counter() - started_at
        embedded.stop()
        return taken

    for seen in interleaved(plan.rounds, "start", {"Rollcall": serve, "its parts": parts}):
        comparison.add(seen["Rollcall"], seen["its parts"])
    return comparison
