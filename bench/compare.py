"""`python -m bench compare --base <path or commit>`: this checkout and another one, in one interleaved run.

Each has a database of its own on one server, and one worker with the default settings. Each round starts
both again: two processes of the same code differ by up to a tenth, as their hashes and addresses do. The side
that is started and measured first alternates from round to round.
"""

import secrets
import shutil
import subprocess
import tarfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from io import BytesIO
from itertools import count
from pathlib import Path
from typing import Final

import argon2

from bench import fixtures, load, servers
from bench.comparison import Comparison, Plan, say
from harness.service_process import CHEAP_HASH, ROOT
from service.embedded.server import EmbeddedPostgres

_HOT, _OTHER = 0.95, 0.97
"""The least that throughput may become, of hot reads and of everything else."""
_NOT_WORSE: Final = 1.05
"""The most that p99, start time and memory may become."""
_CONNECTIONS: Final = 16
_CHEAP_LOGINS: Final = fixtures.LOGINS // 2
"""So many accounts have a cheap hash; the others that have a password have a real one."""
_CHEAP_PASSWORD_HASH: Final = argon2.PasswordHasher(1, 8, 1, 32, 16).hash(fixtures.PASSWORD)
_MAX_CREATED_PER_SECOND: Final = 3000


@dataclass(frozen=True)
class Side:
    """A running checkout."""

    checkout: Path
    server: servers.Server
    cheap_server: servers.Server
    """A second process, with a cheap hash."""
    user_ids: list[str]


@dataclass(frozen=True)
class Operation:
    """An operation with the requests of each run of it."""

    requests: Callable[[Side], list[bytes]]
    goal: float = _OTHER
    cheap_hash: bool = False


def compare(here: str, base: str, plan: Plan, only: list[str] | None = None) -> list[Comparison]:
    """Measure all operations, or some; start time and memory as well unless `only` is given."""
    checkouts = {"here": checkout_of(here), "base": checkout_of(base)}
    start = [] if only else [_start(checkouts, plan)]
    memory = {when: _not_worse(f"resident memory, {when}", "MiB") for when in ("idle", "after a round")}
    operations = {name: _Figures(name, OPERATIONS[name]) for name in only or OPERATIONS}
    with fixtures.database_server() as postgres:
        databases = {name: _database(postgres, name, path) for name, path in checkouts.items()}
        for number in range(plan.rounds):
            with _sides(checkouts, databases, number) as sides:
                _add_memory(memory["idle"], sides)
                for figures in operations.values():
                    _measure_round(figures, sides, plan.seconds, number)
                _add_memory(memory["after a round"], sides)
    for figures in operations.values():
        say(f"  {figures}")
    measured = [each for figures in operations.values() for each in figures.comparisons]
    return measured if only else [*start, *measured, *memory.values()]


def checkout_of(base: str) -> Path:
    """Return the directory of a checkout; a commit is unpacked below var/bench."""
    if Path(base).is_dir():
        return Path(base).resolve()
    commit = _git("rev-parse", "--verify", f"{base}^{{commit}}").decode().strip()
    checkout = servers.STATE / "checkouts" / commit
    if not checkout.exists():
        with tarfile.open(fileobj=BytesIO(_git("archive", commit))) as archive:
            archive.extractall(checkout, filter="data")
    return checkout


def _git(*arguments: str) -> bytes:
    return subprocess.run(["git", "-C", str(ROOT), *arguments], check=True, capture_output=True).stdout


def _database(postgres: EmbeddedPostgres, name: str, checkout: Path) -> str:
    say(f"  {name}: {checkout}")
    dsn = fixtures.fresh_database(postgres, f"compare_{name}", accounts=fixtures.ACCOUNTS, checkout=checkout)
    fixtures.statements(
        dsn,
        f"UPDATE users SET password_hash = '{_CHEAP_PASSWORD_HASH}'"
        f" WHERE login_id <= '{fixtures.login_id(_CHEAP_LOGINS)}'",
        "VACUUM ANALYZE users",
    )
    return dsn


@contextmanager
def _sides(
    checkouts: Mapping[str, Path], databases: Mapping[str, str], round_number: int
) -> Iterator[dict[str, Side]]:
    with ExitStack() as stack:
        yield {
            name: stack.enter_context(_side(name, checkouts[name], databases[name]))
            for name in _order(round_number)
        }


@contextmanager
def _side(name: str, checkout: Path, dsn: str) -> Iterator[Side]:
    with (
        servers.rollcall(dsn, name, checkout) as server,
        servers.rollcall(dsn, f"{name}-cheap", checkout, **CHEAP_HASH) as cheap_server,
    ):
        listed = server.request("GET", "/v1/users?limit=100", fixtures.KEY).json()
        yield Side(checkout, server, cheap_server, [user["id"] for user in listed["items"]])


