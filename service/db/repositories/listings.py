"""Keyset pages: each one a range of an index, whatever its number."""

from collections.abc import Iterable
from functools import cached_property
from typing import Any, Generic, TypeVar

from sqlalchemy import ColumnElement, GenerativeSelect, Select, bindparam, tuple_, union_all

from service.db.core.columns import Columns
from service.db.core.statements import Executor, Statement
from service.domain.pages import Keyset, Page

ItemT = TypeVar("ItemT")
_SelectT = TypeVar("_SelectT", bound=GenerativeSelect)


class Listing(Generic[ItemT]):
    """Selects of `columns`, each in the order of an index; a page merges them.

    `order` names the column behind each field of the `Keyset`: `at` and `id`, or `text` where it is unique.
    The items have attributes of the columns' names.
    """

    def __init__(
        self, columns: Columns[ItemT], *selects: Select[Any], descending: bool = False, **order: Any
    ) -> None:
        self.columns = columns
        self._descending = descending
        self._order = order
        self._selects = selects

    @cached_property
    def first_page(self) -> Statement:
        """The statement without a keyset."""
        return self._page()

    @cached_property
    def next_page(self) -> Statement:
        """The statement of the rows after a keyset."""
        key = tuple_(*self._order.values())
        after = tuple_(
            *(bindparam(f"after_{field}", type_=column.type) for field, column in self._order.items())
        )
        return self._page(key < after if self._descending else key > after)

    def _page(self, *conditions: ColumnElement[bool]) -> Statement:
        pages = [self._limited(each.where(*conditions), self._order.values()) for each in self._selects]
        if len(pages) == 1:
            return Statement(pages[0])
        merged = union_all(*pages)
        columns = merged.selected_columns
        return Statement(self._limited(merged, [columns[column.key] for column in self._order.values()]))

    def _limited(self, rows: _SelectT, order: Iterable[Any]) -> _SelectT:
        keys = [column.desc() if self._descending else column for column in order]
        return rows.order_by(*keys).limit(bindparam("row_limit"))

    def params_of(self, keyset: Keyset) -> dict[str, Any]:
        """Return the parameters of `next_page`."""
        return {f"after_{field}": getattr(keyset, field) for field in self._order}

    def keyset_of(self, item: Any) -> Keyset:
        """Return the position of an item."""
        return Keyset(
            **{"id": item.id} | {field: getattr(item, column.key) for field, column in self._order.items()}
        )


async def keyset_page(
    executor: Executor, listing: Listing[ItemT], *, after: Keyset | None, limit: int, **params: Any
) -> Page[ItemT]:
    """Read one page. One row more than `limit` is fetched to learn whether there is a next page."""
    statement = listing.first_page
    if after is not None:
        statement, params = listing.next_page, params | listing.params_of(after)
    rows = await executor.fetch_all(statement, row_limit=limit + 1, **params)
    items = [listing.columns.decode(row) for row in rows[:limit]]
    return Page(items, listing.keyset_of(items[-1]) if len(rows) > limit else None)
