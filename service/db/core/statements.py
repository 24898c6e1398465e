"""Statements that SQLAlchemy compiles once, at import, and that run directly on the driver.

SQLAlchemy's work per execution takes several times the processor time of the driver's.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final, Protocol

from sqlalchemy import Enum, SelectBase, TextClause, TypeDecorator, UpdateBase, make_url

from service.db.core.driver import Record

_DIALECT: Final = make_url("postgresql+asyncpg://").get_dialect()()


class Statement:
    """A compiled Core statement. Its parameters are the names of `bindparam`s and, in an insert, `columns`.

    Rows have the values of the driver (UUID, aware datetime, bytes, list, decoded JSON).

    Raises:
        TypeError: a column's type converts in Python, or `in_()` expands at run time: use `any_()`.
    """

    def __init__(self, statement: SelectBase | UpdateBase | TextClause, /, *columns: str) -> None:
        compiled = statement.compile(dialect=_DIALECT, column_keys=columns or None)
        if compiled.post_compile_params:
            raise TypeError("a statement is compiled once: compare with any_() of an array instead of in_()")
        if not isinstance(statement, TextClause):
            _require_driver_types(statement.exported_columns)
        self.sql: Final = str(compiled)
        self.order: Final = tuple(compiled.positiontup or ())
        binds = compiled.bind_names.items()
        self._constants = {name: bind.effective_value for bind, name in binds if not bind.required}
        self._required = frozenset(self.order) - self._constants.keys()
        processors = {name: bind.type.dialect_impl(_DIALECT).bind_processor(_DIALECT) for bind, name in binds}
        self._processors = {name: processor for name, processor in processors.items() if processor}

    def arguments(self, params: Mapping[str, Any]) -> list[Any]:
        """Return the values in the order of the statement's placeholders.

        Raises:
            TypeError: a parameter is missing or unknown.
        """
        if params.keys() != self._required and not self._required <= params.keys() <= frozenset(self.order):
            raise TypeError(f"the statement takes {sorted(self._required)}, not {sorted(params)}")
        values = {**self._constants, **params}
        for name, process in self._processors.items():
            values[name] = process(values[name])
        return [values[name] for name in self.order]


class Executor(Protocol):
    """Runs reads: a read pool, a replica router or a transaction."""

    async def fetch_one(self, statement: Statement, /, **params: Any) -> Record | None:
        """Run a statement and return its first row, or None."""

    async def fetch_all(self, statement: Statement, /, **params: Any) -> list[Record]:
        """Run a statement and return all its rows."""


def _require_driver_types(columns: Iterable[Any]) -> None:
    for column in columns:
        if isinstance(column.type, (Enum, TypeDecorator)):
            raise TypeError(f"the type of column {column.key} converts in Python, which the driver does not")
