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

from service.db.migrations.lock_retry import sqlstate
from service.db.migrations.running import connection_to
from service.embedded.binaries import binary, environment

_IN_USE = "55006"
_HEAD_BYTES = 4096
"""Enough for the settings with which a dump begins."""


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

    Raises:
        CannotCopy: the dump or its loading failed.
        sqlalchemy.exc.DBAPIError: the role may not create databases.
    """
    name = f"rollcall_scratch_{token_hex(6)}"
    if not (is_copy and await _clone(dsn, name)):
        await _execute(dsn, f"CREATE DATABASE {name} TEMPLATE template0")
        if is_copy:
            await _load_dump(dsn, dsn_of(dsn, name))
    try:
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


async def _execute(dsn: str, statement: str) -> None:
    async with connection_to(dsn) as connection:
        await connection.execute(text(statement))


async def _load_dump(source: str, target: str) -> None:
    """Copy through pg_dump, which takes one consistent picture of a database in use."""
    with NamedTemporaryFile() as dump:
        await _run("pg_dump", "--no-owner", "--no-privileges", "--file", dump.name, source)
        _comment_out_new_setting(Path(dump.name))
        options = ("--quiet", "--no-psqlrc", "--set", "ON_ERROR_STOP=1")
        await _run("psql", *options, "--file", dump.name, "--dbname", target)


def _comment_out_new_setting(dump: Path) -> None:
    """Make a dump fit any server: before 17 they reject this setting, which has its default here."""
    with dump.open("r+b") as file:
        head = file.read(_HEAD_BYTES)
        file.seek(0)
        file.write(head.replace(b"\nSET transaction_timeout", b"\n--- transaction_timeout"))


async def _run(program: str, *arguments: str) -> None:
    command = (str(binary(program)), *arguments)
    process = await asyncio.create_subprocess_exec(
        *command, stdin=DEVNULL, stdout=DEVNULL, stderr=PIPE, env=environment()
    )
    _, complaints = await process.communicate()
    if process.returncode != 0:
        raise CannotCopy(complaints.decode(errors="replace").strip().partition("\n")[0])
