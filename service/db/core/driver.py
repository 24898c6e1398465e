"""The driver (asyncpg) as this package uses it: connections, rows and ways to run a statement."""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Final, TypeAlias, TypeVar

import asyncpg
from sqlalchemy.ext.asyncio import AsyncConnection

ResultT = TypeVar("ResultT")


class Record(asyncpg.Record):
    """A row with its values by position, by name and, unless a method has that name, by attribute."""

    __slots__ = ()

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(f"the row has no column {name}") from None


if TYPE_CHECKING:
    Driver: TypeAlias = asyncpg.Connection[Record]
else:
    Driver = asyncpg.Connection  # generic in its stubs alone

Method: TypeAlias = Callable[..., Awaitable[ResultT]]
"""Called with a connection, the SQL text and its arguments."""

EXECUTE: Final[Method[str]] = asyncpg.Connection.execute
FETCH_ONE: Final[Method[Record | None]] = asyncpg.Connection.fetchrow
FETCH_ALL: Final[Method[list[Record]]] = asyncpg.Connection.fetch


def driver_of(connection: AsyncConnection) -> Driver:
    """Return the driver's connection without the greenlet switch of `get_raw_connection`."""
    checked_out: Any = connection.sync_connection
    driver: Driver = checked_out.connection.driver_connection
    return driver


def prepared_names(connection: AsyncConnection) -> set[str]:
    """Return the names that were prepared by text on the driver's connection; the caller adds to them."""
    checked_out: Any = connection.sync_connection
    names: set[str] = checked_out.connection.info.setdefault("prepared_names", set())
    return names
