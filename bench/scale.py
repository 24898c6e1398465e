"""The same questions to a small and to a large table of accounts, one after the other."""

import json
from contextlib import ExitStack
from random import Random
from statistics import median
from typing import Any
from urllib.parse import quote
from urllib.request import Request, urlopen

from bench import fixtures, load, servers
from bench.comparison import Comparison, Plan, say
from service.embedded.server import EmbeddedPostgres

SMALL = 10_000
PAGE = 10
ASKED = 500


def measure(server: EmbeddedPostgres, plan: Plan) -> list[Comparison]:
    sizes = {"small": SMALL, "large": plan.rows}
    dsns = {}
    for name, rows in sizes.items():
        say(f"  a table of {rows:,} accounts")
        dsns[name] = fixtures.kept_database(server, f"bench_{name}", accounts=rows)
    with ExitStack() as stack:
        running = {name: stack.enter_context(servers.rollcall(dsn, name)) for name, dsn in dsns.items()}
        asked = {name: _questions(running[name], rows) for name, rows in sizes.items()}
        return [_compare(question, running, asked, plan) for question in asked["small"]]


def _compare(
    question: str,
    running: dict[str, servers.Server],
    asked: dict[str, dict[str, list[bytes]]],
    plan: Plan,
) -> Comparison:
    figure = Comparison(
        f"{question} at {plan.rows:,} accounts: p50", f"at {SMALL:,}", "ms", 1.3, at_least=False
    )
    for number in range(plan.rounds + 1):
        p50 = {name: _p50(running[name], asked[name][question]) for name in running}
        if number:
            figure.add(p50["large"], p50["small"])
    say(
        f"  {question}: {median(figure.ours):.2f} ms at {plan.rows:,}, "
        f"{median(figure.theirs):.2f} ms at {SMALL:,}"
    )
    return figure


def _p50(server: servers.Server, requests: list[bytes]) -> float:
    outcome = load.run(load.Source(server.port, requests, 1), seconds=1.0)[0]
    if outcome.rejected or not outcome.responses:
        raise RuntimeError(f"{outcome.rejected} of {outcome.responses} requests were refused")
    return median(outcome.latencies_ms)


def _questions(server: servers.Server, rows: int) -> dict[str, list[bytes]]:
    random = Random(7)
    numbers = [random.randrange(1, rows - 100) for _ in range(ASKED)]
    ids = [_items(server, f"?login_id={fixtures.login_id(number)}")[0]["id"] for number in numbers]
    paths = {
        "get by id": [f"/v1/users/{id_}" for id_ in ids],
        "exact lookup": [f"/v1/users?login_id={fixtures.login_id(number)}" for number in numbers],
        "prefix search": [f"/v1/users?limit={PAGE}&q={fixtures.login_id(number)[:-2]}" for number in numbers],
        "first page": [f"/v1/users?limit={PAGE}"],
        "1000th page": [f"/v1/users?limit={PAGE}&cursor={_cursor_of_page(server, 999)}"],
    }
    return {question: [fixtures.get(path, fixtures.KEY) for path in each] for question, each in paths.items()}


def _cursor_of_page(server: servers.Server, pages: int) -> str:
    cursor = ""
    for _ in range(pages):
        page = _ask(server, f"?limit={PAGE}" + (f"&cursor={cursor}" if cursor else ""))
        cursor = quote(page["next_cursor"])
    return cursor


def _items(server: servers.Server, query: str) -> list[dict[str, str]]:
    items: list[dict[str, str]] = _ask(server, query)["items"]
    return items


def _ask(server: servers.Server, query: str) -> Any:
    request = Request(
        f"http://127.0.0.1:{server.port}/v1/users{query}", headers={"Authorization": f"Bearer {fixtures.KEY}"}
    )
    with urlopen(request, timeout=30) as answer:
        return json.load(answer)
