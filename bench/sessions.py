"""The cost of requests, recorded uses, purge and vacuum on ten million sessions and on ten thousand."""

import asyncio
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from random import Random
from statistics import median
from typing import Any
from uuid import UUID

import asyncpg
from sqlalchemy import text

from bench import fixtures, load, servers, session_table
from bench.comparison import Comparison, Plan, interleaved, say
from service.db.core.database import Database
from service.db.core.engine import create_engine
from service.db.core.statements import Statement
from service.db.core.transaction import Transaction
from service.db.repositories.authority import guard_of
from service.db.repositories.cleanup import Cleanup
from service.db.repositories.sessions import SessionRepository
from service.domain.callers import OPERATOR
from service.embedded.server import EmbeddedPostgres

SMALL = 10_000
GOAL = 1.3
BATCH = 1000
"""The default of ROLLCALL_RETENTION__PURGE_BATCH; as many uses are recorded at once."""
REST = 10
"""The least number of batches that are purged in a row."""
READS = 20_000
LOGOUTS = 100
LOGINS = 100
LOGINS_A_SECOND = 20
YEAR = timedelta(days=365)
_SETTINGS = {
    "ROLLCALL_RETENTION__PURGE_INTERVAL": "1d",  # the bench purges by itself
    "ROLLCALL_SESSIONS__ABSOLUTE_TTL": "365d",
    "ROLLCALL_SESSIONS__IDLE_TTL": "365d",  # a run a week later can still use the sessions
}
_BYTES = """
    SELECT CASE relkind WHEN 'r' THEN 'the table' WHEN 't' THEN 'its TOAST' ELSE relname END AS name,
           pg_relation_size(oid) / (SELECT count(*) FROM sessions)::float8 AS bytes
    FROM pg_class
    WHERE oid = 'sessions'::regclass
       OR oid = (SELECT reltoastrelid FROM pg_class WHERE oid = 'sessions'::regclass)
       OR oid IN (SELECT indexrelid FROM pg_index WHERE indrelid = 'sessions'::regclass)
    ORDER BY relkind DESC, relname
"""
_HOT = Statement(text("SELECT pg_stat_get_xact_tuples_hot_updated('sessions'::regclass)"))
_COUNT_ENDED = "SELECT count(*) FROM sessions WHERE LEAST(expires_at, idle_expires_at) <= now()"


