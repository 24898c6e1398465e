"""Select lists that know how to decode their rows."""

from collections.abc import Callable, Iterable, Iterator
from inspect import signature
from itertools import islice
from typing import Any, Final, Generic, TypeVar

ItemT = TypeVar("ItemT")


class Columns(Generic[ItemT]):
    """Columns of a select list, and the function that makes an item from their values.

    Each part is a column or other `Columns`, whose item becomes one argument: `Columns(make, USER, age)`
    selects the columns of `USER` and `age`, and decodes a row to `make(user, age)`.
    """

    def __init__(self, make: Callable[..., ItemT], *parts: Any) -> None:
        self._make = make
        self._parts = parts
        self._columns = tuple(
            column for part in parts for column in (part if isinstance(part, Columns) else (part,))
        )
        self._readers = tuple(part.decode if isinstance(part, Columns) else next for part in parts)
        self._is_flat = not any(isinstance(part, Columns) for part in parts)
        self.width: Final = len(self._columns)

    def extended(self, *parts: Any) -> "Columns[ItemT]":
        """Return columns with more parts, which become more arguments."""
        return Columns(self._make, *self._parts, *parts)

    def __iter__(self) -> Iterator[Any]:
        """Iterate over the columns, as `select` takes them."""
        return iter(self._columns)

    def decode(self, values: Iterable[Any]) -> ItemT:
        """Make the item from the first `width` values; an iterator is left after them."""
        values = iter(values)
        if self._is_flat:
            return self._make(*islice(values, self.width))
        return self._make(*[read(values) for read in self._readers])

    def decode_optional(self, row: Iterable[Any] | None) -> ItemT | None:
        """Make the item from a row, or return None without one."""
        return self.decode(row) if row is not None else None


def columns_of(entity: Callable[..., ItemT], table: Any, **others: Any) -> Columns[ItemT]:
    """Return the columns that are named as the fields of an entity; `others` are parts in place of some."""
    names = signature(entity).parameters
    return Columns(entity, *(others[name] if name in others else getattr(table, name) for name in names))


def values(*items: Any) -> tuple[Any, ...]:
    """Return the arguments: the `make` of rows that need no type of their own."""
    return items
