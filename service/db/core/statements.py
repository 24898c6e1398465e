"""Statements that SQLAlchemy builds and compiles once, at import, and that run straight on the driver.

What SQLAlchemy does for every execution costs several times what the driver does, and the processor it costs
is the one that hashes passwords.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final, TypeAlias

import asyncpg
from sqlalchemy import Enum, Select, TextClause, TypeDecorator, UpdateBase, make_url

from service.db.core.engine import Record

Driver: TypeAlias = "asyncpg.Connection[Record]"

_DIALECT: Final = make_url("postgresql+asyncpg://").get_dialect()()


class Statement:
    """A Core statement, compiled once; `bindparam` names, and an insert's `columns`, are the names it takes.

    Values come as the driver gives them (UUID, aware datetime, bytes, list, decoded JSON), so a column whose
    type converts in Python is refused here, as is an expanding `in_()`: write `= any(…)` with an array.
    """

    def __init__(
        self, statement: Select[*tuple[Any, ...]] | UpdateBase | TextClause, /, *columns: str
    ) -> None:
        compiled = statement.compile(dialect=_DIALECT, column_keys=columns or None)
        if compiled.post_compile_params:
            raise TypeError("a statement is compiled once: compare with any_() of an array instead of in_()")
        if not isinstance(statement, TextClause):
            _refuse_conversion(statement.exported_columns)
        self.sql: Final = str(compiled)
        self.order: Final = tuple(compiled.positiontup or ())
        binds = compiled.bind_names.items()
        self._constants = {name: bind.effective_value for bind, name in binds if not bind.required}
        self._required = frozenset(self.order) - self._constants.keys()
        processors = {name: bind.type.dialect_impl(_DIALECT).bind_processor(_DIALECT) for bind, name in binds}
        self._processors = {name: processor for name, processor in processors.items() if processor}

    def arguments(self, params: Mapping[str, Any]) -> list[Any]:
        """The values in the order of the statement's placeholders.

        Raises:
            TypeError: a parameter is missing or unknown.
        """
        if params.keys() != self._required and not self._required <= params.keys() <= frozenset(self.order):
            raise TypeError(f"the statement takes {sorted(self._required)}, not {sorted(params)}")
        values = {**self._constants, **params}
        for name, process in self._processors.items():
            values[name] = process(values[name])
        return [values[name] for name in self.order]


class ReadQuery(Statement):
    """A statement that only reads, for the read lane."""

    def __init__(self, statement: Select[*tuple[Any, ...]], /) -> None:
        super().__init__(statement)


def _refuse_conversion(columns: Iterable[Any]) -> None:
    for column in columns:
        if isinstance(column.type, (Enum, TypeDecorator)):
            raise TypeError(f"the type of column {column.key} converts in Python, which the driver skips")
