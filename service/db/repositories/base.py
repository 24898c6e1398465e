"""What repositories have in common."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import ARRAY, ColumnElement, Interval, SelectBase, any_, bindparam, func

from service.db.core.driver import Record
from service.db.core.statements import Executor
from service.db.core.transaction import Transaction


class ReadRepository:
    """Base of the reads of a resource, which run alone or inside a transaction."""

    def __init__(self, executor: Executor) -> None:
        self._executor = executor


class Repository(ReadRepository):
    """Base of all repositories. They take and return entities; rows stay inside."""

    def __init__(self, tx: Transaction) -> None:
        super().__init__(tx)
        self._tx = tx


def require_row(row: Record | None) -> Record:
    """Return the row of a statement that always has one."""
    if row is None:
        raise RuntimeError("the statement returned no row")
    return row


def value_of(row: Record | None) -> Any | None:
    """Return the only value of a row, or None without a row."""
    return row[0] if row is not None else None


def from_now(ttl: str) -> ColumnElement[datetime]:
    """Return the time that is as far ahead as the parameter `ttl` says."""
    return func.now() + bindparam(ttl, type_=Interval)


def is_one_of(key: Any, rows: SelectBase) -> ColumnElement[bool]:
    """Return whether a key is in the only column of a select, which runs once and first.

    IN becomes a join, and a connection keeps its plan: made while the table was small, it reads all of it,
    and may run the select once per row.
    """
    found: ColumnElement[bool] = key == any_(func.array(rows.scalar_subquery(), type_=ARRAY(key.type)))
    return found


def binds(table: Any, prefix: str, *columns: str) -> dict[str, Any]:
    """Return a typed bind for each column of a table, named `prefix_column`."""
    return {name: bindparam(f"{prefix}_{name}", type_=table.__table__.c[name].type) for name in columns}


def prefixed(prefix: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values under the names of `binds`."""
    return {f"{prefix}_{name}": value for name, value in values.items()}
