"""`python -m bench`: measure, and write bench/results."""

import argparse
import subprocess
from collections.abc import Callable

from bench import fixtures, footprint, hashing, reading, report, scale, servers, serving, sessions
from bench.figures import Figure, Plan, say
from service.embedded.binaries import binary

PARTS = ("reading", "hashing", "footprint", "scale", "sessions", "serving")


def main() -> int:
    """Give 0 whatever the figures are: a missed goal is a result, and not a failure of the measurement."""
    arguments = _arguments()
    plan = Plan(arguments.rounds, arguments.seconds, arguments.rows, arguments.sessions)
    figures: list[Figure] = []
    with fixtures.database_server() as server:
        say(f"Making a database of {fixtures.ACCOUNTS:,} accounts")
        dsn = fixtures.fresh_database(server, "bench", accounts=fixtures.ACCOUNTS)
        parts: dict[str, Callable[[], list[Figure]]] = {
            "reading": lambda: reading.measure(dsn, plan),
            "hashing": lambda: hashing.measure(dsn, plan),
            "footprint": lambda: footprint.measure(dsn, plan),
            "scale": lambda: scale.measure(server, plan),
            "sessions": lambda: sessions.measure(server, plan),
            "serving": lambda: serving.measure(dsn, plan),
        }
        for name in arguments.only or parts:
            say(f"Measuring: {name}")
            figures += parts[name]()
            if not arguments.only:  # part by part, so that an interrupted run leaves what it has
                report.write(figures, plan, _postgres(), servers.PEERS_PYTHON)
                say(f"Written: {report.RESULTS.relative_to(servers.ROOT)}")
    print(report.table(figures))
    return 0


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
    return parser.parse_args()


def _postgres() -> str:
    return subprocess.run(
        [str(binary("postgres")), "--version"], check=True, capture_output=True, text=True
    ).stdout.strip()


if __name__ == "__main__":
    raise SystemExit(main())
