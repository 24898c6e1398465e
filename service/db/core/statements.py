"""Statements that SQLAlchemy compiles once, and that run directly on the driver.

SQLAlchemy's work per execution takes several times the processor time of the driver's.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any, Final

from sqlalchemy import Enum, SelectBase, TextClause, TypeDecorator, UpdateBase, make_url

from service.db.core.driver import FETCH_ALL, FETCH_ONE, Method, Record, ResultT

_DIALECT: Final = make_url("postgresql+asyncpg://").get_dialect()()


class Statement:
    """A Core statement. Its parameters are the names of `bindparam`s and, in an insert, `columns`.

    It is compiled when it is first used: a start uses few, and compiling all takes a seventh of it (ADR 14).
    Rows have the values of the driver (UUID, aware datetime, bytes, list, decoded JSON).
    """

    def __init__(self, statement: SelectBase | UpdateBase | TextClause, /, *columns: str) -> None:
        self._statement = statement
        self._columns = columns

    @cached_property
    def sql(self) -> str:
        """The text, with numbered placeholders.

        Raises:
            TypeError: a column's type converts in Python, or `in_()` expands at run time: use `any_()`.
        """
        return self._compiled.sql

    @cached_property
    def order(self) -> tuple[str, ...]:
        """The names of the parameters and constants, by placeholder."""
        return self._compiled.order

    @cached_property
    def _compiled(self) -> "_Compiled":
        return _Compiled(self._statement, self._columns)

    def arguments(self, params: Mapping[str, Any]) -> list[Any]:
        """Return the values in the order of the statement's placeholders.

        Raises:
            TypeError: a parameter is missing or unknown.
        """
        compiled = self._compiled
        required, order = compiled.required, compiled.order
        if params.keys() != required and not required <= params.keys() <= frozenset(order):
            raise TypeError(f"the statement takes {sorted(required)}, not {sorted(params)}")
        values = {**compiled.constants, **params}
        for name, process in compiled.processors.items():
            values[name] = process(values[name])
        return [values[name] for name in order]


class _Compiled:
    """The text of a statement, and what its arguments are made of."""

    __slots__ = ("constants", "order", "processors", "required", "sql")

    def __init__(self, statement: SelectBase | UpdateBase | TextClause, columns: Sequence[str]) -> None:
        compiled = statement.compile(dialect=_DIALECT, column_keys=columns or None)
        if compiled.post_compile_params:
            raise TypeError("a statement is compiled once: compare with any_() of an array instead of in_()")
        if not isinstance(statement, TextClause):
            _require_driver_types(statement.exported_columns)
        self.sql: Final = str(compiled)
        self.order: Final = tuple(compiled.positiontup or ())
        binds = compiled.bind_names.items()
        self.constants: Final = {name: bind.effective_value for bind, name in binds if not bind.required}
        self.required: Final = frozenset(self.order) - self.constants.keys()
        processors = {name: bind.type.dialect_impl(_DIALECT).bind_processor(_DIALECT) for bind, name in binds}
        self.processors: Final = {name: processor for name, processor in processors.items() if processor}


class Executor(ABC):
    """Runs statements: a read pool, a replica router or a transaction."""

    async def fetch_one(self, statement: Statement, /, **params: Any) -> Record | None:
        """Run a statement and return its first row, or None; raise as `fetch` does."""
        return await self.fetch(FETCH_ONE, statement, params)

    async def fetch_all(self, statement: Statement, /, **params: Any) -> list[Record]:
        """Run a statement and return all its rows; raise as `fetch` does."""
        return await self.fetch(FETCH_ALL, statement, params)

    @abstractmethod
    async def fetch(
        self, method: Method[ResultT], statement: Statement, params: Mapping[str, Any]
    ) -> ResultT:
        """Run a statement by a method of the driver."""


def _require_driver_types(columns: Iterable[Any]) -> None:
    for column in columns:
        if isinstance(column.type, (Enum, TypeDecorator)):
            raise TypeError(f"the type of column {column.key} converts in Python, which the driver does not")
