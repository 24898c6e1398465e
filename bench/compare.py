"""`python -m bench compare --base <path or commit>`: this checkout and another one, in one interleaved run.

Each has a database of its own on one server, and one worker with the default settings. The side that is
measured first alternates from round to round.
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


def compare(base: str, plan: Plan, only: list[str] | None = None) -> list[Comparison]:
    """Measure all operations, or some; start time and memory as well unless `only` is given."""
    checkouts = {"here": ROOT, "base": checkout_of(base)}
    comparisons = [] if only else [_start(checkouts, plan)]
    with fixtures.database_server() as postgres, ExitStack() as stack:
        sides = {name: stack.enter_context(_side(postgres, name, path)) for name, path in checkouts.items()}
        memory = [_memory("idle", sides)]
        for name in only or OPERATIONS:
            comparisons += _compare(name, OPERATIONS[name], sides, plan)
        return comparisons if only else [*comparisons, *memory, _memory("after this run", sides)]


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


@contextmanager
def _side(postgres: EmbeddedPostgres, name: str, checkout: Path) -> Iterator[Side]:
    say(f"  {name}: {checkout}")
    accounts = fixtures.ACCOUNTS
    dsn = fixtures.fresh_database(postgres, f"compare_{name}", accounts=accounts, checkout=checkout)
    fixtures.statements(
        dsn,
        f"UPDATE users SET password_hash = '{_CHEAP_PASSWORD_HASH}'"
        f" WHERE login_id <= '{fixtures.login_id(_CHEAP_LOGINS)}'",
        "VACUUM ANALYZE users",
    )
    with (
        servers.rollcall(dsn, name, checkout) as server,
        servers.rollcall(dsn, f"{name}-cheap", checkout, **CHEAP_HASH) as cheap_server,
    ):
        listed = server.request("GET", "/v1/users?limit=100", fixtures.KEY).json()
        yield Side(checkout, server, cheap_server, [user["id"] for user in listed["items"]])


def _compare(name: str, operation: Operation, sides: Mapping[str, Side], plan: Plan) -> list[Comparison]:
    rate = Comparison(name, "base", "/s", operation.goal)
    p99 = Comparison(f"{name}: p99", "base", "ms", _NOT_WORSE, at_least=False)
    processor = Comparison(f"{name}: processor time of the service", "base", "µs", None)
    for number in range(plan.rounds + 1):
        seconds = plan.seconds if number else min(plan.seconds, 1.0)
        seen = {side: _measure(operation, sides[side], seconds) for side in _order(number)}
        if number:  # the first round warms up
            for comparison, ours, theirs in zip(
                (rate, p99, processor), seen["here"], seen["base"], strict=True
            ):
                comparison.add(ours, theirs)
    say(
        f"  {name}: {rate.ratio_text} throughput, {p99.ratio_text} p99, {processor.ratio_text} processor time"
    )
    return [rate, p99, processor]


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


def _memory(when: str, sides: Mapping[str, Side]) -> Comparison:
    comparison = Comparison(f"resident memory, {when}", "base", "MiB", _NOT_WORSE, at_least=False)
    comparison.add(sides["here"].server.resident_mib(), sides["base"].server.resident_mib())
    return comparison


def _start(checkouts: Mapping[str, Path], plan: Plan) -> Comparison:
    comparison = Comparison(
        "start to the first 200, migrated embedded database", "base", "s", _NOT_WORSE, at_least=False
    )
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
