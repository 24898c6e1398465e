"""Databases of accounts, sessions and keys whose tokens follow from their number, and requests with them."""

import asyncio
import json
import subprocess
import sys
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

import argon2
import asyncpg

from bench.servers import STATE
from harness.service_process import ROOT, bare_environment
from service.embedded.server import EmbeddedPostgres

PASSWORD = "mauve otter sings at dawn"
HASHER = argon2.PasswordHasher(2, 19456, 1, 32, 16)
"""The service's default parameters."""
PASSWORD_HASH = HASHER.hash(PASSWORD)
KEY = f"rck_{0:043d}"
ACCOUNTS = 100_000
LOGINS = 4_000
"""So many of the accounts have a password: enough that an account never logs in twice at once."""

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
"""Adds rows to the database of a DSN."""


@contextmanager
def database_server() -> Iterator[EmbeddedPostgres]:
    """The bench's own PostgreSQL, durable as in production; kept for the next run."""
    STATE.mkdir(parents=True, exist_ok=True)
    with EmbeddedPostgres(STATE / "postgres") as server:
        yield server


def fresh_database(
    server: EmbeddedPostgres,
    name: str,
    *,
    accounts: int,
    with_sessions: bool = True,
    checkout: Path = ROOT,
) -> str:
    """Make a database with the schema of a checkout and that many accounts; return its DSN."""
    statements(
        server.dsn_for("postgres"), f"DROP DATABASE IF EXISTS {name} WITH (FORCE)", f"CREATE DATABASE {name}"
    )
    dsn = server.dsn_for(name)
    migrate(dsn, checkout)
    asyncio.run(_fill(dsn, accounts, with_sessions))
    return dsn


def kept_database(
    server: EmbeddedPostgres, name: str, *, accounts: int, made_as: str = "", fill: Fill | None = None
) -> str:
    """Return the DSN of a database that an earlier run made, or make it: ten million rows take minutes.

    `made_as` describes what `fill` adds to the accounts; it is made anew if an earlier run's differs.
    """
    dsn, made_as = server.dsn_for(name), f"{accounts} accounts{made_as}"
    query = f"SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = '{name}'"
    if asyncio.run(_value(server.dsn_for("postgres"), query)) != made_as:
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


def migrate(dsn: str, checkout: Path = ROOT) -> None:
    """Bring a database to the newest schema of a checkout."""
    subprocess.run(
        [sys.executable, "-m", "service", "database", "migrate"],
        cwd=STATE, env=bare_environment(checkout, DATABASE_URL=dsn), check=True, capture_output=True,
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
    """Return reads by as many different callers."""
    step = ACCOUNTS // count
    return [get(path, session_token(number)) for number in range(step, ACCOUNTS + 1, step)]


BASIC = "Basic " + b64encode(f"bench:{KEY}".encode()).decode()


def introspections(count: int = 1000, authorization: str = f"Bearer {KEY}") -> list[bytes]:
    """Return introspections of as many different tokens by a service's key."""
    step = ACCOUNTS // count
    return [
        _request(
            "POST",
            "/v1/introspect",
            f"token={session_token(number)}".encode(),
            "application/x-www-form-urlencoded",
            authorization,
        )
        for number in range(step, ACCOUNTS + 1, step)
    ]


def tokens(audience: str, count: int = 1000) -> list[bytes]:
    """Return requests for access tokens by as many different callers."""
    step = ACCOUNTS // count
    callers = range(step, ACCOUNTS + 1, step)
    return [_json("POST", "/v1/tokens", {"audience": audience}, session_token(each)) for each in callers]


def updates(names: tuple[str, ...] = ("One", "Two"), count: int = 1000) -> list[bytes]:
    """Return changes of the names of as many accounts by their owners, to each of these names."""
    return [
        _json("PATCH", "/v1/users/me", {"name": name}, session_token(number))
        for name in names
        for number in range(1, count + 1)
    ]


def logins(first: int = 1, last: int = LOGINS) -> list[bytes]:
    """Return a log-in of each of the accounts with a password."""
    return [login(login_id(number)) for number in range(first, last + 1)]


def login(name: str) -> bytes:
    return _json("POST", "/v1/sessions", {"login_id": name, "password": PASSWORD})


def creations(prefix: str, count: int, **more: str) -> list[bytes]:
    """Return creations of accounts that do not exist yet, without a password unless it is given."""
    return [
        _json("POST", "/v1/users", {"login_id": f"{prefix}{number}", "name": "New User", **more})
        for number in range(count)
    ]


def rotated(requests: list[bytes], offset: int) -> list[bytes]:
    """Return the same requests in the same order, beginning with another one."""
    start = offset % len(requests)
    return requests[start:] + requests[:start]


def _json(method: str, path: str, body: dict[str, Any], token: str = KEY) -> bytes:
    return _request(method, path, json.dumps(body).encode(), "application/json", f"Bearer {token}")


def _request(method: str, path: str, body: bytes, media_type: str, authorization: str) -> bytes:
    head = (
        f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: {authorization}\r\n"
        f"Content-Type: {media_type}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body
