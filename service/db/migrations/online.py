"""Changes that would lock a table for long, done while it stays in use; and checks before a change."""

# ruff: noqa: S608 -- tables and columns are named by revisions, never by input

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from alembic.operations import Operations
from alembic.util import CommandError
from sqlalchemy import Connection, text

from service.db.migrations.batches import in_batches
from service.db.migrations.lock_retry import LockRetryPolicy

_EXAMPLES = 20


class DataCheckFailed(CommandError):
    """Rows that a revision cannot take along. Nothing was changed."""


@dataclass(frozen=True, slots=True)
class DataCheck:
    """What must not be in a table before a revision, and the query that finds it."""

    table: str
    columns: tuple[str, ...]
    wording: str
    query: str

    def find(self, connection: Connection) -> str | None:
        """Return the rows in the way, in words; None when there are none."""
        found = [", ".join(map(str, row)) for row in connection.execute(text(self.query))]
        if not found:
            return None
        more = ", …" if len(found) == _EXAMPLES else ""
        return f"{self.table} {self.wording}: {'; '.join(found)}{more}"


def refuse_duplicates(operations: Operations, table: str, *columns: str) -> None:
    """Go on only when no two rows share these values.

    Raises:
        DataInTheWay: some do; it names the values and how often each is there.
    """
    named = ", ".join(columns)
    _refuse(
        operations,
        DataCheck(
            table,
            columns,
            f"has the same {named} more than once",
            f"SELECT {named}, count(*) || ' times' FROM {table} GROUP BY {named} HAVING count(*) > 1"
            f" ORDER BY {named} LIMIT {_EXAMPLES}",
        ),
    )


def refuse_rows(
    operations: Operations, table: str, condition: str, *, shown: Sequence[str] = ("id",)
) -> None:
    """Go on only when no row meets the condition.

    Raises:
        DataInTheWay: some do; it names them by the columns shown.
    """
    named = ", ".join(shown)
    query = f"SELECT {named} FROM {table} WHERE {condition} ORDER BY {named} LIMIT {_EXAMPLES}"
    _refuse(operations, DataCheck(table, tuple(shown), f"has rows where {condition}", query))


def _refuse(operations: Operations, obstacle: DataCheck) -> None:
    context = operations.get_context()
    if context.as_sql:
        context.opts.get("obstacles", []).append(obstacle)
        return
    found = obstacle.find(operations.get_bind())
    if found:
        raise DataCheckFailed(found)


def build_index(
    operations: Operations, name: str, table: str, columns: Sequence[Any], **options: Any
) -> None:
    """Create an index while the table stays in use; what an interrupted build left is dropped first.

    Locks: the table SHARE UPDATE EXCLUSIVE: readers and writers go on.
    """
    with _patiently(operations):
        if _is_valid(operations, name):
            return
        operations.execute(f'DROP INDEX CONCURRENTLY IF EXISTS "{name}"')
        operations.create_index(name, table, list(columns), postgresql_concurrently=True, **options)


def remove_index(operations: Operations, name: str) -> None:
    """Drop an index while its table stays in use."""
    with _patiently(operations):
        operations.execute(f'DROP INDEX CONCURRENTLY IF EXISTS "{name}"')


def add_check(operations: Operations, name: str, table: str, condition: str) -> None:
    """Add a CHECK that holds for new rows at once, then look through the old ones in the meantime.

    Locks: the table ACCESS EXCLUSIVE, for an instant; then SHARE UPDATE EXCLUSIVE: readers and writers go on.
    """
    with operations.get_context().autocommit_block():
        operations.execute(
            f'ALTER TABLE "{table}" DROP CONSTRAINT IF EXISTS "{name}",'
            f' ADD CONSTRAINT "{name}" CHECK ({condition}) NOT VALID'
        )
        operations.execute(f'ALTER TABLE "{table}" VALIDATE CONSTRAINT "{name}"')


def set_not_null(operations: Operations, table: str, column: str) -> None:
    """Demand a value, proven beforehand by a CHECK, so that nothing is looked through under a lock.

    Locks: the table ACCESS EXCLUSIVE, for an instant.
    """
    proof = f"{column} is there"
    add_check(operations, proof, table, f'"{column}" IS NOT NULL')
    operations.execute(
        f'ALTER TABLE "{table}" ALTER COLUMN "{column}" SET NOT NULL, DROP CONSTRAINT "{proof}"'
    )


def update_in_batches(
    operations: Operations, table: str, assignments: str, where: str, *, key: tuple[str, ...] = ("id",)
) -> None:
    """Update the rows that meet a condition, a batch at a time. `updated_at` stays as it is.

    The update should make the condition false, so that an interrupted run can simply be run again.

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
def _patiently(operations: Operations) -> Iterator[None]:
    """Outside a transaction, and waiting for old ones to end: such a wait holds nobody up."""
    context = operations.get_context()
    lock_retry = context.opts.get("lock_retry", LockRetryPolicy())
    with context.autocommit_block():
        operations.execute(f"SET lock_timeout = '{lock_retry.deadline_ms}ms'")
        yield
        operations.execute(f"SET lock_timeout = '{lock_retry.lock_timeout_ms}ms'")