class Table:
    """One of the two databases, with a service on it."""

    def __init__(self, dsn: str, server: servers.Server, sessions: int) -> None:
        self.server = server
        self.sessions = sessions
        self._random = Random(7)
        self._runner = asyncio.Runner()
        self._connection = self._run(asyncpg.connect(dsn, command_timeout=3600))
        self._engine = create_engine(dsn, pool_size=1, command_timeout=60, statement_timeout=60)
        accounts = self._run(self._connection.fetch("SELECT * FROM users ORDER BY random() LIMIT 10000"))
        self._accounts = [account["id"] for account in accounts]
        self._login_ids = [account["login_id"] for account in accounts]
        self._logouts: Iterator[str] = iter(())

    def prepare(self, rounds: int) -> None:
        """Add expired sessions, one in a hundred or as many as are purged, and sessions to log out."""
        wanted = max(self.sessions // 100, (rounds + 1 + REST) * BATCH)
        self._add(max(0, wanted - self._run(self._connection.fetchval(_COUNT_ENDED))), timedelta(days=-7))
        self._logouts = iter(self._add((rounds + 1) * LOGOUTS, timedelta(days=30)))
        # Only the bench may vacuum: it counts the WAL of the whole server.
        self._run(self._connection.execute("ALTER TABLE sessions SET (autovacuum_enabled = off)"))
        self._run(self._connection.execute("VACUUM ANALYZE sessions"))

    def bytes_a_row(self) -> dict[str, float]:
        return {row["name"]: row["bytes"] for row in self._run(self._connection.fetch(_BYTES))}

    def read(self, path: str) -> float:
        """Return the p50 of reads, each by another caller."""
        numbers = self._random.choices(range(1, self.sessions + 1), k=READS)
        requests = [fixtures.get(path, fixtures.session_token(number)) for number in numbers]
        return _p50(load.Source(self.server.port, requests, 1), seconds=1.0)

    def log_out(self) -> float:
        reads = [fixtures.get("/v1/sessions/current", next(self._logouts)) for _ in range(LOGOUTS)]
        requests = [request.replace(b"GET", b"DELETE", 1) for request in reads]
        return _p50(load.Source(self.server.port, requests, 1, rate=LOGOUTS), seconds=1.0)

    def record_uses(self) -> float:
        """Return the time to record uses that do not move the idle expiry, as most do not, ms."""
        ids = self._random_sessions()
        self._in_unit_of_work(lambda tx: _touch(tx, ids))
        return self._in_unit_of_work(lambda tx: _touch(tx, ids))[1]

    def cost_of_recorded_uses(self) -> tuple[float, float]:
        """Return the bytes of WAL of a recorded use, and the percentage of uses that change no index."""
        ids = self._random_sessions()
        self._in_unit_of_work(lambda tx: _touch(tx, ids))
        before = self._wal()
        hot = self._in_unit_of_work(lambda tx: _touch_and_count_hot(tx, ids))[0]
        return (self._wal() - before) / BATCH, hot / BATCH * 100

    def purge_batch(self) -> float:
        """Return the time of a batch with its commit, during which it holds its locks, ms."""
        removed, taken = self._in_unit_of_work(lambda tx: Cleanup(tx).purge_sessions(BATCH))
        if removed != BATCH:
            raise RuntimeError(f"only {removed} sessions had expired")
        return taken

    def purge_rest(self) -> float:
        """Purge all remaining batches, and return the sessions a second."""
        total, taken_ms = 0, 0.0
        while True:
            removed, taken = self._in_unit_of_work(lambda tx: Cleanup(tx).purge_sessions(BATCH))
            total, taken_ms = total + removed, taken_ms + taken
            if removed < BATCH:
                return total / taken_ms * 1000

    def vacuum(self) -> float:
        started_at = time.perf_counter()
        self._run(self._connection.execute("VACUUM sessions"))
        return time.perf_counter() - started_at

    def log_in(self) -> tuple[float, float]:
        """Return the bytes of WAL of a login right after a checkpoint, and of the next one."""
        login_ids = self._login_ids[:LOGINS]
        set_password = "UPDATE users SET password_hash = $1 WHERE login_id = ANY($2)"
        self._run(self._connection.execute(set_password, fixtures.PASSWORD_HASH, login_ids))
        self._run(self._connection.execute("CHECKPOINT"))
        requests = [fixtures.login(login_id) for login_id in login_ids]
        taken = []
        for _ in range(2):
            before = self._wal()
            source = load.Source(self.server.port, requests, 1, rate=LOGINS_A_SECOND)
            _p50(source, seconds=LOGINS / LOGINS_A_SECOND)
            taken.append((self._wal() - before) / LOGINS)
        return taken[0], taken[1]

    def close(self) -> None:
        self._run(self._connection.close())
        self._run(self._engine.dispose())
        self._runner.close()

    def _run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self._runner.run(work)

    def _add(self, count: int, lasts: timedelta) -> list[str]:
        tokens: list[str] = self._run(session_table.add(self._connection, self._accounts, count, lasts))
        return tokens

    def _random_sessions(self) -> list[UUID]:
        digests = [
            fixtures.session_digest(number)
            for number in self._random.sample(range(1, self.sessions + 1), BATCH)
        ]
        query = "SELECT id FROM sessions WHERE token_digest = ANY($1) ORDER BY id"
        return [row["id"] for row in self._run(self._connection.fetch(query, digests))]

    def _in_unit_of_work(self, work: Callable[[Transaction], Coroutine[Any, Any, int]]) -> tuple[int, float]:
        started_at = time.perf_counter()
        count = self._run(Database(self._engine, guard_of).run(work, caller=OPERATOR))
        return count, (time.perf_counter() - started_at) * 1000

    def _wal(self) -> int:
        query = "SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::int8"
        return int(self._run(self._connection.fetchval(query)))


def measure(server: EmbeddedPostgres, plan: Plan) -> list[Comparison]:
    with ExitStack() as stack:
        large, small = (
            stack.enter_context(_table(server, size, sessions))
            for size, sessions in (("large", plan.sessions), ("small", SMALL))
        )
        for table in (large, small):
            table.prepare(plan.rounds)
        return [*_sizes(large, small), *_times(large, small, plan), *_costs(large, small)]


@contextmanager
def _table(server: EmbeddedPostgres, size: str, sessions: int) -> Iterator[Table]:
    say(f"  a table of {sessions:,} sessions")
    dsn = session_table.kept(server, f"bench_sessions_{size}", sessions=sessions)
    with servers.rollcall(dsn, f"sessions_{size}", **_SETTINGS) as running:
        table = Table(dsn, running, sessions)
        try:
            yield table
        finally:
            table.close()


def _sizes(large: Table, small: Table) -> list[Comparison]:
    comparisons, theirs = [], small.bytes_a_row()
    for name, ours in large.bytes_a_row().items():
        comparison = _figure(f"bytes of {name} a row", large, "B", GOAL if theirs[name] else None)
        comparison.is_difference = not theirs[name]  # nothing is too long for its row
        comparison.add(ours, theirs[name])
        comparisons.append(comparison)
    return comparisons


def _times(large: Table, small: Table, plan: Plan) -> list[Comparison]:
    operations: dict[str, Callable[[Table], float]] = {
        "authenticated read: p50": lambda table: table.read("/v1/users/me"),
        "list_sessions: p50": lambda table: table.read("/v1/users/me/sessions"),
        "log-out: p50": lambda table: table.log_out(),
        f"recording {BATCH} uses": lambda table: table.record_uses(),
        f"purge of a batch of {BATCH}": lambda table: table.purge_batch(),
    }
    return [_compare(name, measured, large, small, plan) for name, measured in operations.items()]


def _compare(
    name: str, measured: Callable[[Table], float], large: Table, small: Table, plan: Plan
) -> Comparison:
    comparison = _figure(name, large, "ms", GOAL)
    both = {"large": lambda: measured(large), "small": lambda: measured(small)}
    for seen in interleaved(plan.rounds, name, both):
        comparison.add(seen["large"], seen["small"])
    return comparison


def _costs(large: Table, small: Table) -> list[Comparison]:
    """Compare what has no goal."""
    names = {
        "WAL of a recorded use": "B",
        "recorded uses that change no index": "%",
        "sessions purged in a row of batches": "/s",
        "VACUUM after it": "s",
        "WAL of a login, right after a checkpoint": "B",
        "WAL of a login, again": "B",
    }
    comparisons = [_figure(name, large, unit, None) for name, unit in names.items()]
    for comparison, ours, theirs in zip(comparisons, _cost(large), _cost(small), strict=True):
        comparison.add(ours, theirs)
        say(f"  {comparison.name}: {ours:.4g} {comparison.unit}, {theirs:.4g} {comparison.unit}")
    return comparisons


def _cost(table: Table) -> tuple[float, ...]:
    return (*table.cost_of_recorded_uses(), table.purge_rest(), table.vacuum(), *table.log_in())


def _figure(name: str, large: Table, unit: str, goal: float | None) -> Comparison:
    return Comparison(
        f"{large.sessions:,} sessions, {name}", f"{SMALL:,} sessions", unit, goal, at_least=False
    )


def _p50(source: load.Source, seconds: float) -> float:
    result = load.run(source, seconds=seconds)[0]
    if result.rejected or not result.responses:
        raise RuntimeError(f"{result.rejected} of {result.responses} requests were rejected")
    return median(result.latencies_ms)


async def _touch(tx: Transaction, ids: list[UUID]) -> int:
    return await SessionRepository(tx).touch(
        ids, interval=timedelta(0), user_idle_ttl=YEAR, admin_idle_ttl=YEAR
    )


async def _touch_and_count_hot(tx: Transaction, ids: list[UUID]) -> int:
    before = await tx.fetch_one(_HOT)
    await _touch(tx, ids)
    after = await tx.fetch_one(_HOT)
    return after[0] - before[0] if before and after else 0
