"""What is bounded by argon2: logging in, creating accounts, and reading while a storm of log-ins goes on."""

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
STORM_CLIENTS = 200
LARGE_STORM_CLIENTS = 1000
STEADY_RATE = 200
MEMORY_KIB = 19456


def measure(dsn: str, plan: Plan) -> list[Comparison]:
    with servers.rollcall(dsn) as server:
        return [*_rates(server, plan), *_storm(server, plan)]


def argon2_limit(work: Callable[[], object], seconds: float) -> float:
    """How often a second `work` can be done on all cores, in bare threads."""
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
    logins = _Turns(fixtures.logins())
    measures: dict[str, Callable[[], float]] = {
        "log in": lambda: profile.of(lambda: _outcome(server, logins.next(), plan.seconds)),
        "verify": lambda: argon2_limit(verify, plan.seconds),
        "create": lambda: _outcome(server, _new_accounts(plan), plan.seconds).rate,
        "hash": lambda: argon2_limit(lambda: fixtures.HASHER.hash(fixtures.PASSWORD), plan.seconds),
    }
    for seen in interleaved(plan.rounds, "passwords", measures):
        login.add(seen["log in"], seen["verify"])
        create.add(seen["create"], seen["hash"])
        profile.add(1000 * CORES / seen["verify"])
    return [login, create, *profile.figures]


class _Profile:
    """Where the processor time of a log-in goes, beside that of a hash in a bare thread."""

    def __init__(self, server: servers.Server) -> None:
        self._server = server
        parts = ("hashing threads", "event loop", "PostgreSQL")
        against = "a hash in a bare thread"
        self.figures = [
            Comparison(f"processor time of a log-in: {part}", against, "ms", None) for part in parts
        ]
        self._spent_ms: tuple[float, ...] = ()

    def of(self, measure: Callable[[], load.LoadResult]) -> float:
        """Measure log-ins, note what they took, and give their rate."""
        before = self._used_s()
        outcome = measure()
        answers = outcome.responses + CLIENTS  # those of the last moment were worked off, too
        used = zip(self._used_s(), before, strict=True)
        self._spent_ms = tuple(1000 * (after_s - before_s) / answers for after_s, before_s in used)
        return outcome.rate

    def add(self, hash_ms: float) -> None:
        """Take what the last measurement noted as that of a round."""
        for figure, spent_ms in zip(self.figures, self._spent_ms, strict=True):
            figure.add(spent_ms, hash_ms)

    def _used_s(self) -> tuple[float, float, float]:
        loop_s = self._server.event_loop_s()
        return self._server.processor_s() - loop_s, loop_s, servers.database_s()


def _storm(server: servers.Server, plan: Plan) -> list[Comparison]:
    quiet_too = "the same without"
    steady = Comparison(_beside(STORM_CLIENTS) + ": p99", quiet_too, "ms", 3.0, at_least=False)
    logins = Comparison("logins in that storm", "argon2 verify in bare threads on all cores", "/s", 0.85)
    reads = Comparison("16 readers at full speed in the storm", quiet_too, "/s", 0.5)
    reads_p99 = Comparison(f"{reads.name}: p99", quiet_too, "ms", 3.0, at_least=False)
    memory = Comparison(
        "resident memory in the storm",
        "idle + workers × memory of a hash",
        "MiB",
        100,
        at_least=False,
        is_difference=True,
    )
    large_p50 = Comparison(_beside(LARGE_STORM_CLIENTS) + ": p50", quiet_too, "ms", None)
    large_p99 = Comparison(_beside(LARGE_STORM_CLIENTS) + ": p99", quiet_too, "ms", None)
    large_logins = Comparison(
        f"logins in a storm of {LARGE_STORM_CLIENTS} clients", logins.against, "/s", None
    )
    idle_mib = server.resident_mib() + CORES * MEMORY_KIB / 1024
    paced = load.Source(server.port, fixtures.reads("/v1/users/me"), 64, STEADY_RATE)
    eager = load.Source(server.port, fixtures.reads("/v1/users/me"), 16)
    storm = _Storm(server, 2 * plan.seconds)
    for number in range(plan.rounds):
        limit = argon2_limit(verify, plan.seconds)
        quiet = load.run(paced, seconds=2 * plan.seconds)[0]
        logging_in, stormy = storm.rage(STORM_CLIENTS, paced)
        memory.add(server.resident_mib(), idle_mib)
        steady.add(stormy.p99_ms, quiet.p99_ms)
        logins.add(logging_in.rate, limit)
        fast_quiet = load.run(eager, seconds=plan.seconds)[0]
        also, fast_stormy = storm.rage(STORM_CLIENTS, eager)
        reads.add(fast_stormy.rate, fast_quiet.rate)
        reads_p99.add(fast_stormy.p99_ms, fast_quiet.p99_ms)
        many, besieged = storm.rage(LARGE_STORM_CLIENTS, paced)
        large_p50.add(besieged.p50_ms, quiet.p50_ms)
        large_p99.add(besieged.p99_ms, quiet.p99_ms)
        large_logins.add(many.rate, limit)
        say(
            f"  storm, round {number + 1} of {plan.rounds}: "
            f"steady p99 {quiet.p99_ms:.1f} → {stormy.p99_ms:.1f} ms, "
            f"logins {logging_in.rate:.1f}/s of {limit:.1f}/s ({logging_in.rejected} refused), "
            f"full speed {fast_quiet.rate:.0f} → {fast_stormy.rate:.0f}/s, p99 {fast_quiet.p99_ms:.1f} → "
            f"{fast_stormy.p99_ms:.1f} ms beside {also.rate:.1f} logins/s; {LARGE_STORM_CLIENTS} clients: "
            f"p50 {besieged.p50_ms:.1f}, p99 {besieged.p99_ms:.1f} ms, {many.rate:.1f} logins/s"
        )
    return [steady, logins, reads, reads_p99, memory, large_p50, large_p99, large_logins]


def _beside(clients: int) -> str:
    return f"reads at {STEADY_RATE}/s while {clients} clients log in"


class _Storm:
    """Clients that log in as fast as they can."""

    def __init__(self, server: servers.Server, seconds: float) -> None:
        self._server = server
        self._seconds = seconds
        self._turns = _Turns(fixtures.logins())

    def rage(self, clients: int, reads: load.Source) -> tuple[load.LoadResult, load.LoadResult]:
        """Log in, and read meanwhile; what the storm and what the reads saw."""
        source = load.Source(self._server.port, self._turns.next(), clients)
        outcomes = load.beside(source, reads, seconds=self._seconds)
        self._server.wait_until_idle()
        return outcomes


class _Turns:
    """The same requests from another beginning each time, so that no account logs in twice at once."""

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


def _outcome(server: servers.Server, requests: list[bytes], seconds: float) -> load.LoadResult:
    outcome = load.full_speed(server.port, requests, connections=CLIENTS, seconds=seconds)
    server.wait_until_idle()
    if outcome.rejected:
        say(f"  {outcome.rejected} of {outcome.responses} requests were refused")
    return outcome
