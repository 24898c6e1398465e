"""Schema changes that do not lock a table for long, and data checks before a change."""

# ruff: noqa: S608 -- tables and columns are named by revisions, never by input

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from alembic.operations import Operations
from alembic.util import CommandError
from sqlalchemy import Connection, text

from service.db.migrations.batches import in_batches, listed
from service.db.migrations.lock import retry_on_lock
from service.db.migrations.lock_retry import LockRetryPolicy

_EXAMPLES = 20


class DataCheckFailed(CommandError):
    """Rows exist that a revision cannot keep. Nothing was changed."""


@dataclass(frozen=True, slots=True)
class DataCheck:
    """Rows that must not exist before a revision, and the query that finds them."""

    table: str
    columns: tuple[str, ...]
    wording: str
    query: str

    def find(self, connection: Connection) -> str | None:
        """Return a description of the offending rows, or None if there are none."""
        found = [", ".join(map(str, row)) for row in connection.execute(text(self.query))]
        if not found:
            return None
        more = ", …" if len(found) == _EXAMPLES else ""
        return f"{self.table} {self.wording}: {'; '.join(found)}{more}"


def refuse_duplicates(operations: Operations, table: str, *columns: str) -> None:
    """Check that no two rows share these values.

    Raises:
        DataCheckFailed: some do; the message has the values and their counts.
    """
    named = ", ".join(columns)
    counted = f"SELECT {named}, count(*) || ' times' FROM {table} GROUP BY {named} HAVING count(*) > 1"
    query = f"{counted} ORDER BY {named} LIMIT {_EXAMPLES}"
    _check(operations, DataCheck(table, columns, f"has the same {named} more than once", query))


def refuse_rows(
    operations: Operations, table: str, condition: str, *, shown: Sequence[str] = ("id",)
) -> None:
    """Check that no row meets the condition.

    Raises:
        DataCheckFailed: some do; the message has their columns `shown`.
    """
    named = ", ".join(shown)
    query = f"SELECT {named} FROM {table} WHERE {condition} ORDER BY {named} LIMIT {_EXAMPLES}"
    _check(operations, DataCheck(table, tuple(shown), f"has rows where {condition}", query))


def _check(operations: Operations, check: DataCheck) -> None:
    context = operations.get_context()
    if context.as_sql:
        context.opts.get("data_checks", []).append(check)
        return
    found = check.find(operations.get_bind())
    if found:
        raise DataCheckFailed(found)


def lock_tables(operations: Operations, *tables: str) -> None:
    """Lock tables that the rest of a revision changes together, in the order in which requests lock them.

    A request that holds one of them and waits for another deadlocks with a revision that has the other. Only
    the locking is repeated then, and nothing that the revision has copied before.

    Locks: the tables ACCESS EXCLUSIVE, until the revision ends.
    """
    statement, context = f"LOCK TABLE {listed(tables)}", operations.get_context()
    if context.as_sql:
        operations.execute(statement)
        return
    connection = operations.get_bind()

    def lock() -> None:
        with connection.begin_nested():
            connection.execute(text(statement))

    retry_on_lock(operations, lock)


def build_index(
    operations: Operations, name: str, table: str, columns: Sequence[Any], **options: Any
) -> None:
    """Create an index concurrently; drop the invalid index of an interrupted build first.

    Locks: the table SHARE UPDATE EXCLUSIVE, which blocks neither readers nor writers.
    """
    with _with_long_lock_timeout(operations):
        if _is_valid(operations, name):
            return
        operations.execute(f'DROP INDEX CONCURRENTLY IF EXISTS "{name}"')
        operations.create_index(name, table, list(columns), postgresql_concurrently=True, **options)


def remove_index(operations: Operations, name: str) -> None:
    """Drop an index concurrently."""
    with _with_long_lock_timeout(operations):
        operations.execute(f'DROP INDEX CONCURRENTLY IF EXISTS "{name}"')


def add_check(operations: Operations, name: str, table: str, condition: str) -> None:
    """Add a CHECK as NOT VALID, which holds for new rows at once, then validate the existing rows.

    Locks: the table ACCESS EXCLUSIVE for an instant; then SHARE UPDATE EXCLUSIVE, which blocks neither
    readers nor writers.
    """
    _add_constraint(operations, name, table, f"CHECK ({condition})")


def add_foreign_key(operations: Operations, table: str, column: str, parent: str) -> None:
    """Let rows go with the row of the parent that they name; old rows are checked in the meantime.

    Locks: both tables SHARE ROW EXCLUSIVE, for an instant; then SHARE UPDATE EXCLUSIVE and ROW SHARE.
    """
    name = f"fk_{table}_{column}_{parent}"
    definition = f'FOREIGN KEY ("{column}") REFERENCES "{parent}" (id) ON DELETE CASCADE'
    _add_constraint(operations, name, table, definition)


def _add_constraint(operations: Operations, name: str, table: str, definition: str) -> None:
    with operations.get_context().autocommit_block():
        operations.execute(
            f'ALTER TABLE "{table}" DROP CONSTRAINT IF EXISTS "{name}",'
            f' ADD CONSTRAINT "{name}" {definition} NOT VALID'
        )
        operations.execute(f'ALTER TABLE "{table}" VALIDATE CONSTRAINT "{name}"')


def set_not_null(operations: Operations, table: str, column: str) -> None:
    """Set NOT NULL after validating a CHECK, so that PostgreSQL need not scan the table under the lock.

    Locks: the table ACCESS EXCLUSIVE for an instant.
    """
    proof = f"{column} is there"
    add_check(operations, proof, table, f'"{column}" IS NOT NULL')
    operations.execute(
        f'ALTER TABLE "{table}" ALTER COLUMN "{column}" SET NOT NULL, DROP CONSTRAINT "{proof}"'
    )


def update_in_batches(
    operations: Operations, table: str, assignments: str, where: str, *, key: tuple[str, ...] = ("id",)
) -> None:
    """Update the rows that meet a condition in batches. `updated_at` does not change.

    The update should make the condition false, so that an interrupted run can be repeated.

    Locks: the rows of one batch.
    """
    same = " AND ".join(f'home."{name}" = batch."{name}"' for name in key)
    work = f'UPDATE "{table}" AS home SET {assignments} FROM batch WHERE {same} AND ({where})'
    in_batches(operations, f'"{table}"', work, columns=(), key=key)


def _is_valid(operations: Operations, index: str) -> bool:
    if operations.get_context().as_sql:
        return False
    found = operations.get_bind().execute(
        text("SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass(:name)"), {"name": f'"{index}"'}
    )
    return bool(found.scalar_one_or_none())


@contextmanager
def _with_long_lock_timeout(operations: Operations) -> Iterator[None]:
    """Work outside a transaction and wait long for older ones: nothing queues behind such a wait."""
    context = operations.get_context()
    lock_retry = context.opts.get("lock_retry", LockRetryPolicy())
    with context.autocommit_block():
        operations.execute(f"SET lock_timeout = '{lock_retry.deadline_ms}ms'")
        yield
        operations.execute(f"SET lock_timeout = '{lock_retry.lock_timeout_ms}ms'")
