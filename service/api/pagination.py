"""Pages and the links between them."""

from typing import Any
from urllib.parse import urlencode
from uuid import UUID

import msgspec
from litestar import Response

from service.api.pipeline import OperationRequest
from service.api.responses import answer


def page_answer(call: OperationRequest, page: msgspec.Struct, next_cursor: str | None) -> Response[Any]:
    """Answer with a page, and a link to the next one when there is one. Source: RFC 8288 3."""
    headers = {"Link": f'<{_next_of(call, next_cursor)}>; rel="next"'} if next_cursor is not None else {}
    return answer(page, headers=headers)


def cursor_scope(call: OperationRequest, subject_id: UUID | None = None) -> str:
    """Name the listing that a cursor belongs to: the operation, its subject, filter and sort."""
    values = _values(call)
    return f"{call.operation.id} {subject_id} {sorted(values.items())}"


def _next_of(call: OperationRequest, cursor: str) -> str:
    query = call.query_value
    limit = getattr(query, "limit", None)
    return f"{call.path}?{urlencode({'limit': limit, **_values(call), 'cursor': cursor})}"


def _values(call: OperationRequest) -> dict[str, str]:
    """Give what a query says beside page size and cursor, defaults left out, in one spelling."""
    query = call.query_value
    if query is None:
        return {}
    defaults = type(query)()
    names = [name for name in query.__struct_fields__ if name not in ("limit", "cursor")]
    given = {name: getattr(query, name) for name in names if getattr(query, name) != getattr(defaults, name)}
    return {name: str(msgspec.to_builtins(value)) for name, value in given.items()}
