"""Parking where it is not the usual table, and what happens to parked rows meanwhile."""

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

import asyncpg
import pytest
import pytest_asyncio

from service.db.core.statements import Statement
from service.db.core.transaction import Transaction
from service.db.migrations.compatibility import HEAD_ID
from service.db.migrations.lock_retry import LockRetryPolicy, StillLocked
from service.db.migrations.running import downgrade, purge, upgrade
from service.db.repositories.cleanup import Cleanup
from tests.migrations.rows import USER_3, connected, execute, fetch, fill, picture
from tests.support.databases import Databases

HASTY = LockRetryPolicy(timedelta(milliseconds=20), timedelta(milliseconds=100))
REVISION = """
from alembic import op
import sqlalchemy as sa

revision, down_revision = "0901_add_note", "HEAD_ID"


def upgrade():
    op.restore_columns("pairs", sa.Column("note", sa.Text(), server_default="x"), key=("a", "b"))
    op.restore_columns("pairs", sa.Column("bare", sa.Text()), key=("a", "b"))


def downgrade():
    op.park_columns("pairs", "bare", "note", key=("a", "b"))
"""


@pytest.fixture
async def pairs(database: str, tmp_path: Path) -> tuple[str, Path]:
    """A table with a key of two columns and a row count just over two batches."""
    (tmp_path / "0901_add_note.py").write_text(REVISION.replace("HEAD_ID", HEAD_ID))
    await execute(
        database,
        "CREATE TABLE pairs (a int, b text, PRIMARY KEY (a, b));"
        "INSERT INTO pairs SELECT n % 3, 'b' || n FROM generate_series(1, 4001) AS n",
    )
    await upgrade(database, more_versions=tmp_path)
    await execute(
        database,
        "UPDATE pairs SET note = CASE a WHEN 0 THEN NULL WHEN 1 THEN b ELSE note END,"
        " bare = CASE a WHEN 2 THEN b END",
    )
    return database, tmp_path


async def test_rollback_and_back_keeps_nulls_defaults_and_values_by_a_key_of_two(
    pairs: tuple[str, Path],
) -> None:
    dsn, versions = pairs
    before = await picture(dsn)
    await downgrade(dsn, more_versions=versions)
    assert {tuple(row) for row in (await picture(dsn))["pairs"]} == {("a", "b")}
    await upgrade(dsn, more_versions=versions)
    assert await picture(dsn) == before


async def test_upgrade_tried_again_writes_no_restored_row_again(pairs: tuple[str, Path]) -> None:
    dsn, versions = pairs
    restored = "SELECT array_agg(xmin::text ORDER BY b) FROM pairs WHERE a = 1"
    await downgrade(dsn, more_versions=versions)
    async with connected(dsn) as other:
        await other.execute('BEGIN; LOCK TABLE rollcall_parked."pairs.note" IN ACCESS SHARE MODE')
        with pytest.raises(StillLocked):
            await upgrade(dsn, more_versions=versions, lock_retry=HASTY)
        before = await fetch(dsn, restored)
    await upgrade(dsn, more_versions=versions)
    assert await fetch(dsn, restored) == before


async def test_rollback_parks_no_null_that_would_come_back_anyway(pairs: tuple[str, Path]) -> None:
    dsn, versions = pairs
    await downgrade(dsn, more_versions=versions)
    assert await fetch(dsn, 'SELECT count(*) FROM rollcall_parked."pairs.note"') == 4001
    assert await fetch(dsn, 'SELECT count(*) FROM rollcall_parked."pairs.bare"') == 1334


async def test_park_while_the_role_has_no_rights_on_what_is_parked_lets_it_write(
    pairs: tuple[str, Path],
) -> None:
    """The service's role deletes rows whose parked values belong to another role."""
    dsn, versions = pairs
    await downgrade(dsn, more_versions=versions)
    role = f"writer_{dsn.partition('?')[0].rpartition('/')[2]}"
    await execute(dsn, f"CREATE ROLE {role}; GRANT SELECT, DELETE ON pairs TO {role}")
    try:
        await execute(dsn, f"SET ROLE {role}; DELETE FROM pairs WHERE b = 'b7'")
    finally:
        await execute(dsn, f"DROP OWNED BY {role}; DROP ROLE {role}")
    assert await fetch(dsn, """SELECT count(*) FROM rollcall_parked."pairs.note" WHERE b = 'b7'""") == 0


