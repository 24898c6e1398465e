"""Operations that argon2 bounds: login, creation, and reads during a burst of logins."""

import os
import secrets
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from bench import fixtures, load, servers
from bench.comparison import Comparison, Plan, interleaved, say

CORES = len(os.sched_getaffinity(0))
CLIENTS = 64
BURST_CLIENTS = 200
LARGE_BURST_CLIENTS = 1000
STEADY_RATE = 200
MEMORY_KIB = 19456


def measure(dsn: str, plan: Plan) -> list[Comparison]:
    with servers.rollcall(dsn) as server:
        return [*_rates(server, plan), *_login_bursts(server, plan)]


def argon2_limit(work: Callable[[], object], seconds: float) -> float:
    """Return how many times a second `work` completes on all cores, in bare threads."""
    stop = threading.Event()

    def repeat() -> int:
        done = 0
        while not stop.is_set():
            work()
            done += 1
        return done

    with ThreadPoolExecutor(CORES) as pool:
        started_at = time.perf_counter()
        counts = [pool.submit(repeat) for _ in range(CORES)]
        time.sleep(seconds)
        stop.set()
        total = sum(count.result() for count in counts)
        return total / (time.perf_counter() - started_at)


def verify() -> object:
    return fixtures.HASHER.verify(fixtures.PASSWORD_HASH, fixtures.PASSWORD)


def _rates(server: servers.Server, plan: Plan) -> list[Comparison]:
    login = Comparison(f"log in, {CLIENTS} clients", "argon2 verify in bare threads on all cores", "/s", 0.95)
    create = Comparison(
        f"create user, {CLIENTS} clients", "argon2 hash in bare threads on all cores", "/s", 0.95
    )
    profile = _Profile(server)
    logins = _RoundRobin(fixtures.logins())
    measures: dict[str, Callable[[], float]] = {
        "log in": lambda: profile.of(lambda: _run_load(server, logins.next(), plan.seconds)),
        "verify": lambda: argon2_limit(verify, plan.seconds),
        "create": lambda: _run_load(server, _new_accounts(plan), plan.seconds).rate,
        "hash": lambda: argon2_limit(lambda: fixtures.HASHER.hash(fixtures.PASSWORD), plan.seconds),
    }
    for seen in interleaved(plan.rounds, "passwords", measures):
        login.add(seen["log in"], seen["verify"])
        create.add(seen["create"], seen["hash"])
        profile.add(1000 * CORES / seen["verify"])
    return [login, create, *profile.comparisons]


class _Profile:
    """The processor time of a login by part, beside that of a hash in a bare thread."""

    def __init__(self, server: servers.Server) -> None:
        self._server = server
        parts = ("hashing threads", "event loop", "PostgreSQL")
        against = "a hash in a bare thread"
        self.comparisons = [
            Comparison(f"processor time of a login: {part}", against, "ms", None) for part in parts
        ]
        self._spent_ms: tuple[float, ...] = ()

    def of(self, measure: Callable[[], load.LoadResult]) -> float:
        """Measure logins, keep their processor time, and return their rate."""
        before = self._used_s()
        result = measure()
        responses = result.responses + CLIENTS  # the ones in flight at the end complete as well
        used = zip(self._used_s(), before, strict=True)
        self._spent_ms = tuple(1000 * (after_s - before_s) / responses for after_s, before_s in used)
        return result.rate

    def add(self, hash_ms: float) -> None:
        """Add the processor time of the last measurement as that of a round."""
        for comparison, spent_ms in zip(self.comparisons, self._spent_ms, strict=True):
            comparison.add(spent_ms, hash_ms)

    def _used_s(self) -> tuple[float, float, float]:
        loop_s = self._server.event_loop_s()
        return self._server.processor_s() - loop_s, loop_s, servers.database_s()


