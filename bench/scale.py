"""The same requests on a small and on a large table of accounts, one at a time."""

import json
from contextlib import ExitStack
from random import Random
from statistics import median
from typing import Any
from urllib.parse import quote
from urllib.request import ProxyHandler, Request, build_opener

from bench import fixtures, load, servers
from bench.comparison import Comparison, Plan, say
from service.embedded.server import EmbeddedPostgres

SMALL = 10_000
PAGE = 10
REQUESTS = 500


def measure(server: EmbeddedPostgres, plan: Plan) -> list[Comparison]:
    sizes = {"small": SMALL, "large": plan.rows}
    dsns = {}
    for name, rows in sizes.items():
        say(f"  a table of {rows:,} accounts")
        dsns[name] = fixtures.kept_database(server, f"bench_{name}", accounts=rows)
    with ExitStack() as stack:
        running = {name: stack.enter_context(servers.rollcall(dsn, name)) for name, dsn in dsns.items()}
        requests = {name: _requests(running[name], rows) for name, rows in sizes.items()}
        return [_compare(operation, running, requests, plan) for operation in requests["small"]]


def _compare(
    operation: str,
    running: dict[str, servers.Server],
    requests: dict[str, dict[str, list[bytes]]],
    plan: Plan,
) -> Comparison:
    comparison = Comparison(
        f"{operation} at {plan.rows:,} accounts: p50", f"at {SMALL:,}", "ms", 1.3, at_least=False
    )
    for number in range(plan.rounds + 1):
        p50 = {name: _p50(running[name], requests[name][operation]) for name in running}
        if number:
            comparison.add(p50["large"], p50["small"])
    say(
        f"  {operation}: {median(comparison.ours):.2f} ms at {plan.rows:,}, "
        f"{median(comparison.theirs):.2f} ms at {SMALL:,}"
    )
    return comparison


def _p50(server: servers.Server, requests: list[bytes]) -> float:
    result = load.run(load.Source(server.port, requests, 1), seconds=1.0)[0]
    if result.rejected or not result.responses:
        raise RuntimeError(f"{result.rejected} of {result.responses} requests were rejected")
    return median(result.latencies_ms)


def _requests(server: servers.Server, rows: int) -> dict[str, list[bytes]]:
    random = Random(7)
    numbers = [random.randrange(1, rows - 100) for _ in range(REQUESTS)]
    ids = [_items(server, f"?login_id={fixtures.login_id(number)}")[0]["id"] for number in numbers]
    paths = {
        "get by id": [f"/v1/users/{id_}" for id_ in ids],
        "exact lookup": [f"/v1/users?login_id={fixtures.login_id(number)}" for number in numbers],
        "prefix search": [f"/v1/users?limit={PAGE}&q={fixtures.login_id(number)[:-2]}" for number in numbers],
        "first page": [f"/v1/users?limit={PAGE}"],
        "1000th page": [f"/v1/users?limit={PAGE}&cursor={_cursor_of_page(server, 999)}"],
    }
    return {
        operation: [fixtures.get(path, fixtures.KEY) for path in each] for operation, each in paths.items()
    }


def _cursor_of_page(server: servers.Server, pages: int) -> str:
    cursor = ""
    for _ in range(pages):
        page = _get(server, f"?limit={PAGE}" + (f"&cursor={cursor}" if cursor else ""))
        cursor = quote(page["next_cursor"])
    return cursor


def _items(server: servers.Server, query: str) -> list[dict[str, str]]:
    items: list[dict[str, str]] = _get(server, query)["items"]
    return items


def _get(server: servers.Server, query: str) -> Any:
    request = Request(
        f"http://127.0.0.1:{server.port}/v1/users{query}", headers={"Authorization": f"Bearer {fixtures.KEY}"}
    )
    with build_opener(ProxyHandler({})).open(request, timeout=30) as response:
        return json.load(response)
