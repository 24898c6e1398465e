"""Parking, a soft drop: tables and columns are kept in a schema of their own until an upgrade restores them.

A table is moved with its indexes and constraints. A column's values are copied to a table keyed like their
row. Foreign keys stay in force: deleting a user also deletes its parked rows. Parked credentials end like
others: guards of the parked schema do what the release that no longer sees them cannot.
"""

# ruff: noqa: S608 -- tables and columns are named by revisions, never by input

from typing import Any

from alembic.operations import Operations
from sqlalchemy import Column, Connection, text

from service.db.migrations import parked_guards
from service.db.migrations.batches import in_batches, listed

SCHEMA = "rollcall_parked"

_UNFINISHED = """
SELECT proname, substr(proname, length('keep ') + 1)
FROM pg_proc JOIN pg_namespace ON pg_namespace.oid = pronamespace
WHERE nspname = :schema AND proname LIKE 'keep %'
"""


def park_table(
    operations: Operations,
    table: str,
    *,
    credentials_of: str | None = None,
    mentions: str | None = None,
    expired: str | None = None,
) -> None:
    """Move a table with its rows, indexes and constraints to the parking schema.

    While it is parked, a change of a user deletes the credentials whose column `credentials_of` has its id;
    the deletion of one deletes the rows whose text `mentions`, an SQL expression, has its id; and the
    service's purge deletes the rows for which the SQL condition `expired` is true.

    Locks: the table ACCESS EXCLUSIVE for an instant; users SHARE ROW EXCLUSIVE for a guard of its changes.
    """
    operations.execute(f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}")
    operations.execute(f'ALTER TABLE "{table}" SET SCHEMA {SCHEMA}')
    for statement in parked_guards.creation(SCHEMA, table, credentials_of, mentions, expired):
        operations.execute(statement)


def restore_table(operations: Operations, table: str) -> bool:
    """Restore a parked table; return whether there was one.

    Locks: the table ACCESS EXCLUSIVE for an instant, and users too if its changes are guarded.
    """
    if not is_parked(operations, table):
        return False
    for guard in parked_guards.names(table):
        if _has_guard(operations, guard):
            operations.execute(f"DROP FUNCTION {_parked(guard)}() CASCADE")
    operations.execute(f'ALTER TABLE {_parked(table)} SET SCHEMA "{_home(operations)}"')
    return True


def park_columns(operations: Operations, table: str, *columns: str, key: tuple[str, ...] = ("id",)) -> None:
    """Drop columns and keep their values, including those written during the copy.

    The values are copied in batches while triggers copy new writes. The columns are dropped afterwards,
    in one transaction with the rest of the revision. Call it first in a function, so that an interrupted run
    drops nothing.

    Locks: the table SHARE ROW EXCLUSIVE, then ACCESS EXCLUSIVE, each for an instant.
    """
    keep_columns(operations, table, *columns, key=key)
    drop_kept_columns(operations, table, *columns)


def keep_columns(operations: Operations, table: str, *columns: str, key: tuple[str, ...] = ("id",)) -> None:
    """Do the first half of `park_columns`, without dropping; a revision of several tables does it for all.

    Locks: the table SHARE ROW EXCLUSIVE, for an instant.
    """
    for column in columns:
        _copy_new_writes(operations, table, column, key)
    for column in columns:
        _copy(operations, table, column, key)


def drop_kept_columns(operations: Operations, table: str, *columns: str) -> None:
    """Do the second half of `park_columns`.

    Locks: the table ACCESS EXCLUSIVE, for an instant.
    """
    for column in columns:
        operations.execute(f'DROP TRIGGER "{_trigger(column)}" ON "{table}"')
        operations.execute(f"DROP FUNCTION {_function(table, column)}()")
        operations.drop_column(table, column)


def restore_columns(
    operations: Operations, table: str, *columns: Column[Any], key: tuple[str, ...] = ("id",)
) -> None:
    """Add columns and restore their parked values; rows written since have the default.

    Locks: the table ACCESS EXCLUSIVE for an instant; then rows, batch by batch.
    """
    for column in columns:
        operations.add_column(table, column, if_not_exists=True)
    parked = [column.name for column in columns if is_parked(operations, _name(table, column.name))]
    for name in parked:
        _restore(operations, table, name, key)
    for name in parked:
        operations.execute(f"DROP TABLE {_parked(_name(table, name))}")


def drop_unfinished(connection: Connection) -> None:
    """Drop the copies of an interrupted parking; the columns themselves were not dropped."""
    for function, name in connection.execute(text(_UNFINISHED), {"schema": SCHEMA}).all():
        connection.execute(text(f'DROP FUNCTION {SCHEMA}."{function}"() CASCADE'))
        connection.execute(text(f"DROP TABLE IF EXISTS {_parked(name)}"))


def drop_all(connection: Connection) -> None:
    """Delete everything parked."""
    connection.execute(text(f"DROP SCHEMA IF EXISTS {SCHEMA} CASCADE"))


