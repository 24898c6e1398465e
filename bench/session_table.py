"""A database with millions of sessions, kept for the next run, and rows that each run adds."""

import asyncio
import time
from datetime import timedelta
from uuid import UUID

import asyncpg

from bench import fixtures
from service.embedded.server import EmbeddedPostgres

PER_ACCOUNT = 5
AGENT = "Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0"

_INDEXES = """
    SELECT indexrelid::regclass::text AS name, pg_get_indexdef(indexrelid) AS made_by,
           conname AS of_constraint, pg_get_constraintdef(pg_constraint.oid) AS constrained_by
    FROM pg_index LEFT JOIN pg_constraint ON conindid = indexrelid AND conrelid = indrelid
    WHERE indrelid = 'sessions'::regclass
"""
# One for each account, spread over thirty days, after $1 others and of $2 in total. One account in a hundred
# has another one, which has expired.
_SESSIONS = """
    INSERT INTO sessions (
        id, user_id, token_digest, created_at, last_used_at, expires_at, idle_expires_at, user_agent, ip
    )
    SELECT uuidv7(-age), id, sha256(convert_to('rcs_' || lpad(token, 43, '0'), 'UTF8')),
           now() - age, now() - age, ends_at, ends_at, $3, '198.51.100.' || number % 256
    FROM (SELECT id, $1::int + substr(login_id, 5)::int AS number FROM users ORDER BY login_id) account
    CROSS JOIN LATERAL (SELECT interval '30 days' * (1 - number::float8 / ($2::int + 1)) AS age) aged
    CROSS JOIN LATERAL (
        SELECT number::text AS token, now() + interval '1 year' - age AS ends_at
        UNION ALL
        SELECT 'ended' || number, now() - random() * age WHERE number % 100 = 7
    ) each
"""
_MORE = """
    INSERT INTO sessions (id, user_id, token_digest, expires_at, idle_expires_at, user_agent, ip)
    SELECT uuidv7(), ($1::uuid[])[1 + i % cardinality($1::uuid[])],
           sha256(convert_to('rcs_' || lpad(($2::bigint + i)::text, 43, '0'), 'UTF8')),
           now() + lasts, now() + lasts, $5, '198.51.100.' || i % 256
    FROM generate_series(0, $4::int - 1) i
    CROSS JOIN LATERAL (SELECT $3::interval * (1 + random()) AS lasts) _
"""


def kept(server: EmbeddedPostgres, name: str, *, sessions: int) -> str:
    """Return the DSN of a database with that many valid sessions, made unless an earlier run made it."""
    return fixtures.kept_database(
        server, name, accounts=sessions // PER_ACCOUNT, made_as=f", {sessions} sessions",
        fill=lambda dsn: asyncio.run(_fill(dsn, sessions)),
    )  # fmt: skip


async def _fill(dsn: str, sessions: int) -> None:
    """Insert the sessions of each account, in the order of time; build the indexes at the end."""
    connection = await asyncpg.connect(dsn, command_timeout=3600)
    try:
        await connection.execute(
            "SET maintenance_work_mem = '512MB'; SET session_replication_role = 'replica'"
        )
        indexes = await connection.fetch(_INDEXES)
        for index in indexes:
            await connection.execute(_drop_index(index))
        accounts = await connection.fetchval("SELECT count(*) FROM users")
        for before in range(0, sessions, accounts):
            await connection.execute(_SESSIONS, before, sessions, AGENT)
        for index in indexes:
            await connection.execute(_create_index(index))
        await connection.execute("VACUUM ANALYZE")
        await connection.execute("CHECKPOINT")
    finally:
        await connection.close()


def _drop_index(index: asyncpg.Record) -> str:
    if index["of_constraint"]:
        return f"ALTER TABLE sessions DROP CONSTRAINT {index['of_constraint']}"
    return f"DROP INDEX {index['name']}"


def _create_index(index: asyncpg.Record) -> str:
    if index["of_constraint"]:
        return f"ALTER TABLE sessions ADD CONSTRAINT {index['of_constraint']} {index['constrained_by']}"
    made_by: str = index["made_by"]
    return made_by


async def add(
    connection: asyncpg.Connection, accounts: list[UUID], count: int, lasts: timedelta
) -> list[str]:
    """Add sessions to some of the accounts, and return their tokens; below zero they are expired."""
    first = time.time_ns()
    await connection.execute(_MORE, accounts, first, lasts, count, AGENT)
    return [fixtures.session_token(first + number) for number in range(count)]
