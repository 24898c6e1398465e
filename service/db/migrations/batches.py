"""Run a statement over all rows of a table in batches, so that no row is locked for long."""

# ruff: noqa: S608 -- tables and columns are named by revisions, never by input

from collections.abc import Sequence
from functools import partial
from typing import Any

from alembic.operations import Operations
from sqlalchemy import Connection, TextClause, text

from service.db.migrations.lock import retry_on_lock

BATCH_ROWS = 2000


def listed(names: Sequence[str], prefix: str = "") -> str:
    """Return the names quoted and separated by commas."""
    return ", ".join(f'{prefix}"{name}"' for name in names)


def in_batches(
    operations: Operations,
    source: str,
    work: str,
    *,
    columns: Sequence[str],
    key: Sequence[str],
    lock: str = "",
) -> None:
    """Run `work` over each `batch` of a table's rows in key order; each batch is one transaction.

    A batch whose rows are locked is rolled back and retried. `work` must be idempotent.

    Locks: the rows of one batch.
    """
    context = operations.get_context()
    with context.autocommit_block():
        operations.execute("SET rollcall.migrating = 'on'")
        if context.as_sql:
            context.impl.static_output(f"-- in batches of {BATCH_ROWS} rows, each committed")
            operations.execute(_statement(source, work, columns, key, lock=lock))
        else:
            first = _statement(source, work, columns, key, lock=f"LIMIT {BATCH_ROWS} {lock}")
            bound = f"({listed(key)}) > ({', '.join(f':{name}' for name in key)})"
            following = _statement(source, work, columns, key, bound, f"LIMIT {BATCH_ROWS} {lock}")
            _run_all(operations, text(first), text(following))
        operations.execute("RESET rollcall.migrating")


def _statement(
    source: str, work: str, columns: Sequence[str], key: Sequence[str], where: str = "true", lock: str = ""
) -> str:
    """Return the SQL for one batch; it returns the greatest key of the batch."""
    descending = ", ".join(f'"{name}" DESC' for name in key)
    return (
        f"WITH batch AS MATERIALIZED (SELECT {listed([*key, *columns])} FROM {source}"
        f" WHERE {where} ORDER BY {listed(key)} {lock}), done AS ({work})"
        f" SELECT {listed(key)} FROM batch ORDER BY {descending} LIMIT 1"
    )


def _run_all(operations: Operations, first: TextClause, following: TextClause) -> None:
    last = retry_on_lock(operations, partial(_run_batch, operations.get_bind(), first, {}))
    while last is not None:
        last = retry_on_lock(operations, partial(_run_batch, operations.get_bind(), following, last))


def _run_batch(bind: Connection, statement: TextClause, after: dict[str, Any]) -> dict[str, Any] | None:
    """Run one batch and return its greatest key, or None if there was no row left."""
    found = bind.execute(statement, after).mappings().one_or_none()
    return dict(found) if found else None
