"""Authenticated reads and introspection at full speed, on 32 and 128 connections."""

from contextlib import ExitStack

from bench import fixtures, load, servers
from bench.comparison import Comparison, Plan, say

PATHS = ("/v1/users/me", "/v1/sessions/current")
CONNECTIONS = (32, 128)
BASELINE = "bare Litestar route on a raw asyncpg pool"
PEERS = {
    "fastapi_orm": ("FastAPI + SQLAlchemy ORM session", 5.0),
    "advanced_alchemy": ("Litestar + advanced-alchemy", 8.0),
}


def measure(dsn: str, plan: Plan) -> list[Comparison]:
    with ExitStack() as stack:
        running = {"rollcall": stack.enter_context(servers.rollcall(dsn))}
        running |= {name: stack.enter_context(servers.peer(name, dsn)) for name in ("baseline", *PEERS)}
        comparisons = []
        for path in PATHS:
            for connections in CONNECTIONS:
                comparisons += _compare(running, path, connections, plan)
        return comparisons + _introspection(running, plan)


def _compare(running: dict[str, servers.Server], path: str, connections: int, plan: Plan) -> list[Comparison]:
    what = f"GET {path}, {connections} connections"
    rate = Comparison(what, BASELINE, "/s", 1.1)
    p99 = Comparison(f"{what}: p99", BASELINE, "ms", 0.5, at_least=False)
    peers = {name: Comparison(what, about, "/s", goal) for name, (about, goal) in PEERS.items()}
    requests = fixtures.reads(path)
    for number in range(plan.rounds + 1):
        seen = {name: _load(server, requests, connections, plan) for name, server in running.items()}
        if number == 0:
            continue  # a round to warm up
        say(f"  {what}, round {number} of {plan.rounds}: " + _summary(seen))
        ours, baseline = seen["rollcall"], seen["baseline"]
        rate.add(ours.rate, baseline.rate)
        p99.add(ours.p99_ms, baseline.p99_ms)
        for name, comparison in peers.items():
            comparison.add(ours.rate, seen[name].rate)
    return [rate, p99, *peers.values()]


def _introspection(running: dict[str, servers.Server], plan: Plan) -> list[Comparison]:
    rate = Comparison(
        "POST /v1/introspect by a service's key, 32 connections", f"{BASELINE}, form read", "/s", 0.9
    )
    requests = fixtures.introspections()
    for number in range(plan.rounds + 1):
        seen = {name: _load(running[name], requests, 32, plan) for name in ("rollcall", "baseline")}
        if number:
            say(f"  introspection, round {number} of {plan.rounds}: " + _summary(seen))
            rate.add(seen["rollcall"].rate, seen["baseline"].rate)
    return [rate]


def _load(server: servers.Server, requests: list[bytes], connections: int, plan: Plan) -> load.LoadResult:
    result = load.full_speed(server.port, requests, connections=connections, seconds=plan.seconds)
    if result.rejected:
        raise RuntimeError(f"{server.name} rejected {result.rejected} of {result.responses} requests")
    return result


def _summary(seen: dict[str, load.LoadResult]) -> str:
    return ", ".join(
        f"{name} {result.rate:.0f}/s p99 {result.p99_ms:.1f} ms" for name, result in seen.items()
    )
