"""What migrating makes is what is declared."""

import re
import subprocess
from asyncio import to_thread
from pathlib import Path

from alembic import command
from alembic.config import Config

from service.db.migrations.history import alembic_config
from service.db.migrations.lock_retry import LockRetryPolicy
from service.db.migrations.running import downgrade, migration_engine, upgrade
from service.db.tables import Base
from service.embedded.binaries import binary
from tests.migrations.rows import execute, fetch

DECLARED_TRIGGERS = Path(__file__).parent / "triggers.sql"


def dump(dsn: str) -> set[str]:
    """Return the statements that make a schema; the order of columns does not count.

    Newer minor releases keep a `pg_attver` for each column, which an older pg_dump takes for an option.
    """
    options = ["--schema-only", "--no-owner", "--restrict-key=x", "--exclude-table=alembic_version"]
    made = subprocess.run(
        [binary("pg_dump"), *options, "--schema=public", dsn], capture_output=True, text=True, check=True
    )
    text = re.sub(
        r"^(--.*|\\.*|SET .*|SELECT .*|.*SET \(pg_attver=.*)\n", "", made.stdout, flags=re.MULTILINE
    )
    statements = re.split(r";\n\n", text)
    return {_sorted(statement.strip()) for statement in statements if statement.strip()}


def _sorted(statement: str) -> str:
    if not statement.startswith("CREATE TABLE"):
        return statement
    head, *lines = statement.splitlines()
    return "\n".join([head, *sorted(line.strip().rstrip(",") for line in lines)])


async def _create_declared(dsn: str) -> None:
    engine = migration_engine(dsn)
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
    await engine.dispose()
    await execute(dsn, DECLARED_TRIGGERS.read_text())


async def test_dump_of_migrated_equals_dump_of_declared(database: str, empty_database: str) -> None:
    await _create_declared(empty_database)
    assert dump(database) == dump(empty_database)


async def test_dump_after_down_and_up_equals_the_dump_before(database: str) -> None:
    before = dump(database)
    await downgrade(database, "base")
    await upgrade(database)
    assert dump(database) == before
    assert await fetch(database, "SELECT count(*) FROM pg_tables WHERE schemaname = 'rollcall_parked'") == 0


async def test_dump_at_base_equals_the_dump_of_an_empty_database(database: str, empty_database: str) -> None:
    await downgrade(database, "base")
    assert dump(database) == dump(empty_database)


def _draft(dsn: str, folder: Path) -> tuple[Config, str]:
    config = alembic_config(
        more_versions=folder, dsn=dsn, lock_retry=LockRetryPolicy(), report=lambda _line: None
    )
    command.revision(config, "Try it out", autogenerate=True, version_path=str(folder))
    (path,) = folder.glob("*.py")
    return config, path.read_text()


def test_draft_from_a_schema_in_step_is_empty(database: str, tmp_path: Path) -> None:
    _, draft = _draft(database, tmp_path)
    assert 'revision = "0012_try_it_out"' in draft
    assert len(re.findall(r"def (?:up|down)grade\(\) -> None:\n(?:    #.*\n)*    pass\n", draft)) == 2


async def test_draft_from_a_schema_out_of_step_makes_it_right_in_both_directions(
    database: str, tmp_path: Path
) -> None:
    await execute(
        database,
        "CREATE TABLE legacy (id uuid PRIMARY KEY, x text); CREATE INDEX ix_legacy ON legacy (x);"
        "ALTER TABLE events ADD COLUMN extra text; ALTER TABLE users DROP COLUMN state;"
        "DROP TABLE devices; DROP INDEX ix_sessions_ends_at;"
        "INSERT INTO legacy VALUES (gen_random_uuid(), 'kept')",
    )
    before = dump(database)
    config, draft = await to_thread(_draft, database, tmp_path)
    assert 'op.restore_columns("users"' in draft
    await upgrade(database, more_versions=tmp_path)
    await to_thread(command.check, config)
    after = dump(database)
    await downgrade(database, more_versions=tmp_path)
    assert await fetch(database, "SELECT x FROM legacy") == "kept"
    assert dump(database) == before
    await upgrade(database, more_versions=tmp_path)
    assert dump(database) == after
