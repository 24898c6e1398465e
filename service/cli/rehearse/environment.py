"""The environment of a rehearsal: rows, an API key, service processes, and sessions that hold locks."""

# ruff: noqa: S608 -- all of it is made of constants

import asyncio
import os
import socket
import sys
from asyncio.subprocess import Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import IO

from sqlalchemy import text

from service.cli.rehearse.client import Client
from service.cli.rehearse.load import LOGIN_PREFIX
from service.db.migrations.history import ROOT
from service.db.migrations.running import connection_to
from service.security.ids import new_id
from service.security.tokens import API_KEY_PREFIX, new_token

_CHUNK_ROWS = 50_000

_PAUSE_FACTOR = 2
"""Locks are released for twice as long as they are held."""

_START_TIMEOUT_S, _STOP_TIMEOUT_S = 30.0, 40.0

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
async def serving(dsn: str, log: IO[bytes], count: int) -> AsyncIterator[list[int]]:
    """Run `count` service processes on free ports of loopback, and yield the ports."""
    ports = _free_ports(count)
    processes = [await _start(dsn, port, log) for port in ports]
    try:
        async with asyncio.timeout(_START_TIMEOUT_S):
            for port in ports:
                await _wait_until_ready(port)
        yield ports
    finally:
        await asyncio.gather(*(_stop(process) for process in processes))


async def _start(dsn: str, port: int, log: IO[bytes]) -> Process:
    kept = {name: value for name, value in os.environ.items() if not name.upper().startswith("ROLLCALL_")}
    settings = {
        "DATABASE_URL": dsn,
        "ROLLCALL_MIGRATIONS__DATABASE_URL": dsn,
        "ROLLCALL_MIGRATIONS__ON_START": "false",
        "ROLLCALL_PROFILE": "test",
        "ROLLCALL_PASSWORDS__MEMORY_KIB": "64",
        "ROLLCALL_PASSWORDS__ITERATIONS": "1",
        "ROLLCALL_HTTP__HOST": "127.0.0.1",
        "ROLLCALL_HTTP__PORT": str(port),
        "ROLLCALL_HTTP__WORKERS": "1",
    }
    command = [sys.executable, "-m", "service", "serve"]
    return await asyncio.create_subprocess_exec(
        *command, cwd=ROOT, env=kept | settings, stdout=log, stderr=log
    )


async def _wait_until_ready(port: int) -> None:
    while True:
        try:
            async with Client(port) as client:
                if (await client.request("GET", "/health/ready")).status == 200:
                    return
        except OSError:
            pass  # not listening yet
        await asyncio.sleep(0.1)


async def _stop(process: Process) -> None:
    if process.returncode is None:
        process.terminate()
    try:
        async with asyncio.timeout(_STOP_TIMEOUT_S):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()


def _free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports: list[int] = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


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
