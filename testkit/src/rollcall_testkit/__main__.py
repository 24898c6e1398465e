"""`python -m rollcall_testkit [CHECKOUT]`: check whether the kit works here, and measure it."""

import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

from rollcall_testkit.checkout import Checkout, find_checkout
from rollcall_testkit.client import Rollcall
from rollcall_testkit.errors import RollcallUnavailable
from rollcall_testkit.server import RollcallServer, serving

_ROUNDS = 200


def main(home: str) -> None:
    """Start twice, without and with a template, and measure what each test would do."""
    checkout = find_checkout(home, Path.cwd())
    with tempfile.TemporaryDirectory(prefix="rollcall-testkit-") as name:
        with _timed_start("first start", checkout, Path(name), "first"):
            pass
        with _timed_start("later starts", checkout, Path(name), "second") as server:
            rollcall = Rollcall(server.url, server.root)
            _print_ms("request", _median_ms(lambda: rollcall.request("GET", "/v1/users/me", by=server.root)))
            _print_ms("user()", _median_ms(rollcall.user))
            _print_ms("reset", _median_ms(server.reset, before=rollcall.user))


@contextmanager
def _timed_start(what: str, checkout: Checkout, directory: Path, run: str) -> Iterator[RollcallServer]:
    own = directory / run
    own.mkdir()
    started_at = time.perf_counter()
    with serving(checkout, {}, directory=own, cache=directory) as server:
        _print_ms(what, (time.perf_counter() - started_at) * 1000)
        yield server


def _median_ms(work: Callable[[], object], before: Callable[[], object] = lambda: None) -> float:
    times = []
    for _ in range(_ROUNDS):
        before()
        started_at = time.perf_counter()
        work()
        times.append((time.perf_counter() - started_at) * 1000)
    return median(times)


def _print_ms(what: str, ms: float) -> None:
    print(f"{what:<14}{ms:8.1f} ms", flush=True)


if __name__ == "__main__":
    try:
        main(sys.argv[1] if len(sys.argv) > 1 else "")
    except RollcallUnavailable as error:
        sys.exit(str(error))
