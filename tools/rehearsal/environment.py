"""The environment of a rehearsal: rows, an API key, service processes, and sessions that hold locks."""

# ruff: noqa: S608 -- all of it is made of constants

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

from sqlalchemy import text

from harness.service_process import ServiceProcess, environment
from service.db.migrations.running import connection_to
from service.security.ids import new_id
from service.security.tokens import API_KEY_PREFIX, new_token
from tools.rehearsal.load import LOGIN_PREFIX

_CHUNK_ROWS = 50_000

_PAUSE_FACTOR = 2
"""Locks are released for twice as long as they are held."""

# A row that no request touches, so that no request waits for its lock.
_HELD = LOGIN_PREFIX + "held"

_FILL = """
INSERT INTO users (id, name, login_id, role, created_at)
SELECT gen_random_uuid(), 'Filled ' || n, 'filled-' || n, CASE n % 1000 WHEN 0 THEN 'admin' ELSE 'user' END,
       now() - n * interval '1 second'
FROM generate_series(CAST(:first AS bigint), CAST(:last AS bigint)) AS n
"""

_FILL_SESSIONS = """
INSERT INTO sessions (id, user_id, token_digest, expires_at, idle_expires_at)
SELECT gen_random_uuid(), id, sha256(('rehearsal' || id)::bytea), now() + interval '30 days',
       now() + interval '7 days'
FROM users WHERE login_id LIKE 'filled-%0'
"""

_SUM = "SELECT count(*) || ' rows, sum ' || coalesce(sum(hashtextextended(to_jsonb(t)::text, 0)), 0)"

_OTHERS = f"login_id NOT LIKE '{LOGIN_PREFIX}%'"

# Only sessions that cannot expire during the rehearsal: expired ones may be purged.
_CHECKSUMS = {
    "users": f"{_SUM} FROM users AS t WHERE {_OTHERS}",
    "sessions": (
        f"{_SUM} FROM sessions AS t JOIN users ON users.id = t.user_id"
        f" WHERE {_OTHERS} AND t.expires_at > now() + interval '1 day'"
    ),
}


async def fill(dsn: str, rows: int) -> None:
    """Insert users, a tenth of them with a session."""
    async with connection_to(dsn) as connection:
        for first in range(1, rows + 1, _CHUNK_ROWS):
            last = min(first + _CHUNK_ROWS - 1, rows)
            await connection.execute(text(_FILL), {"first": first, "last": last})
        await connection.execute(text(_FILL_SESSIONS))
        await connection.execute(text("ANALYZE"))


async def make_key(dsn: str) -> str:
    """Insert an API key for the clients and return it."""
    token = new_token(API_KEY_PREFIX)
    async with connection_to(dsn) as connection:
        await connection.execute(
            text(
                "INSERT INTO api_keys (id, name, scopes, prefix, token_digest)"
                " VALUES (:id, 'rehearsal', ARRAY['users:read', 'users:write'], :prefix, :digest)"
            ),
            {"id": new_id(), "prefix": token.value[:8], "digest": token.digest},
        )
    return token.value


async def checksum(dsn: str) -> dict[str, str]:
    """Return a checksum per table over the rows that the load does not change."""
    async with connection_to(dsn) as connection:
        return {table: str(await connection.scalar(text(query))) for table, query in _CHECKSUMS.items()}


@asynccontextmanager
async def serving(dsn: str, directory: Path, count: int) -> AsyncIterator[list[int]]:
    """Run `count` service processes on free ports of loopback, and yield the ports."""
    variables = environment(DATABASE_URL=dsn, ROLLCALL_MIGRATIONS__ON_START="false")
    processes = [ServiceProcess(directory, variables) for _ in range(count)]
    try:
        for process in processes:
            process.start()
        for process in processes:
            await asyncio.to_thread(process.wait_until, "/health/ready", 200)
        yield [process.port for process in processes]
    finally:
        await asyncio.gather(*(asyncio.to_thread(process.close) for process in processes))


async def hold_locks(dsn: str, stop: asyncio.Event, hold: timedelta) -> None:
    """Hold a long read transaction and an idle write transaction, repeatedly, until `stop` is set."""
    async with connection_to(dsn) as connection:
        await connection.execute(
            text("INSERT INTO users (id, name, login_id) VALUES (:id, 'Held', :held)"),
            {"id": new_id(), "held": _HELD},
        )
    reading = "SELECT count(*) FROM users; SELECT count(*) FROM sessions"
    writing = f"UPDATE users SET name = 'Held' WHERE login_id = '{_HELD}'"
    await asyncio.gather(
        _hold(dsn, "BEGIN ISOLATION LEVEL REPEATABLE READ", reading, stop, hold),
        _hold(dsn, "BEGIN", writing, stop, hold),
    )


async def _hold(dsn: str, begin: str, statements: str, stop: asyncio.Event, hold: timedelta) -> None:
    async with connection_to(dsn) as connection:
        while not stop.is_set():
            for statement in [begin, *statements.split("; ")]:
                await connection.execute(text(statement))
            await asyncio.sleep(hold.total_seconds())
            await connection.execute(text("COMMIT"))
            await asyncio.sleep(hold.total_seconds() * _PAUSE_FACTOR)
