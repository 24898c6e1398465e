"""Temporary databases: empty ones for checks, copies for rehearsals."""

import asyncio
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from secrets import token_hex
from tempfile import NamedTemporaryFile

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from service.db.core.connecting import libpq_environment
from service.db.migrations import parking
from service.db.migrations.lock_retry import sqlstate
from service.db.migrations.running import connection_to
from service.embedded.binaries import binary, environment

SCRATCH_PREFIX = "rollcall_scratch_"
"""The names of these databases begin with it, so that `doctor` finds what a killed process left."""

_IN_USE = "55006"
_HEAD_BYTES = 4096
"""Enough for the settings with which a dump begins."""

# Tables with hashes, digests of tokens or secrets, and the responses kept for repetition, which may hold one.
_CREDENTIALS = """
SELECT format('%I.%I', table_schema, table_name) AS place, bool_or(column_name = 'password_hash') AS is_hash
FROM information_schema.columns
WHERE table_schema IN (current_schema(), :parked)
  AND (column_name IN ('password_hash', 'token_digest', 'code_digest', 'private_key')
       OR column_name LIKE '%secret%' OR table_name = 'idempotency_keys')
GROUP BY 1
"""
_DELETE = "DELETE FROM {table}"
_SCRAMBLE = """
UPDATE {table} SET password_hash = '$argon2id$v=19$m=19456,t=2,p=1$' || left(md5(random()::text), 22) || '$'
    || left(md5(random()::text) || md5(random()::text), 43)
WHERE password_hash IS NOT NULL
"""


class CannotCopy(Exception):
    """The database could not be copied."""


def dsn_of(dsn: str, database: str) -> str:
    """Return the DSN of another database on the same server."""
    head, mark, query = dsn.partition("?")
    scheme, _, rest = head.partition("://")
    return f"{scheme}://{rest.partition('/')[0]}/{database}{mark}{query}"


@asynccontextmanager
async def scratch_database(dsn: str, *, is_copy: bool = False) -> AsyncIterator[str]:
    """Yield the DSN of a new database on the same server, empty or a copy, and drop it afterwards.

    A copy has no credential that works: hashes are random, and tokens and keys are deleted.

    Raises:
        CannotCopy: the dump or its loading failed.
        sqlalchemy.exc.DBAPIError: the role may not create databases.
    """
    name = f"{SCRATCH_PREFIX}{token_hex(6)}"
    if not (is_copy and await _clone(dsn, name)):
        await _execute(dsn, f"CREATE DATABASE {name} TEMPLATE template0")
        if is_copy:
            await _load_dump(dsn, dsn_of(dsn, name))
    try:
        if is_copy:
            await remove_credentials(dsn_of(dsn, name))
        yield dsn_of(dsn, name)
    finally:
        await _execute(dsn, f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


async def _clone(dsn: str, name: str) -> bool:
    """Copy by template, which is fast but impossible while the source is in use; return whether it worked."""
    try:
        async with connection_to(dsn) as connection:
            source = await connection.scalar(text("SELECT current_database()"))
        # Connect to another database: a template must have no connections, ours included.
        await _execute(dsn_of(dsn, "template1"), f'CREATE DATABASE {name} TEMPLATE "{source}"')
    except DBAPIError as error:
        if sqlstate(error) != _IN_USE:
            raise
        return False
    return True


async def remove_credentials(dsn: str) -> None:
    """Make every password and token in a copy useless, also in what rollbacks parked.

    The schema may be of any revision. Source: OWASP ASVS 5.0 14.2.4 (protection of copies).
    """
    async with connection_to(dsn) as connection:
        await connection.execute(text("SET rollcall.migrating = on"))  # no change of a user, see touch_user()
        for row in (await connection.execute(text(_CREDENTIALS), {"parked": parking.SCHEMA})).all():
            statement = _SCRAMBLE if row.is_hash else _DELETE
            await connection.execute(text(statement.format(table=row.place)))


async def _execute(dsn: str, statement: str) -> None:
    async with connection_to(dsn) as connection:
        await connection.execute(text(statement))


async def _load_dump(source: str, target: str) -> None:
    """Copy through pg_dump, which takes one consistent picture of a database in use."""
    with NamedTemporaryFile() as dump:
        await _run(source, "pg_dump", "--no-owner", "--no-privileges", "--file", dump.name)
        _comment_out_new_setting(Path(dump.name))
        options = ("--quiet", "--no-psqlrc", "--set", "ON_ERROR_STOP=1")
        await _run(target, "psql", *options, "--file", dump.name)


def _comment_out_new_setting(dump: Path) -> None:
    """Make a dump fit any server: before 17 they reject this setting, which has its default here."""
    with dump.open("r+b") as file:
        head = file.read(_HEAD_BYTES)
        file.seek(0)
        file.write(head.replace(b"\nSET transaction_timeout", b"\n--- transaction_timeout"))


async def _run(dsn: str, program: str, *arguments: str) -> None:
    """Run a program of PostgreSQL on a database, which the environment names: anybody can read arguments."""
    command = (str(binary(program)), *arguments)
    process = await asyncio.create_subprocess_exec(
        *command, stdin=DEVNULL, stdout=DEVNULL, stderr=PIPE, env=environment() | libpq_environment(dsn)
    )
    _, complaints = await process.communicate()
    if process.returncode != 0:
        raise CannotCopy(complaints.decode(errors="replace").strip().partition("\n")[0])