async def test_purge_of_a_parked_column_lets_it_come_back_with_its_default(pairs: tuple[str, Path]) -> None:
    dsn, versions = pairs
    await downgrade(dsn, more_versions=versions)
    await execute(dsn, "DROP SCHEMA rollcall_parked CASCADE")
    await upgrade(dsn, more_versions=versions)
    assert await fetch(dsn, "SELECT count(*) FROM pairs WHERE note = 'x' AND bare IS NULL") == 4001


CHANGES = {
    1: ("password_hash = 'another'",),
    2: ("password_hash = NULL",),
    3: ("role = 'user'",),
    4: ("state = 'disabled'", "state = 'active'"),
    5: ("must_change = false",),
    7: ("state = 'active'",),
}
"""What happens to a user meanwhile, by its number, if it ends the user's credentials."""
HARMLESS = {
    8: "name = 'N'",
    9: "last_login_at = now()",
    10: "password_hash = password_hash",
    11: "login_id = 'x'",
}


@pytest_asyncio.fixture(scope="module")
async def original_parked(databases: Databases) -> AsyncIterator[str]:
    """A database with parked credentials of every kind that ends with a change, of twelve users."""
    async with databases.migrated() as dsn:
        await fill(dsn)
        of_all = "sha256(id::text::bytea), now() + interval '1 hour' FROM users"
        await execute(
            dsn,
            "TRUNCATE reset_tokens, email_verifications, login_codes, login_challenges;"
            f" INSERT INTO reset_tokens (user_id, token_digest, expires_at) SELECT id, {of_all};"
            " INSERT INTO email_verifications (user_id, email, token_digest, expires_at)"
            f" SELECT id, 'a@example.org', {of_all};"
            " INSERT INTO login_codes (user_id, code_digest, token_digest, expires_at)"
            f" SELECT id, 'c', {of_all};"
            f" INSERT INTO login_challenges (user_id, token_digest, expires_at) SELECT id, {of_all}",
        )
        await downgrade(dsn, "0003_add_roles_and_states")
        yield dsn


@pytest_asyncio.fixture
async def parked(databases: Databases, original_parked: str) -> AsyncIterator[str]:
    async with databases.copied(original_parked) as dsn:
        yield dsn


def change_of(number: int, change: str) -> str:
    return f"UPDATE users SET {change} WHERE id = '{USER_3[:-1]}{number:x}';"


async def users_with(dsn: str, table: str) -> set[int]:
    """Return the numbers of the users that have credentials of a kind."""
    return set(
        await fetch(dsn, f"SELECT array_agg(('x' || right(user_id::text, 2))::bit(8)::int) FROM {table}")
    )


async def test_change_of_a_user_ends_its_parked_credentials_only(parked: str) -> None:
    for number, changes in CHANGES.items():
        for change in changes:
            await execute(parked, change_of(number, change))
    for number, change in HARMLESS.items():
        await execute(parked, change_of(number, change))
    await upgrade(parked)
    kinds = ("sessions", "devices", "reset_tokens", "email_verifications", "login_codes", "login_challenges")
    for kind in kinds:
        assert await users_with(parked, kind) == set(range(1, 13)) - CHANGES.keys()
    assert await fetch(parked, "SELECT count(*) FROM pg_trigger WHERE tgname LIKE 'revoke %'") == 0


async def test_change_of_a_password_while_timestamps_are_parked_too_ends_parked_credentials(
    parked: str,
) -> None:
    await downgrade(parked, "0001_create_users")
    await execute(parked, change_of(1, "password_hash = 'another'"))
    await upgrade(parked)
    assert await users_with(parked, "sessions") == set(range(2, 13))


