"""Concurrent migrations, and migrations that are interrupted or killed."""

import asyncio
import os
import random
import re
import signal
import sys
from queue import Queue

import pytest

from service.db.migrations.compatibility import HEAD
from service.db.migrations.history import ROOT
from service.db.migrations.lock_retry import LockRetryPolicy
from service.db.migrations.running import downgrade, drop_unfinished, upgrade
from tests.migrations.rows import connected, fill, picture
from tests.migrations.test_schema import dump

# Five processes, forked from one that has imported everything: that takes longer than to migrate.
MIGRATE_FIVE_TIMES = """
import os, sys
from service.cli import database, main
sys.argv = ["service", "database", "migrate"]
children = []
for _ in range(5):
    children.append(os.fork())
    if not children[-1]:
        sys.stdout = open(os.devnull, "w")
        sys.exit(main())
print(*[os.waitpid(child, 0)[1] for child in children])
"""


async def test_migrate_five_times_concurrently_applies_each_revision_once(empty_database: str) -> None:
    process = await _python(empty_database, "-c", MIGRATE_FIVE_TIMES)
    ended, said = await process.communicate()
    assert ended.split() == [b"0"] * 5
    assert sorted(re.findall(r"applying (\d{4})", said.decode())) == [
        f"{number:04}" for number in range(1, HEAD + 1)
    ]


async def test_migrate_after_a_killed_migration_completes_it(database: str) -> None:
    await fill(database, count=300)
    schema, rows = dump(database), await picture(database)
    await roll_back_and_migrate_with_kills(database, random.Random(1))
    await upgrade(database)
    await drop_unfinished(database, LockRetryPolicy())
    assert (dump(database), await picture(database)) == (schema, rows)


@pytest.mark.slow
@pytest.mark.timeout(600)
async def test_migrate_after_each_of_twenty_killed_migrations_loses_nothing(database: str) -> None:
    await fill(database, count=3000)
    schema, rows = dump(database), await picture(database)
    rng = random.Random(20)
    for _ in range(20):
        await roll_back_and_migrate_with_kills(database, rng)
        await upgrade(database)
        await drop_unfinished(database, LockRetryPolicy())
        assert (dump(database), await picture(database)) == (schema, rows)


async def test_interrupt_migration_exits_with_130_and_can_be_repeated(database: str) -> None:
    await fill(database)
    await downgrade(database, "0020_fold_names")  # the steps above wait for transactions, not for the lock
    async with connected(database) as other:
        await other.execute("BEGIN; LOCK TABLE users IN ACCESS SHARE MODE")
        process = await _command(database, "rollback", "--to", "base", "--force")
        while "in use" not in (line := (await _errors(process).readline()).decode()):
            assert line, "it ended before it waited for the lock"
        process.send_signal(signal.SIGTERM)
        _, said = await process.communicate()
        assert (process.returncode, said.decode().splitlines()[-1]) == (130, "Interrupted.")
    process = await _command(database, "rollback", "--to", "base", "--force")
    said, _ = await process.communicate()
    assert (process.returncode, said.decode()) == (0, "The schema is at base.\n")


async def test_migrate_that_waits_for_a_transaction_names_it(database: str) -> None:
    """An index is built and dropped concurrently, which waits for every transaction that is open."""
    await downgrade(database, "0020_fold_names")
    async with connected(database) as other:
        await other.execute("BEGIN; SELECT count(*) FROM users; LOCK TABLE users IN ACCESS SHARE MODE")
        pid = await other.fetchval("SELECT pg_backend_pid()")
        lines: Queue[str] = Queue()
        migrating = asyncio.create_task(upgrade(database, report=lines.put))
        migrating.add_done_callback(lambda _task: lines.put(""))
        while "waiting" not in (line := await asyncio.to_thread(lines.get)):
            assert line, "it ended before it waited for the transaction"
        assert re.fullmatch(rf"waiting for process {pid} \(.+, idle in transaction for \d+ s\)", line)
        await other.execute("COMMIT")
    await migrating


async def roll_back_and_migrate_with_kills(dsn: str, rng: random.Random) -> None:
    """Roll back to base and migrate, each in a process that is killed at a random moment."""
    for command in (("rollback", "--to", "base", "--force"), ("migrate",)):
        process = await _command(dsn, *command)
        lines = rng.randint(1, 12)
        while lines and await _errors(process).readline():
            lines -= 1
        await asyncio.sleep(rng.uniform(0, 0.02))
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def _command(dsn: str, *words: str) -> asyncio.subprocess.Process:
    return await _python(dsn, "-m", "service", "database", *words)


async def _python(dsn: str, *arguments: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *(sys.executable, *arguments),
        cwd=ROOT,
        env={"DATABASE_URL": dsn, "PATH": os.environ["PATH"]},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


def _errors(process: asyncio.subprocess.Process) -> asyncio.StreamReader:
    assert process.stderr is not None
    return process.stderr
