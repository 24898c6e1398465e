"""The table of sessions at millions and at ten thousand: what requests, noted uses, purge and vacuum cost."""

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
from service.db.repositories.cleanup import Cleanup
from service.db.repositories.sessions import SessionRepository
from service.embedded.server import EmbeddedPostgres

SMALL = 10_000
GOAL = 1.3
BATCH = 1000
"""The default of ROLLCALL_RETENTION__PURGE_BATCH, and as many uses are noted at once."""
REST = 10
"""Batches to be purged in a row, at least."""
ASKED = 20_000
LOGOUTS = 100
LOGINS = 100
LOGINS_A_SECOND = 20
YEAR = timedelta(days=365)
_SETTINGS = {
    "ROLLCALL_RETENTION__PURGE_INTERVAL": "1d",  # the bench purges itself
    "ROLLCALL_SESSIONS__ABSOLUTE_TTL": "365d",
    "ROLLCALL_SESSIONS__IDLE_TTL": "365d",  # or what a run has used would be over for one a week later
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
    """One of the two databases, with a service that serves it."""

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
        """Have one in a hundred sessions be over, or as many as are purged, and some to be logged out."""
        wanted = max(self.sessions // 100, (rounds + 1 + REST) * BATCH)
        self._add(max(0, wanted - self._run(self._connection.fetchval(_COUNT_ENDED))), timedelta(days=-7))
        self._logouts = iter(self._add((rounds + 1) * LOGOUTS, timedelta(days=30)))
        # Nothing else may vacuum: WAL is counted for the whole server, and this is the bench's to measure.
        self._run(self._connection.execute("ALTER TABLE sessions SET (autovacuum_enabled = off)"))
        self._run(self._connection.execute("VACUUM ANALYZE sessions"))

    def bytes_a_row(self) -> dict[str, float]:
        return {row["name"]: row["bytes"] for row in self._run(self._connection.fetch(_BYTES))}

    def read(self, path: str) -> float:
        """The p50 of reading as callers of whom each is asked for once."""
        numbers = self._random.choices(range(1, self.sessions + 1), k=ASKED)
        requests = [fixtures.get(path, fixtures.session_token(number)) for number in numbers]
        return _p50(load.Source(self.server.port, requests, 1), seconds=1.0)

    def log_out(self) -> float:
        asked = [fixtures.get("/v1/sessions/current", next(self._logouts)) for _ in range(LOGOUTS)]
        requests = [request.replace(b"GET", b"DELETE", 1) for request in asked]
        return _p50(load.Source(self.server.port, requests, 1, rate=LOGOUTS), seconds=1.0)

    def note_uses(self) -> float:
        """The time of noting uses of sessions whose idle end need not move, as most need not, ms."""
        ids = self._some()
        self._in_unit_of_work(lambda tx: _touch(tx, ids))
        return self._in_unit_of_work(lambda tx: _touch(tx, ids))[1]

    def cost_of_noted_uses(self) -> tuple[float, float]:
        """The bytes of WAL of a noted use, and how many percent of them change no index."""
        ids = self._some()
        self._in_unit_of_work(lambda tx: _touch(tx, ids))
        before = self._wal()
        hot = self._in_unit_of_work(lambda tx: _touch_and_count_hot(tx, ids))[0]
        return (self._wal() - before) / BATCH, hot / BATCH * 100

    def purge_batch(self) -> float:
        """The time of a batch and its commit, which is how long it holds its locks, ms."""
        removed, taken = self._in_unit_of_work(lambda tx: Cleanup(tx).purge_sessions(BATCH))
        if removed != BATCH:
            raise RuntimeError(f"only {removed} sessions were over")
        return taken

    def purge_rest(self) -> float:
        """Purge what is left, and give the sessions a second."""
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
        """The bytes of WAL of a log-in right after a checkpoint, and of another one to the same account."""
        login_ids = self._login_ids[:LOGINS]
        given = "UPDATE users SET password_hash = $1 WHERE login_id = ANY($2)"
        self._run(self._connection.execute(given, fixtures.PASSWORD_HASH, login_ids))
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

    def _some(self) -> list[UUID]:
        digests = [
            fixtures.session_digest(number)
            for number in self._random.sample(range(1, self.sessions + 1), BATCH)
        ]
        asked = "SELECT id FROM sessions WHERE token_digest = ANY($1) ORDER BY id"
        return [row["id"] for row in self._run(self._connection.fetch(asked, digests))]

    def _in_unit_of_work(self, work: Callable[[Transaction], Coroutine[Any, Any, int]]) -> tuple[int, float]:
        started_at = time.perf_counter()
        count = self._run(Database(self._engine).run(work))
        return count, (time.perf_counter() - started_at) * 1000

    def _wal(self) -> int:
        asked = "SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::int8"
        return int(self._run(self._connection.fetchval(asked)))


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
    figures, theirs = [], small.bytes_a_row()
    for name, ours in large.bytes_a_row().items():
        figure = _figure(f"bytes of {name} a row", large, "B", GOAL if theirs[name] else None)
        figure.is_difference = not theirs[name]  # nothing is too long for its row
        figure.add(ours, theirs[name])
        figures.append(figure)
    return figures


def _times(large: Table, small: Table, plan: Plan) -> list[Comparison]:
    asked: dict[str, Callable[[Table], float]] = {
        "authenticated read: p50": lambda table: table.read("/v1/users/me"),
        "list_sessions: p50": lambda table: table.read("/v1/users/me/sessions"),
        "log-out: p50": lambda table: table.log_out(),
        f"noting {BATCH} uses": lambda table: table.note_uses(),
        f"purge of a batch of {BATCH}": lambda table: table.purge_batch(),
    }
    return [_compare(name, measured, large, small, plan) for name, measured in asked.items()]


def _compare(
    name: str, measured: Callable[[Table], float], large: Table, small: Table, plan: Plan
) -> Comparison:
    figure = _figure(name, large, "ms", GOAL)
    both = {"large": lambda: measured(large), "small": lambda: measured(small)}
    for seen in interleaved(plan.rounds, name, both):
        figure.add(seen["large"], seen["small"])
    return figure


def _costs(large: Table, small: Table) -> list[Comparison]:
    """What has no goal: the small table is there for comparison alone."""
    names = {
        "WAL of a noted use": "B",
        "noted uses that change no index": "%",
        "sessions purged in a row of batches": "/s",
        "VACUUM after it": "s",
        "WAL of a log-in, right after a checkpoint": "B",
        "WAL of a log-in, again": "B",
    }
    figures = [_figure(name, large, unit, None) for name, unit in names.items()]
    for figure, ours, theirs in zip(figures, _cost(large), _cost(small), strict=True):
        figure.add(ours, theirs)
        say(f"  {figure.name}: {ours:.4g} {figure.unit}, {theirs:.4g} {figure.unit}")
    return figures


def _cost(table: Table) -> tuple[float, ...]:
    return (*table.cost_of_noted_uses(), table.purge_rest(), table.vacuum(), *table.log_in())


def _figure(name: str, large: Table, unit: str, goal: float | None) -> Comparison:
    return Comparison(
        f"{large.sessions:,} sessions, {name}", f"{SMALL:,} sessions", unit, goal, at_least=False
    )


def _p50(source: load.Source, seconds: float) -> float:
    outcome = load.run(source, seconds=seconds)[0]
    if outcome.rejected or not outcome.responses:
        raise RuntimeError(f"{outcome.rejected} of {outcome.responses} requests were refused")
    return median(outcome.latencies_ms)


async def _touch(tx: Transaction, ids: list[UUID]) -> int:
    return await SessionRepository(tx).touch(
        ids, interval=timedelta(0), user_idle_ttl=YEAR, admin_idle_ttl=YEAR
    )


async def _touch_and_count_hot(tx: Transaction, ids: list[UUID]) -> int:
    before = await tx.fetch_one(_HOT)
    await _touch(tx, ids)
    after = await tx.fetch_one(_HOT)
    return after[0] - before[0] if before and after else 0
