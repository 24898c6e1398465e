"""What repositories run their statements on, and the row comparison behind keyset pages."""

from collections.abc import Callable, Mapping
from typing import Any, Protocol, TypeVar

from service.db.core.engine import Record
from service.db.core.statements import ReadQuery, Statement
from service.domain.pages import Keyset, Page

ItemT = TypeVar("ItemT")


class Executor(Protocol):
    """Runs statements inside one transaction."""

    async def execute(self, statement: Statement, values: Mapping[str, Any] = ...) -> int:
        """Run one statement and give the number of rows it changed."""

    async def one(self, statement: Statement, values: Mapping[str, Any] = ...) -> Record | None:
        """Run one statement and give its first row, or None."""

    async def all(self, statement: Statement, values: Mapping[str, Any] = ...) -> list[Record]:
        """Run one statement and give all its rows."""


class ReadExecutor(Protocol):
    """Runs single statements outside any transaction."""

    async def fetch_one(self, query: ReadQuery, /, **params: object) -> Record | None:
        """Give the first row, or None."""

    async def fetch_all(self, query: ReadQuery, /, **params: object) -> list[Record]:
        """Give all rows."""


class Repository:
    """Base of all repositories: takes and returns entities, keeps the rows to itself."""

    def __init__(self, executor: Executor) -> None:
        self._db = executor


def page_of(items: list[ItemT], limit: int, keyset_of: Callable[[ItemT], Keyset]) -> Page[ItemT]:
    """Cut a page from `limit + 1` fetched items: the one too many tells that there is a next page."""
    if len(items) <= limit:
        return Page(items, None)
    return Page(items[:limit], keyset_of(items[limit - 1]))


def require_row(row: Record | None) -> Record:
    """Take the row of a statement that cannot miss, as it makes the row or holds its lock."""
    if row is None:
        raise RuntimeError("a statement gave no row")
    return row
