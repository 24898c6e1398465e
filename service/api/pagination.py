"""Pages and the links between them."""

from collections.abc import Awaitable, Callable
from typing import Protocol, TypeVar, cast
from urllib.parse import urlencode

import msgspec

from service.api.cursors import read_cursor, write_cursor
from service.api.http.response import Response
from service.api.requests import OperationRequest
from service.api.responses import ok
from service.domain.pages import Page

ItemT = TypeVar("ItemT")
ViewT = TypeVar("ViewT")


class _Query(Protocol):
    """The query of every listing."""

    limit: int
    cursor: str | None
    __struct_fields__: tuple[str, ...]


async def page_response(
    request: OperationRequest,
    read: Callable[..., Awaitable[Page[ItemT]]],
    view: Callable[[list[ViewT], str | None], msgspec.Struct],
    view_of: Callable[[ItemT], ViewT],
) -> Response:
    """Return the page that `read` finds with `after` and `limit`, and a link to the next one if there is one.

    Source: RFC 8288 3.

    Raises:
        InvalidCursor: the cursor was altered, or belongs to another listing, filter or sort.
    """
    query = cast(_Query, request.query_value)
    filters = _filter(query)
    listing = f"{request.operation.id} {request.path_id} {sorted(filters.items())}"
    page = await read(after=read_cursor(query.cursor, listing), limit=query.limit)
    cursor = write_cursor(page.next, listing)
    body = view([view_of(item) for item in page.items], cursor)
    if cursor is None:
        return ok(body)
    url = f"{request.path}?{urlencode({'limit': query.limit, **filters, 'cursor': cursor})}"
    return ok(body, ((b"link", f'<{url}>; rel="next"'.encode()),))


def _filter(query: _Query) -> dict[str, str]:
    """Return filter and sort of a query in one spelling, without defaults."""
    defaults = type(query)()
    names = [name for name in query.__struct_fields__ if name not in ("limit", "cursor")]
    given = {name: getattr(query, name) for name in names if getattr(query, name) != getattr(defaults, name)}
    return {name: str(msgspec.to_builtins(value)) for name, value in given.items()}