def _login_bursts(server: servers.Server, plan: Plan) -> list[Comparison]:
    without_it = "the same without"
    steady = Comparison(_reads_during(BURST_CLIENTS) + ": p99", without_it, "ms", 3.0, at_least=False)
    logins = Comparison("logins in that burst", "argon2 verify in bare threads on all cores", "/s", 0.85)
    reads = Comparison("16 readers at full speed during the burst", without_it, "/s", 0.5)
    reads_p99 = Comparison(f"{reads.name}: p99", without_it, "ms", 3.0, at_least=False)
    memory = Comparison(
        "resident memory during the burst",
        "idle + workers × memory of a hash",
        "MiB",
        100,
        at_least=False,
        is_difference=True,
    )
    large_p50 = Comparison(_reads_during(LARGE_BURST_CLIENTS) + ": p50", without_it, "ms", None)
    large_p99 = Comparison(_reads_during(LARGE_BURST_CLIENTS) + ": p99", without_it, "ms", None)
    large_logins = Comparison(
        f"logins in a burst of {LARGE_BURST_CLIENTS} clients", logins.against, "/s", None
    )
    idle_mib = server.resident_mib() + CORES * MEMORY_KIB / 1024
    paced = load.Source(server.port, fixtures.reads("/v1/users/me"), 64, STEADY_RATE)
    eager = load.Source(server.port, fixtures.reads("/v1/users/me"), 16)
    burst = _LoginBurst(server, 2 * plan.seconds)
    for number in range(plan.rounds):
        limit = argon2_limit(verify, plan.seconds)
        quiet = load.run(paced, seconds=2 * plan.seconds)[0]
        logging_in, reading = burst.run(BURST_CLIENTS, paced)
        memory.add(server.resident_mib(), idle_mib)
        steady.add(reading.p99_ms, quiet.p99_ms)
        logins.add(logging_in.rate, limit)
        fast_quiet = load.run(eager, seconds=plan.seconds)[0]
        also, fast_reading = burst.run(BURST_CLIENTS, eager)
        reads.add(fast_reading.rate, fast_quiet.rate)
        reads_p99.add(fast_reading.p99_ms, fast_quiet.p99_ms)
        many, slowed = burst.run(LARGE_BURST_CLIENTS, paced)
        large_p50.add(slowed.p50_ms, quiet.p50_ms)
        large_p99.add(slowed.p99_ms, quiet.p99_ms)
        large_logins.add(many.rate, limit)
        say(
            f"  burst, round {number + 1} of {plan.rounds}: "
            f"steady p99 {quiet.p99_ms:.1f} → {reading.p99_ms:.1f} ms, "
            f"logins {logging_in.rate:.1f}/s of {limit:.1f}/s ({logging_in.rejected} rejected), "
            f"full speed {fast_quiet.rate:.0f} → {fast_reading.rate:.0f}/s, p99 {fast_quiet.p99_ms:.1f} → "
            f"{fast_reading.p99_ms:.1f} ms beside {also.rate:.1f} logins/s; {LARGE_BURST_CLIENTS} clients: "
            f"p50 {slowed.p50_ms:.1f}, p99 {slowed.p99_ms:.1f} ms, {many.rate:.1f} logins/s"
        )
    return [steady, logins, reads, reads_p99, memory, large_p50, large_p99, large_logins]


def _reads_during(clients: int) -> str:
    return f"reads at {STEADY_RATE}/s while {clients} clients log in"


class _LoginBurst:
    """Clients that log in as fast as they can."""

    def __init__(self, server: servers.Server, seconds: float) -> None:
        self._server = server
        self._seconds = seconds
        self._logins = _RoundRobin(fixtures.logins())

    def run(self, clients: int, reads: load.Source) -> tuple[load.LoadResult, load.LoadResult]:
        """Log in and read concurrently; return the results of both."""
        source = load.Source(self._server.port, self._logins.next(), clients)
        results = load.run_during(source, reads, seconds=self._seconds)
        self._server.wait_until_idle()
        return results


class _RoundRobin:
    """Requests that continue elsewhere in each run, so that no account logs in twice at once."""

    def __init__(self, requests: list[bytes]) -> None:
        self._requests = requests
        self._offset = 0

    def next(self) -> list[bytes]:
        self._offset += 1371
        return fixtures.rotated(self._requests, self._offset)


def _new_accounts(plan: Plan) -> list[bytes]:
    return fixtures.creations(
        f"new{secrets.token_hex(4)}x", round(1000 * plan.seconds), password=fixtures.PASSWORD
    )


def _run_load(server: servers.Server, requests: list[bytes], seconds: float) -> load.LoadResult:
    result = load.full_speed(server.port, requests, connections=CLIENTS, seconds=seconds)
    server.wait_until_idle()
    if result.rejected:
        say(f"  {result.rejected} of {result.responses} requests were rejected")
    return result
