"""The data that is asked for: accounts, sessions and keys with tokens that can be told from their number."""

import asyncio
import json
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from typing import Any

import argon2
import asyncpg

from bench.servers import ROOT, STATE
from service.embedded.server import EmbeddedPostgres

PASSWORD = "mauve otter sings at dawn"
HASHER = argon2.PasswordHasher(2, 19456, 1, 32, 16)
"""The service's default parameters."""
PASSWORD_HASH = HASHER.hash(PASSWORD)
KEY = f"rck_{0:043d}"
ACCOUNTS = 100_000
LOGINS = 4_000
"""How many of the accounts have a password; enough that no two log-ins of one meet."""

_USERS = """
    INSERT INTO users (id, name, login_id, created_at, password_hash)
    SELECT uuidv7(make_interval(secs => (i - $1) / 1000.0)), 'User ' || lpad(i::text, 8, '0'),
           'user' || lpad(i::text, 8, '0'), now() + make_interval(secs => (i - $1) / 1000.0),
           CASE WHEN i <= $2 THEN $3 END
    FROM generate_series(1, $1::int) i
"""
_SESSIONS = """
    INSERT INTO sessions (id, user_id, token_digest, expires_at, idle_expires_at, user_agent, ip)
    SELECT uuidv7(), id, sha256(convert_to('rcs_' || lpad(substr(login_id, 5), 43, '0'), 'UTF8')),
           now() + interval '1 day', now() + interval '1 day', 'bench', '127.0.0.1'
    FROM users
"""
_KEY = """
    INSERT INTO api_keys (id, name, scopes, prefix, token_digest)
    VALUES (uuidv7(), 'bench', '{users:read,users:write,sessions:introspect}', 'rck_0000', $1)
"""


Fill = Callable[[str], None]
"""Fills the database of a DSN."""


@contextmanager
def database_server() -> Iterator[EmbeddedPostgres]:
    """The bench's own PostgreSQL, durable as in production; kept for the next run."""
    STATE.mkdir(parents=True, exist_ok=True)
    with EmbeddedPostgres(STATE / "postgres") as server:
        yield server


def fresh_database(server: EmbeddedPostgres, name: str, *, accounts: int, with_sessions: bool = True) -> str:
    """Make a migrated database with that many accounts, and give its DSN."""
    statements(
        server.dsn_for("postgres"), f"DROP DATABASE IF EXISTS {name} WITH (FORCE)", f"CREATE DATABASE {name}"
    )
    dsn = server.dsn_for(name)
    migrate(dsn)
    asyncio.run(_fill(dsn, accounts, with_sessions))
    return dsn


def kept_database(
    server: EmbeddedPostgres, name: str, *, accounts: int, made_as: str = "", fill: Fill | None = None
) -> str:
    """Give the DSN of a database that an earlier run has made, or make it: ten million rows take minutes.

    `made_as` tells what `fill` adds to the accounts; an earlier run's has to have been the same.
    """
    dsn, made_as = server.dsn_for(name), f"{accounts} accounts{made_as}"
    asked = f"SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = '{name}'"
    if asyncio.run(_value(server.dsn_for("postgres"), asked)) != made_as:
        fresh_database(server, name, accounts=accounts, with_sessions=False)
        if fill is not None:
            fill(dsn)
        statements(dsn, f"COMMENT ON DATABASE {name} IS '{made_as}'")
    migrate(dsn)
    return dsn


async def _value(dsn: str, query: str) -> object:
    connection = await asyncpg.connect(dsn)
    try:
        return await connection.fetchval(query)
    finally:
        await connection.close()


def migrate(dsn: str) -> None:
    subprocess.run(
        [sys.executable, "-m", "service", "database", "migrate"],
        cwd=ROOT, env={"PATH": "/usr/bin:/bin", "DATABASE_URL": dsn}, check=True, capture_output=True,
    )  # fmt: skip


def statements(dsn: str, *each: str) -> None:
    """Run statements, each on its own."""

    async def run() -> None:
        connection = await asyncpg.connect(dsn)
        try:
            for statement in each:
                await connection.execute(statement)
        finally:
            await connection.close()

    asyncio.run(run())


async def _fill(dsn: str, accounts: int, with_sessions: bool) -> None:
    connection = await asyncpg.connect(dsn, command_timeout=3600)
    try:
        # Indexes are built once at the end: for millions of rows that is several times as fast.
        indexes = await connection.fetch(
            "SELECT indexname AS name, indexdef AS made_by FROM pg_indexes WHERE tablename = 'users'"
            " AND indexname LIKE 'ix%'"
        )
        for index in indexes:
            await connection.execute(f"DROP INDEX {index['name']}")
        await connection.execute(_USERS, accounts, LOGINS, PASSWORD_HASH)
        for index in indexes:
            await connection.execute(index["made_by"])
        if with_sessions:
            await connection.execute(_SESSIONS)
        await connection.execute(_KEY, sha256(KEY.encode()).digest())
        await connection.execute("VACUUM ANALYZE")
        await connection.execute("CHECKPOINT")
    finally:
        await connection.close()


def session_token(number: int) -> str:
    return f"rcs_{number:043d}"


def session_digest(number: int) -> bytes:
    return sha256(session_token(number).encode()).digest()


def login_id(number: int) -> str:
    return f"user{number:08d}"


def get(path: str, token: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {token}\r\n\r\n".encode()


def reads(path: str, count: int = 1000) -> list[bytes]:
    """Reads by as many different callers."""
    step = ACCOUNTS // count
    return [get(path, session_token(number)) for number in range(step, ACCOUNTS + 1, step)]


def introspections(count: int = 1000) -> list[bytes]:
    step = ACCOUNTS // count
    return [
        _post(
            "/v1/introspect", f"token={session_token(number)}".encode(), "application/x-www-form-urlencoded"
        )
        for number in range(step, ACCOUNTS + 1, step)
    ]


def logins() -> list[bytes]:
    """A log-in of every account that has a password."""
    return [login(login_id(number)) for number in range(1, LOGINS + 1)]


def login(name: str) -> bytes:
    return _json("/v1/sessions", {"login_id": name, "password": PASSWORD})


def creations(prefix: str, count: int) -> list[bytes]:
    """Creations of accounts that do not exist yet."""
    return [
        _json("/v1/users", {"login_id": f"{prefix}{number}", "name": "New User", "password": PASSWORD})
        for number in range(count)
    ]


def in_turn(requests: Iterable[bytes], offset: int) -> list[bytes]:
    """The same requests, beginning with another one."""
    listed = list(requests)
    return listed[offset % len(listed) :] + listed[: offset % len(listed)]


def _json(path: str, body: dict[str, Any]) -> bytes:
    return _post(path, json.dumps(body).encode(), "application/json")


def _post(path: str, body: bytes, media_type: str) -> bytes:
    head = (
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {KEY}\r\n"
        f"Content-Type: {media_type}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body
