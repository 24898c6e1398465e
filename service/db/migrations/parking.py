"""Parking: what a revision takes away waits, with its rows, in a schema of its own until it is wanted again.

A table moves as it is, with its indexes and constraints. A column's values are kept in a table by the key of
their row. Foreign keys stay in force meanwhile: who deletes an account deletes what is parked of it.
"""

# ruff: noqa: S608 -- tables and columns are named by revisions, never by input

from typing import Any

from alembic.operations import Operations
from sqlalchemy import Column, Connection, text

from service.db.migrations.batches import in_batches, listed

SCHEMA = "rollcall_parked"

_UNFINISHED = """
SELECT proname, substr(proname, length('keep ') + 1)
FROM pg_proc JOIN pg_namespace ON pg_namespace.oid = pronamespace WHERE nspname = :schema
"""


def park_table(operations: Operations, table: str) -> None:
    """Move a table, with its rows, indexes and constraints, out of sight.

    Locks: the table ACCESS EXCLUSIVE, for an instant.
    """
    operations.execute(f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}")
    operations.execute(f'ALTER TABLE "{table}" SET SCHEMA {SCHEMA}')


def restore_table(operations: Operations, table: str) -> bool:
    """Bring a parked table back as it was; return whether there was one."""
    if not is_parked(operations, table):
        return False
    operations.execute(f'ALTER TABLE {_parked(table)} SET SCHEMA "{_home(operations)}"')
    return True


def park_columns(operations: Operations, table: str, *columns: str, key: tuple[str, ...] = ("id",)) -> None:
    """Drop columns whose values are kept by the key of their row, those written meanwhile included.

    The values are copied in batches while triggers follow the writers. Only then, in one transaction with
    what comes after it in the revision, the columns go: put it first, so that an interrupted run changes
    nothing that anybody sees.

    Locks: the table SHARE ROW EXCLUSIVE, then ACCESS EXCLUSIVE, each for an instant.
    """
    for column in columns:
        _follow_writers(operations, table, column, key)
    for column in columns:
        _copy(operations, table, column, key)
    for column in columns:
        operations.execute(f'DROP TRIGGER "{_trigger(column)}" ON "{table}"')
        operations.execute(f"DROP FUNCTION {_function(table, column)}()")
        operations.drop_column(table, column)


def restore_columns(
    operations: Operations, table: str, *columns: Column[Any], key: tuple[str, ...] = ("id",)
) -> None:
    """Add columns, with the values that were parked; rows written since have the default.

    Locks: the table ACCESS EXCLUSIVE, for an instant; then rows, batch by batch.
    """
    for column in columns:
        operations.add_column(table, column, if_not_exists=True)
    returning = [column.name for column in columns if is_parked(operations, _name(table, column.name))]
    for name in returning:
        _release(operations, table, name, key)
    for name in returning:
        operations.execute(f"DROP TABLE {_parked(_name(table, name))}")


def drop_unfinished(connection: Connection) -> None:
    """Forget columns whose parking was interrupted: they are still in their place."""
    for function, classify in connection.execute(text(_UNFINISHED), {"schema": SCHEMA}).all():
        connection.execute(text(f'DROP FUNCTION {SCHEMA}."{function}"() CASCADE'))
        connection.execute(text(f"DROP TABLE IF EXISTS {_parked(classify)}"))


def drop_all(connection: Connection) -> None:
    """Remove what is parked, for good."""
    connection.execute(text(f"DROP SCHEMA IF EXISTS {SCHEMA} CASCADE"))


def is_parked(operations: Operations, name: str) -> bool:
    """Tell whether something is parked under a name; without a database, whether the context says so."""
    context = operations.get_context()
    if context.as_sql:
        return name in context.opts.get("parked", ())
    found = operations.get_bind().execute(text("SELECT to_regclass(:name)"), {"name": _parked(name)})
    return found.scalar_one() is not None


def list_parked(connection: Connection) -> dict[str, int]:
    """Return the names of what is parked, each with its size in bytes."""
    found = connection.execute(
        text(
            "SELECT relname, pg_total_relation_size(pg_class.oid) AS size FROM pg_class"
            " JOIN pg_namespace ON pg_namespace.oid = relnamespace"
            " WHERE nspname = :schema AND relkind = 'r' ORDER BY relname"
        ),
        {"schema": SCHEMA},
    )
    return {row.relname: row.size for row in found}


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


def _is_worth_keeping(operations: Operations, table: str, column: str) -> str:
    """The condition on values that the column would not have anyway when it comes back."""
    if operations.get_context().as_sql:
        return "true"
    has_default = text(
        "SELECT atthasdef FROM pg_attribute WHERE attrelid = to_regclass(:table) AND attname = :column"
    )
    found = operations.get_bind().execute(has_default, {"table": f'"{table}"', "column": column})
    return "true" if found.scalar_one() else f'"{column}" IS NOT NULL'


def _follow_writers(operations: Operations, table: str, column: str, key: tuple[str, ...]) -> None:
    """Make the place for a column's values, and let a trigger note what is written from now on."""
    if is_parked(operations, _name(table, column)):
        return
    classify, keys = _parked(_name(table, column)), listed(key)
    operations.execute(f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}")
    operations.execute(f'CREATE TABLE {classify} AS SELECT {keys}, "{column}" FROM "{table}" WITH NO DATA')
    operations.execute(
        f"ALTER TABLE {classify} ADD PRIMARY KEY ({keys}),"
        f' ADD FOREIGN KEY ({keys}) REFERENCES "{table}" ({keys}) ON DELETE CASCADE'
    )
    operations.execute(_following(table, column, key))
    operations.execute(
        f'CREATE TRIGGER "{_trigger(column)}" AFTER INSERT OR UPDATE ON "{table}"'
        f" FOR EACH ROW EXECUTE FUNCTION {_function(table, column)}()"
    )


def _copy(operations: Operations, table: str, column: str, key: tuple[str, ...]) -> None:
    kept = f"SELECT * FROM batch WHERE {_is_worth_keeping(operations, table, column)}"
    work = f"INSERT INTO {_parked(_name(table, column))} {kept} ON CONFLICT DO NOTHING"
    in_batches(operations, f'"{table}"', work, columns=[column], key=key, lock="FOR KEY SHARE")


def _release(operations: Operations, table: str, column: str, key: tuple[str, ...]) -> None:
    same = " AND ".join(f'home."{name}" = batch."{name}"' for name in key)
    work = f'UPDATE "{table}" AS home SET "{column}" = batch."{column}" FROM batch WHERE {same}'
    in_batches(operations, _parked(_name(table, column)), work, columns=[column], key=key)


def _following(table: str, column: str, key: tuple[str, ...]) -> str:
    # Not "UPDATE OF": a trigger before may set the column too. The writer need not have rights on the schema.
    return (
        f"CREATE OR REPLACE FUNCTION {_function(table, column)}() RETURNS trigger"
        " LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$ BEGIN"
        f' IF TG_OP = \'INSERT\' OR NEW."{column}" IS DISTINCT FROM OLD."{column}" THEN'
        f' INSERT INTO {_parked(_name(table, column))} VALUES ({listed(key, "NEW.")}, NEW."{column}")'
        f' ON CONFLICT ({listed(key)}) DO UPDATE SET "{column}" = EXCLUDED."{column}";'
        " END IF; RETURN NULL; END $$"
    )
