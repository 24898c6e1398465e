"""Rows for each revision, and a picture of all rows to compare."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg

Picture = dict[str, list[dict[str, Any]]]

USER_3 = "00000000-0000-7000-8000-000000000003"

_ROWS = {
    1: """
        INSERT INTO users (id, name, login_id, password_hash)
        SELECT ('00000000-0000-7000-8000-' || lpad(to_hex(n), 12, '0'))::uuid, 'User ' || n, 'user' || n,
               CASE WHEN n % 3 > 0 THEN '$argon2id$' || n END
        FROM generate_series(1, {count}) AS n
    """,
    2: """
        UPDATE users SET created_at = created_at - random() * interval '90 days' WHERE login_id LIKE '%1'
    """,
    3: """
        UPDATE users SET role = CASE WHEN login_id LIKE '%3' THEN 'admin' ELSE 'user' END,
            state = CASE WHEN login_id LIKE '%7' THEN 'disabled' ELSE 'active' END,
            must_change = login_id LIKE '%5',
            last_login_at = CASE WHEN login_id LIKE '%2' THEN now() - random() * interval '9 days' END
    """,
    4: """
        INSERT INTO sessions (id, user_id, token_digest, expires_at, idle_expires_at, user_agent, ip)
        SELECT gen_random_uuid(), id, sha256(('s' || id || n)::bytea), now() + interval '30 days',
               now() + interval '7 days', CASE n WHEN 1 THEN 'curl' END, '192.0.2.' || n
        FROM users, generate_series(1, 2) AS n;
        INSERT INTO devices (id, user_id, token_digest, network)
        SELECT gen_random_uuid(), id, sha256(('d' || id)::bytea), '192.0.2.0/24' FROM users
    """,
    5: """
        INSERT INTO api_keys (id, name, scopes, prefix, token_digest)
        VALUES (gen_random_uuid(), 'gateway', '{{users:read,users:write}}', 'rck_AbC1', sha256('k'))
    """,
    6: """
        INSERT INTO reset_tokens (user_id, token_digest, expires_at)
        SELECT id, sha256(('r' || id)::bytea), now() + interval '1 hour' FROM users WHERE login_id LIKE '%4'
    """,
    7: """
        INSERT INTO login_buckets (digest, user_id, failures)
        SELECT sha256(('b' || id)::bytea), id, 3 FROM users WHERE login_id LIKE '%6';
        INSERT INTO login_buckets (digest, failures) VALUES (sha256('nobody'), 1);
        INSERT INTO network_buckets (network, minute_failures) VALUES ('192.0.2.0/24', 2)
    """,
    8: """
        INSERT INTO idempotency_keys (digest, request_digest, status, headers, body)
        VALUES (sha256('i'), sha256('q'), 201, '{{"etag": "x"}}', '\\x00ff')
    """,
    9: """
        INSERT INTO events (id, actor_id, actor_kind, action, subject_id)
        SELECT gen_random_uuid(), id, 'user', 'logged_in', id FROM users
    """,
    10: """
        INSERT INTO instances (id, host, pid, release, oldest_revision, newest_revision, seen_at)
        VALUES (gen_random_uuid(), 'here', 1, '0.1.0', 10, 12, now() - interval '1 minute')
    """,
    11: """
        UPDATE sessions SET last_used_at = now() + interval '1 minute' WHERE ip = '192.0.2.1'
    """,
    12: "SELECT 1",  # no table of ours
    13: """
        UPDATE users SET password_changed_at = created_at WHERE login_id LIKE '%1';
        UPDATE sessions SET device_id = devices.id FROM devices
        WHERE devices.user_id = sessions.user_id AND ip = '192.0.2.2';
        UPDATE api_keys SET created_by = '00000000-0000-7000-8000-000000000003';
        UPDATE idempotency_keys SET user_id = '00000000-0000-7000-8000-000000000001'
    """,
    14: """
        INSERT INTO signing_keys (id, algorithm, public_jwk, private_key, signs_from, ends_at)
        VALUES (gen_random_uuid(), 'ES256', '{{"kty": "EC"}}', '\\x0100ff', now(), now() + interval '1 day'),
               (gen_random_uuid(), 'EdDSA', '{{"kty": "OKP"}}', '\\x0100fe', now() + interval '1 hour', NULL)
    """,
    15: """
        INSERT INTO outbox (id, user_id, kind, recipient, locale, params, message_id,
                            token_seed, token_digest, give_up_at)
        SELECT gen_random_uuid(), id, 'recovery', login_id || '@example.org', 'de', '{{"name": "Ada"}}',
               id || '@example.org', sha256('seed'), sha256('digest'), now() + interval '1 day'
        FROM users WHERE login_id LIKE '%2'
    """,
    16: """
        UPDATE users SET email = login_id || '@example.org', locale = 'de', external_id = 'x-' || login_id,
            email_verified_at = CASE WHEN login_id LIKE '%2' THEN now() END,
            metadata = '{{"plan": "pro"}}' WHERE login_id LIKE '%2' OR login_id LIKE '%4';
        UPDATE users SET pending_email = 'new@example.org' WHERE login_id LIKE '%3'
    """,
    17: """
        UPDATE reset_tokens SET mailed_to = 'user4@example.org';
        INSERT INTO mail_requests (id, kind, login_id) VALUES (gen_random_uuid(), 'recovery', 'user1');
        INSERT INTO mail_counts (digest) VALUES (sha256('user1'));
        INSERT INTO email_verifications (user_id, email, token_digest, expires_at)
        SELECT id, 'new@example.org', sha256(('v' || id)::bytea), now() + interval '1 day'
        FROM users WHERE login_id LIKE '%3';
        INSERT INTO login_codes (token_digest, user_id, code_digest, expires_at)
        SELECT sha256(('c' || id)::bytea), id, sha256('12345678'), now() + interval '10 minutes'
        FROM users WHERE login_id LIKE '%6'
    """,
    18: """
        UPDATE users SET factors = '{{totp,passkey}}' WHERE login_id LIKE '%2';
        UPDATE sessions SET amr = '{{pwd,otp,mfa}}', authenticated_at = now()
        WHERE user_id IN (SELECT id FROM users WHERE login_id LIKE '%2');
        INSERT INTO totp_secrets (id, user_id, secret, confirmed_at, last_step)
        SELECT gen_random_uuid(), id, '\\x0100ff', now(), 58000000 FROM users WHERE login_id LIKE '%2';
        INSERT INTO totp_secrets (id, user_id, secret)
        SELECT gen_random_uuid(), id, '\\x0100fe' FROM users WHERE login_id LIKE '%2';
        INSERT INTO passkeys (id, user_id, name, credential_id, public_key, sign_count, aaguid, transports,
                              is_backup_eligible, is_backed_up)
        SELECT gen_random_uuid(), id, 'Phone', sha256(('p' || id)::bytea), sha256('key'), 7,
               gen_random_uuid(), '{{internal,hybrid}}', true, true FROM users WHERE login_id LIKE '%2';
        INSERT INTO recovery_codes (code_digest, user_id)
        SELECT sha256((number || 'r' || id)::bytea), id
        FROM users, generate_series(1, 10) AS number WHERE login_id LIKE '%2';
        INSERT INTO login_challenges (token_digest, user_id, expires_at)
        SELECT sha256(('l' || id)::bytea), id, now() + interval '5 minutes'
        FROM users WHERE login_id LIKE '%2';
        INSERT INTO passkey_challenges (id, user_id, challenge, expires_at)
        VALUES (gen_random_uuid(), NULL, sha256('challenge'), now() + interval '5 minutes')
    """,
    19: "SELECT 1",  # its row comes with the table
    20: "UPDATE users SET name = 'Élodie Straße ' || login_id WHERE login_id LIKE '%8'",
    21: "UPDATE users SET email = 'user2@example.org' WHERE login_id LIKE '%6' OR login_id LIKE '%9'",
    22: "UPDATE login_buckets SET attempts = 2 WHERE user_id IS NOT NULL",
    23: "SELECT 1",  # an index
    24: "UPDATE users SET external_id = 'crm-' || login_id WHERE login_id LIKE '%3'",
}


@asynccontextmanager
async def connected(dsn: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(dsn)
    try:
        yield connection
    finally:
        await connection.close()


async def fill(dsn: str, *, first: int = 1, last: int = 24, count: int = 12) -> None:
    """Insert the rows that belong to the revisions from first to last."""
    async with connected(dsn) as connection:
        for number in range(first, last + 1):
            await connection.execute(_ROWS[number].format(count=count))


async def picture(dsn: str) -> Picture:
    """All rows of all tables but the version and the heartbeats' own, as sorted objects."""
    async with connected(dsn) as connection:
        names = await connection.fetch(
            "SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tablename <> 'alembic_version'"
        )
        return {name: await _rows(connection, name) for (name,) in names}


async def _rows(connection: asyncpg.Connection, table: str) -> list[dict[str, Any]]:
    found = await connection.fetch(f'SELECT to_jsonb(t)::text FROM "{table}" AS t ORDER BY 1')
    return [json.loads(row[0]) for row in found]


async def sums(dsn: str) -> dict[str, str]:
    """One sum over all rows of each table: for many rows, cheaper than the picture."""
    async with connected(dsn) as connection:
        names = await connection.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
        query = "SELECT count(*) || ' ' || sum(hashtextextended(to_jsonb(t)::text, 0)) FROM \"{}\" AS t"
        return {name: str(await connection.fetchval(query.format(name))) for (name,) in names}


async def execute(dsn: str, sql: str) -> None:
    async with connected(dsn) as connection:
        await connection.execute(sql)


async def fetch(dsn: str, sql: str) -> Any:
    """The first value of the first row."""
    async with connected(dsn) as connection:
        return await connection.fetchval(sql)
