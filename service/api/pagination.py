"""Pages and the links between them."""

from collections.abc import Callable
from typing import TypeVar
from urllib.parse import urlencode

import msgspec

from service.api.cursors import read_cursor, write_cursor
from service.api.http.response import Response
from service.api.requests import OperationRequest
from service.api.responses import ok
from service.domain.pages import Keyset, Page

ItemT = TypeVar("ItemT")
ViewT = TypeVar("ViewT")


def keyset_of(request: OperationRequest, cursor: str | None) -> Keyset | None:
    """Return the position that a cursor of this listing stands for.

    Raises:
        InvalidCursor: it was altered, or belongs to another listing, filter or sort.
    """
    return read_cursor(cursor, _cursor_scope(request))


def page_response(
    request: OperationRequest,
    view: Callable[[list[ViewT], str | None], msgspec.Struct],
    page: Page[ItemT],
    view_of: Callable[[ItemT], ViewT],
) -> Response:
    """Return a page, with a link to the next one if there is one. Source: RFC 8288 3."""
    cursor = write_cursor(page.next, _cursor_scope(request))
    headers = (
        ((b"link", f'<{_next_url(request, cursor)}>; rel="next"'.encode()),) if cursor is not None else ()
    )
    return ok(view([view_of(item) for item in page.items], cursor), headers)


def _cursor_scope(request: OperationRequest) -> str:
    """Return the name of the listing that a cursor belongs to: operation, subject, filter and sort."""
    return f"{request.operation.id} {request.path_id} {sorted(_filter(request).items())}"


def _next_url(request: OperationRequest, cursor: str) -> str:
    limit = getattr(request.query_value, "limit", None)
    return f"{request.path}?{urlencode({'limit': limit, **_filter(request), 'cursor': cursor})}"


def _filter(request: OperationRequest) -> dict[str, str]:
    """Return filter and sort of a query in one spelling, without defaults."""
    query = request.query_value
    if query is None:
        return {}
    defaults = type(query)()
    names = [name for name in query.__struct_fields__ if name not in ("limit", "cursor")]
    given = {name: getattr(query, name) for name in names if getattr(query, name) != getattr(defaults, name)}
    return {name: str(msgspec.to_builtins(value)) for name, value in given.items()}
