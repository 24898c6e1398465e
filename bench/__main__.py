"""`python -m bench`: measure against limits and peers, or this checkout against another one."""

import argparse
import subprocess
from collections.abc import Callable

from bench import (
    compare,
    fixtures,
    footprint,
    hashing,
    integrations,
    reading,
    report,
    scale,
    servers,
    serving,
    sessions,
)
from bench.comparison import Comparison, Plan, say
from harness.service_process import ROOT
from service.embedded.binaries import binary

PARTS = ("reading", "integrations", "hashing", "footprint", "scale", "sessions", "serving")


def main() -> int:
    """Return 0 whatever was measured: a missed goal is a result, and not a failure of the measurement."""
    arguments = _arguments()
    plan = Plan(arguments.rounds, arguments.seconds, arguments.rows, arguments.sessions)
    if arguments.command == "compare":
        comparisons = compare.compare(arguments.here, arguments.base, plan, arguments.operation)
    else:
        comparisons = _measure(plan, arguments.only)
    print(report.table(comparisons))
    return 0


def _measure(plan: Plan, only: list[str] | None) -> list[Comparison]:
    comparisons: list[Comparison] = []
    with fixtures.database_server() as server:
        say(f"Making a database of {fixtures.ACCOUNTS:,} accounts")
        dsn = fixtures.fresh_database(server, "bench", accounts=fixtures.ACCOUNTS)
        parts: dict[str, Callable[[], list[Comparison]]] = {
            "reading": lambda: reading.measure(dsn, plan),
            "integrations": lambda: integrations.measure(dsn, plan),
            "hashing": lambda: hashing.measure(dsn, plan),
            "footprint": lambda: footprint.measure(dsn, plan),
            "scale": lambda: scale.measure(server, plan),
            "sessions": lambda: sessions.measure(server, plan),
            "serving": lambda: serving.measure(dsn, plan),
        }
        for name in only or parts:
            say(f"Measuring: {name}")
            comparisons += parts[name]()
            if not only:  # part by part, so that an interrupted run leaves what it has
                report.write(comparisons, plan, _postgres(), servers.PEERS_PYTHON)
                say(f"Written: {report.RESULTS.relative_to(ROOT)}")
    return comparisons


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="how often each comparison is repeated")
    parser.add_argument("--seconds", type=float, default=3.0, help="how long each measurement takes")
    parser.add_argument("--rows", type=int, default=10_000_000, help="accounts in the large table")
    parser.add_argument("--sessions", type=int, default=10_000_000, help="sessions in the large table")
    parser.add_argument(
        "--only", action="append", choices=PARTS,
        help="measure a part, without writing results",
    )  # fmt: skip
    comparing = parser.add_subparsers(dest="command").add_parser(
        "compare", help="measure this checkout against another one, on the terminal only"
    )
    comparing.add_argument(
        "--here", default=str(ROOT), help="another checkout, or a commit, in place of this one"
    )
    comparing.add_argument("--base", required=True, help="the directory of a checkout, or a commit")
    comparing.add_argument(
        "--operation", action="append", choices=list(compare.OPERATIONS), help="measure this one alone"
    )
    return parser.parse_args()


def _postgres() -> str:
    return subprocess.run(
        [str(binary("postgres")), "--version"], check=True, capture_output=True, text=True
    ).stdout.strip()


if __name__ == "__main__":
    raise SystemExit(main())