async def test_change_by_a_role_without_rights_on_what_is_parked_ends_it(parked: str) -> None:
    role = f"writer_{parked.partition('?')[0].rpartition('/')[2]}"
    await execute(parked, f"CREATE ROLE {role}; GRANT SELECT, UPDATE ON users TO {role}")
    disable = change_of(1, "state = 'disabled'")
    try:
        await execute(parked, f"SET ROLE {role}; {disable}")
    finally:
        await execute(parked, f"DROP OWNED BY {role}; DROP ROLE {role}")
    assert await users_with(parked, "rollcall_parked.sessions") == set(range(2, 13))


async def test_purge_of_what_is_parked_takes_its_guards_along(parked: str) -> None:
    await purge(parked, LockRetryPolicy())
    await execute(parked, change_of(1, "state = 'disabled'"))
    assert await fetch(parked, "SELECT count(*) FROM pg_trigger WHERE tgname LIKE 'revoke %'") == 0


async def test_delete_of_a_user_erases_the_parked_responses_that_name_it(database: str) -> None:
    await fill(database)
    await execute(
        database,
        "INSERT INTO idempotency_keys (digest, request_digest, status, headers, body)"
        f""" VALUES ('b', 'q', 201, '{{}}', '{{"id": "{USER_3}"}}'),"""
        f""" ('h', 'q', 204, '{{"location": "/v1/users/{USER_3}"}}', '')""",
    )
    await downgrade(database, "0003_add_roles_and_states")
    await execute(database, f"DELETE FROM users WHERE id = '{USER_3}'")
    found = await fetch(database, "SELECT array_agg(body) FROM rollcall_parked.idempotency_keys")
    assert found == [b"\x00\xff"]


class RunningTransaction:
    """Runs statements on a connection of any role, as an older release may."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self.connection = connection

    async def fetch_all(self, statement: Statement) -> list[Any]:
        return list(await self.connection.fetch(statement.sql))


async def new_role(connection: asyncpg.Connection) -> str:
    """Create a role without rights, and continue as it."""
    role = f"purger_{await connection.fetchval('SELECT current_database()')}"
    await connection.execute(f"CREATE ROLE {role}; SET ROLE {role}")
    return role


async def test_purge_deletes_expired_rows_of_parked_tables(database: str) -> None:
    await fill(database)
    old = {
        "sessions": "idle_expires_at = now() - interval '1 second'",
        "reset_tokens": "expires_at = now() - interval '1 second'",
        "email_verifications": "expires_at = now() - interval '1 second'",
        "login_codes": "expires_at = now() - interval '1 second'",
        "login_challenges": "expires_at = now() - interval '1 second'",
        "mail_requests": "created_at = now() - interval '2 hours'",
        "mail_counts": "hour_started_at = now() - interval '2 hours'",
        "outbox": "created_at = now() - interval '31 days', give_up_at = now() - interval '31 days'",
        "idempotency_keys": "created_at = now() - interval '31 days'",
        "network_buckets": "hour_started_at = now() - interval '2 days'",
        "login_buckets": "updated_at = now() - interval '366 days'",
    }
    for table, change in old.items():
        await execute(database, f"UPDATE {table} SET {change}")
    await execute(
        database, "UPDATE sessions SET idle_expires_at = now() + interval '1 day' WHERE ip LIKE '%1'"
    )
    await downgrade(database, "0003_add_roles_and_states")
    async with connected(database) as connection:
        role = await new_role(connection)
        await Cleanup(cast(Transaction, RunningTransaction(connection))).purge_parked()
        await connection.execute(f"RESET ROLE; DROP ROLE {role}")
    counts = {table: await fetch(database, f"SELECT count(*) FROM rollcall_parked.{table}") for table in old}
    assert counts == {
        "sessions": 12,
        "reset_tokens": 0,
        "email_verifications": 0,
        "login_codes": 0,
        "login_challenges": 0,
        "mail_requests": 0,
        "mail_counts": 0,
        "outbox": 0,
        "idempotency_keys": 0,
        "network_buckets": 0,
        "login_buckets": 1,
    }