def is_parked(operations: Operations, name: str) -> bool:
    """Return whether something is parked under a name; offline, whether the context lists it."""
    context = operations.get_context()
    if context.as_sql:
        return name in context.opts.get("parked", ())
    found = operations.get_bind().execute(text("SELECT to_regclass(:name)"), {"name": _parked(name)})
    return found.scalar_one() is not None


def list_parked(connection: Connection) -> dict[str, int]:
    """Return the size in bytes of each parked table or column by name."""
    found = connection.execute(
        text(
            "SELECT relname, pg_total_relation_size(pg_class.oid) AS size FROM pg_class"
            " JOIN pg_namespace ON pg_namespace.oid = relnamespace"
            " WHERE nspname = :schema AND relkind = 'r' ORDER BY relname"
        ),
        {"schema": SCHEMA},
    )
    return {row.relname: row.size for row in found}


def list_guards(connection: Connection) -> set[str]:
    """Return the names of the guards of parked tables."""
    found = connection.execute(
        text(
            "SELECT proname FROM pg_proc JOIN pg_namespace ON pg_namespace.oid = pronamespace"
            " WHERE nspname = :schema AND proname NOT LIKE 'keep %'"
        ),
        {"schema": SCHEMA},
    )
    return set(found.scalars())


def _has_guard(operations: Operations, name: str) -> bool:
    context = operations.get_context()
    if context.as_sql:
        return name in context.opts.get("parked", ())
    return name in list_guards(operations.get_bind())


def _name(table: str, column: str) -> str:
    return f"{table}.{column}"


def _parked(name: str) -> str:
    return f'{SCHEMA}."{name}"'


def _trigger(column: str) -> str:
    return f"keep {column}"


def _function(table: str, column: str) -> str:
    return f'{SCHEMA}."keep {_name(table, column)}"'


def _home(operations: Operations) -> str:
    if operations.get_context().as_sql:
        return "public"
    return str(operations.get_bind().execute(text("SELECT current_schema()")).scalar_one())


def _worth_copying(operations: Operations, table: str, column: str) -> str:
    """Return the condition on values worth copying: without a default, a restored column is NULL anyway."""
    if operations.get_context().as_sql:
        return "true"
    has_default = text(
        "SELECT atthasdef FROM pg_attribute WHERE attrelid = to_regclass(:table) AND attname = :column"
    )
    found = operations.get_bind().execute(has_default, {"table": f'"{table}"', "column": column})
    return "true" if found.scalar_one() else f'"{column}" IS NOT NULL'


def _copy_new_writes(operations: Operations, table: str, column: str, key: tuple[str, ...]) -> None:
    """Create the table for a column's values, and the trigger that copies new writes to it."""
    if is_parked(operations, _name(table, column)):
        return
    copy, keys = _parked(_name(table, column)), listed(key)
    operations.execute(f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}")
    operations.execute(f'CREATE TABLE {copy} AS SELECT {keys}, "{column}" FROM "{table}" WITH NO DATA')
    operations.execute(
        f"ALTER TABLE {copy} ADD PRIMARY KEY ({keys}),"
        f' ADD FOREIGN KEY ({keys}) REFERENCES "{table}" ({keys}) ON DELETE CASCADE'
    )
    operations.execute(_trigger_function(table, column, key))
    operations.execute(
        f'CREATE TRIGGER "{_trigger(column)}" AFTER INSERT OR UPDATE ON "{table}"'
        f" FOR EACH ROW EXECUTE FUNCTION {_function(table, column)}()"
    )


def _copy(operations: Operations, table: str, column: str, key: tuple[str, ...]) -> None:
    kept = f"SELECT * FROM batch WHERE {_worth_copying(operations, table, column)}"
    work = f"INSERT INTO {_parked(_name(table, column))} {kept} ON CONFLICT DO NOTHING"
    in_batches(operations, f'"{table}"', work, columns=[column], key=key, lock="FOR KEY SHARE")


def _restore(operations: Operations, table: str, column: str, key: tuple[str, ...]) -> None:
    same = " AND ".join(f'home."{name}" = batch."{name}"' for name in key)
    work = (
        f'UPDATE "{table}" AS home SET "{column}" = batch."{column}" FROM batch WHERE {same}'
        f' AND home."{column}" IS DISTINCT FROM batch."{column}"'  # a retry writes no row again
    )
    in_batches(operations, _parked(_name(table, column)), work, columns=[column], key=key)


def _trigger_function(table: str, column: str, key: tuple[str, ...]) -> str:
    # Not UPDATE OF: a BEFORE trigger may set the column too. SECURITY DEFINER: the writer may lack rights.
    return (
        f"CREATE OR REPLACE FUNCTION {_function(table, column)}() RETURNS trigger"
        " LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$ BEGIN"
        f' IF TG_OP = \'INSERT\' OR NEW."{column}" IS DISTINCT FROM OLD."{column}" THEN'
        f' INSERT INTO {_parked(_name(table, column))} VALUES ({listed(key, "NEW.")}, NEW."{column}")'
        f' ON CONFLICT ({listed(key)}) DO UPDATE SET "{column}" = EXCLUDED."{column}";'
        " END IF; RETURN NULL; END $$"
    )
