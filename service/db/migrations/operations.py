"""Operations of Rollcall's own for revisions: parking what a rollback takes away, building indexes online."""

from typing import Any

from alembic.operations import MigrateOperation, Operations
from sqlalchemy import Column, text

PARKED = "rollcall_parked"


class DataInTheWay(Exception):
    """Rows that a revision cannot take along; nothing was changed."""


class Parking(MigrateOperation):
    """One operation on a table: an action, and its arguments."""

    def __init__(self, action: Any, *arguments: Any, **options: Any) -> None:
        self.action, self.arguments, self.options = action, arguments, options


def register() -> None:
    """Make the operations known to `alembic.op`. Doing it again changes nothing."""
    if hasattr(Operations, "park_table"):
        return
    Operations.implementation_for(Parking)(
        lambda operations, operation: operation.action(operations, *operation.arguments, **operation.options)
    )
    for action in ACTIONS:
        _register(action)


def _register(action: Any) -> None:
    def call(cls: Any, operations: Operations, *arguments: Any, **options: Any) -> Any:
        return operations.invoke(cls(action, *arguments, **options))

    name = action.__name__
    call.__name__ = name
    setattr(Parking, name, classmethod(call))
    Operations.register_operation(name)(Parking)


def _exists(operations: Operations, name: str) -> bool:
    if operations.get_context().as_sql:
        return False
    found = operations.get_bind().execute(text("SELECT to_regclass(:name) IS NOT NULL"), {"name": name})
    return bool(found.scalar_one())


def park_table(operations: Operations, table: str) -> None:
    """Move a table with its rows, indexes and constraints out of the way."""
    operations.execute(f"CREATE SCHEMA IF NOT EXISTS {PARKED}")
    operations.execute(f"ALTER TABLE {table} SET SCHEMA {PARKED}")


def restore_table(operations: Operations, table: str) -> bool:
    """Bring a parked table back; return whether there was one."""
    if not _exists(operations, f"{PARKED}.{table}"):
        return False
    operations.execute(f"ALTER TABLE {PARKED}.{table} SET SCHEMA public")
    return True


def park_column(operations: Operations, table: str, column: str, *, key: tuple[str, ...] = ("id",)) -> None:
    """Drop a column, keeping its values by key."""
    operations.drop_column(table, column)


def restore_column(
    operations: Operations, table: str, column: Column[Any], *, key: tuple[str, ...] = ("id",)
) -> None:
    """Add a column, with the values that were parked."""
    operations.add_column(table, column, if_not_exists=True)


def build_index(operations: Operations, name: str, table: str, columns: list[Any], **options: Any) -> None:
    """Create an index while the table stays in use; drop what an interrupted build left first."""
    with operations.get_context().autocommit_block():
        operations.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {name}")
        operations.create_index(name, table, columns, postgresql_concurrently=True, **options)


def remove_index(operations: Operations, name: str) -> None:
    """Drop an index while the table stays in use."""
    with operations.get_context().autocommit_block():
        operations.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {name}")


def refuse_duplicates(operations: Operations, table: str, column: str) -> None:
    """Refuse to go on when several rows share a value, naming the values.

    Raises:
        DataInTheWay: there are such rows.
    """
    if operations.get_context().as_sql:
        return
    found = operations.get_bind().execute(
        text(f"SELECT {column}, count(*) FROM {table} GROUP BY 1 HAVING count(*) > 1 ORDER BY 1 LIMIT 20")  # noqa: S608
    )
    duplicates = [f"{value} ({count})" for value, count in found]
    if duplicates:
        raise DataInTheWay(f"{table}.{column} is not unique: {', '.join(duplicates)}")


ACTIONS = (
    park_table,
    restore_table,
    park_column,
    restore_column,
    build_index,
    remove_index,
    refuse_duplicates,
)
