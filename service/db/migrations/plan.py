"""Plans: what each step of a schema change would do, without running it."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from io import StringIO
from typing import Any

from alembic.operations import Operations
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, text
from sqlalchemy.exc import ProgrammingError
from sqlalchemy.ext.asyncio import AsyncEngine

from service.db.migrations import operations, parking
from service.db.migrations.compatibility import SchemaState
from service.db.migrations.history import Step, destination, revision_map, state_at
from service.db.migrations.online import DataCheck
from service.db.tables import Base

_SIZES = """
SELECT relname AS name, reltuples::bigint AS rows, pg_total_relation_size(pg_class.oid) AS bytes
FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
WHERE nspname IN (current_schema(), :parked) AND relkind = 'r' ORDER BY relname
"""


@dataclass(frozen=True, slots=True)
class TableSize:
    """A table's size. `rows` is PostgreSQL's estimate, or counted if there is none."""

    name: str
    rows: int
    bytes: int


@dataclass(frozen=True, slots=True)
class StepPlan:
    """What one step would do, the schema it leads to, the tables it touches, and what would stop it now."""

    step: Step
    schema: SchemaState
    sql: str
    tables: tuple[TableSize, ...]
    obstacles: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Script:
    """A step as SQL, with its data checks."""

    sql: str
    data_checks: tuple[DataCheck, ...]


def write_script(step: Step, parked: Iterable[str] = ()) -> Script:
    """Return a step's SQL, given what is parked."""
    operations.register()
    buffer, data_checks = StringIO(), list[DataCheck]()
    options: dict[str, Any] = {
        "as_sql": True,
        "output_buffer": buffer,
        "literal_binds": True,
        "target_metadata": Base.metadata,
        "parked": frozenset(parked),
        "data_checks": data_checks,
    }
    context = MigrationContext.configure(dialect_name="postgresql", opts=options)
    with Operations.context(context):
        getattr(step.revision.module, step.direction)()
    return Script(_condense(buffer.getvalue()), tuple(data_checks))


def _condense(sql: str) -> str:
    """Remove empty lines and empty transactions."""
    lines = re.sub(r"\n{2,}", "\n", sql)
    return re.sub(r"^BEGIN;\nCOMMIT;\n", "", lines, flags=re.MULTILINE).strip()


async def make_plan(engine: AsyncEngine, steps: Iterable[Step]) -> list[StepPlan]:
    """Return what each step would do to a database. It changes and locks nothing."""
    async with engine.connect() as connection:
        return await connection.run_sync(_plan, list(steps))


def _plan(connection: Connection, steps: list[Step]) -> list[StepPlan]:
    parked, sizes = parking.list_parked(connection), _sizes(connection)
    # An earlier step of the plan would have restored parked tables: find them by name, too.
    connection.execute(text(f"SET LOCAL search_path = public, {parking.SCHEMA}"))
    found = parked.keys() | parking.list_guards(connection)
    return [_plan_step(connection, step, found, sizes) for step in steps]


def _plan_step(connection: Connection, step: Step, parked: Iterable[str], sizes: list[TableSize]) -> StepPlan:
    script = write_script(step, parked)
    touched = tuple(size for size in sizes if re.search(rf'[\s".]{re.escape(size.name)}["\s;(]', script.sql))
    found = (_run_check(connection, check) for check in script.data_checks)
    schema = state_at(revision_map(), destination([step]))
    return StepPlan(step, schema, script.sql, touched, tuple(obstacle for obstacle in found if obstacle))


def _run_check(connection: Connection, check: DataCheck) -> str | None:
    try:
        with connection.begin_nested():
            return check.find(connection)
    except ProgrammingError:
        return None  # an earlier step of the plan creates the table or the column


def _sizes(connection: Connection) -> list[TableSize]:
    rows = connection.execute(text(_SIZES), {"parked": parking.SCHEMA}).all()
    return [TableSize(row.name, _rows(connection, row), row.bytes) for row in rows]


def _rows(connection: Connection, row: Any) -> int:
    if row.rows >= 0:
        return int(row.rows)
    try:
        with connection.begin_nested():
            found = connection.execute(text(f'SELECT count(*) FROM "{row.name}"'))  # noqa: S608 -- from pg_class
            return int(found.scalar_one())
    except ProgrammingError:
        return 0
