"""Keyset pages: each one a range of an index, whatever its number."""

from functools import cached_property
from typing import Any, Generic, TypeVar

from sqlalchemy import Select, bindparam, tuple_

from service.db.core.columns import Columns
from service.db.core.statements import Executor, Statement
from service.domain.pages import Keyset, Page

ItemT = TypeVar("ItemT")


class Listing(Generic[ItemT]):
    """A select of `columns` in the order of an index.

    `order` names the column behind each field of the `Keyset`: `at` and `id`, or `text` where it is unique.
    The items have attributes of the columns' names.
    """

    def __init__(
        self, columns: Columns[ItemT], select: Select[Any], *, descending: bool = False, **order: Any
    ) -> None:
        self.columns = columns
        self._descending = descending
        self._order = order
        keys = [column.desc() if descending else column for column in order.values()]
        self._select = select.order_by(*keys).limit(bindparam("row_limit"))

    @cached_property
    def first_page(self) -> Statement:
        """The statement without a keyset."""
        return Statement(self._select)

    @cached_property
    def next_page(self) -> Statement:
        """The statement of the rows after a keyset."""
        key = tuple_(*self._order.values())
        after = tuple_(
            *(bindparam(f"after_{field}", type_=column.type) for field, column in self._order.items())
        )
        return Statement(self._select.where(key < after if self._descending else key > after))

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