class _Figures:
    """The comparisons of an operation."""

    def __init__(self, name: str, operation: Operation) -> None:
        self.operation = operation
        self._name = name
        self._rate = Comparison(name, "base", "/s", operation.goal)
        self._p99 = _not_worse(f"{name}: p99", "ms")
        self._processor = Comparison(f"{name}: processor time of the service", "base", "µs", None)
        self.comparisons = (self._rate, self._p99, self._processor)

    def __str__(self) -> str:
        return (
            f"{self._name}: {self._rate.ratio_text} throughput, {self._p99.ratio_text} p99,"
            f" {self._processor.ratio_text} processor time"
        )


def _not_worse(name: str, unit: str) -> Comparison:
    return Comparison(name, "base", unit, _NOT_WORSE, at_least=False)


def _measure_round(figures: _Figures, sides: Mapping[str, Side], seconds: float, number: int) -> None:
    for side in sides.values():
        _measure(figures.operation, side, min(seconds, 1.0))  # warms up
    seen = {name: _measure(figures.operation, sides[name], seconds) for name in _order(number)}
    for comparison, ours, theirs in zip(figures.comparisons, seen["here"], seen["base"], strict=True):
        comparison.add(ours, theirs)


def _order(round_number: int) -> tuple[str, str]:
    return ("here", "base") if round_number % 2 else ("base", "here")


def _measure(operation: Operation, side: Side, seconds: float) -> tuple[float, float, float]:
    """Return responses a second, their p99 in ms, and the service's processor time of one in µs."""
    server = side.cheap_server if operation.cheap_hash else side.server
    requests, before_s = operation.requests(side), server.processor_s()
    result = load.full_speed(server.port, requests, connections=_CONNECTIONS, seconds=seconds)
    server.wait_until_idle()
    if result.rejected:
        raise RuntimeError(f"{server.name} rejected {result.rejected} of {result.responses} requests")
    done = result.responses + _CONNECTIONS  # the last ones were not waited for, but worked off
    spent_us = (server.processor_s() - before_s) / done * 1e6
    return result.rate, result.p99_ms, spent_us


def _add_memory(comparison: Comparison, sides: Mapping[str, Side]) -> None:
    comparison.add(sides["here"].server.resident_mib(), sides["base"].server.resident_mib())


def _start(checkouts: Mapping[str, Path], plan: Plan) -> Comparison:
    comparison = _not_worse("start to the first 200, migrated embedded database", "s")
    for name in checkouts:
        shutil.rmtree(_start_directory(name), ignore_errors=True)  # another base may have left it
    for number in range(plan.rounds + 1):
        taken = {name: _started_in_s(name, checkouts[name]) for name in _order(number)}
        if number:  # the first round makes and migrates the databases
            comparison.add(taken["here"], taken["base"])
    say(f"  start: {comparison.ratio_text}")
    return comparison


def _started_in_s(name: str, checkout: Path) -> float:
    directory = str(_start_directory(name))
    with servers.rollcall(
        None, f"start-{name}", checkout, ROLLCALL_DATABASE__EMBEDDED_DIR=directory
    ) as server:
        return server.started_in_s


def _start_directory(name: str) -> Path:
    return servers.STATE / f"compare-start-{name}"


def _same(requests: list[bytes]) -> Callable[[Side], list[bytes]]:
    return lambda _: requests


def _rotating(requests: list[bytes]) -> Callable[[Side], list[bytes]]:
    """Begin elsewhere in each run, so that no run begins with the accounts that the last one has used."""
    runs = count(1)
    return lambda _: fixtures.rotated(requests, 137 * next(runs))


def _creations(_: Side) -> list[bytes]:
    return fixtures.creations(f"new{secrets.token_hex(4)}x", 3 * _MAX_CREATED_PER_SECOND)


def _reads_by_key(side: Side) -> list[bytes]:
    return [fixtures.get(f"/v1/users/{user_id}", fixtures.KEY) for user_id in side.user_ids]


OPERATIONS: Final = {
    "get_user, by its owner": Operation(_same(fixtures.reads("/v1/users/me")), _HOT),
    "get_user, by a service": Operation(_reads_by_key, _HOT),
    "get_current_session": Operation(_same(fixtures.reads("/v1/sessions/current")), _HOT),
    "introspect": Operation(_same(fixtures.introspections()), _HOT),
    "list_users": Operation(_same([fixtures.get("/v1/users?limit=20", fixtures.KEY)])),
    "list_sessions": Operation(_same(fixtures.reads("/v1/users/me/sessions"))),
    "update_user": Operation(_rotating(fixtures.updates())),
    "create_user": Operation(_creations),
    "log_in, cheap hash": Operation(_rotating(fixtures.logins(1, _CHEAP_LOGINS)), cheap_hash=True),
    "log_in, real hash": Operation(_rotating(fixtures.logins(_CHEAP_LOGINS + 1))),
}
