"""What an operation is: everything that decides about a request before its controller sees it.

The declaration serves three readers: the router, the middleware that holds requests to it, and the OpenAPI
document, so that none of them can say something else than the others.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import msgspec
from litestar import HttpMethod
from litestar.handlers import HTTPRouteHandler, route

from service.domain.callers import Access
from service.domain.errors import RollcallError

HandlerT = TypeVar("HandlerT", bound=Callable[..., Any])

BODY_LIMIT_BYTES = 64 * 1024
LOGIN_BODY_LIMIT_BYTES = 8 * 1024
JSON = "application/json"
MERGE_PATCH = "application/merge-patch+json"
FORM = "application/x-www-form-urlencoded"


@dataclass(frozen=True, slots=True)
class ResponseSpec:
    """An answer that is no refusal."""

    description: str
    view: type[msgspec.Struct] | None = None
    headers: tuple[str, ...] = ()
    media_type: str = JSON
    is_free_form: bool = False
    """Whether the body is JSON without a view that describes it."""
    links: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """What can be done next: operation id → its parameters, as runtime expressions of OpenAPI."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One operation of the API."""

    id: str
    summary: str
    description: str = ""
    tag: str
    access: Access
    answers: Mapping[int, ResponseSpec]
    problems: tuple[type[RollcallError], ...] = ()
    """The refusals that are its own; those of access, body and query follow from the rest."""
    body: type[msgspec.Struct] | None = None
    body_types: tuple[str, ...] = (JSON,)
    body_limit_bytes: int = BODY_LIMIT_BYTES
    query: type[msgspec.Struct] | None = None
    is_conditional_read: bool = False
    is_conditional_write: bool = False
    """Whether the endpoint holds `If-Match` against a resource; where not, no entity tag can match."""
    is_idempotent_by_key: bool = False
    is_documented: bool = True


def endpoint(
    method: HttpMethod, path: str, operation: Operation, **opt: object
) -> Callable[[HandlerT], HTTPRouteHandler]:
    """Make a method the endpoint of an operation; GET answers HEAD too. Source: RFC 9110 9.3.2.

    `opt` is for the middleware, beside the operation itself.
    """
    methods = [HttpMethod.GET, HttpMethod.HEAD] if method is HttpMethod.GET else [method]
    return route(
        path,
        http_method=methods,
        operation_id=operation.id,
        opt={"operation": operation, **opt},
        include_in_schema=False,
        status_code=min(operation.answers),
    )
