"""Declarations of operations.

One declaration serves the router, the pipeline that enforces it, and the OpenAPI document.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import KW_ONLY, dataclass, field, replace
from datetime import timedelta
from functools import partial
from http import HTTPMethod
from typing import Any, Final, NamedTuple, TypeAlias

import msgspec

from service.api.http.response import Response
from service.domain.callers import Access
from service.domain.errors import RollcallError

BODY_LIMIT_BYTES = 64 * 1024
LOGIN_BODY_LIMIT_BYTES = 8 * 1024
JSON = "application/json"
MERGE_PATCH = "application/merge-patch+json"
FORM = "application/x-www-form-urlencoded"

EndpointFunction: TypeAlias = Callable[..., Awaitable[Response]]


@dataclass(frozen=True, slots=True)
class ResponseSpec:
    """A successful response of an operation."""

    description: str
    view: type[msgspec.Struct] | None = None
    headers: tuple[str, ...] = ()
    media_type: str = JSON
    is_free_form: bool = False
    """Whether the body is JSON without a schema."""
    links: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """What a client can do next: operation id → its parameters, as OpenAPI runtime expressions."""


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation of the API, used as the decorator of its function: `@get(…)`, `@post(…)`."""

    method: HTTPMethod
    path: str
    """With at most one placeholder; `{user_id}` is resolved (`me`) and authorized by the pipeline."""
    _: KW_ONLY
    id: str = ""
    """Unless it is given, the name of the function."""
    summary: str = ""
    """The first line of the function's docstring."""
    description: str = ""
    tag: str
    access: Access
    responses: Mapping[int, ResponseSpec]
    errors: tuple[type[RollcallError], ...] = ()
    """The operation's own errors; those of path, access, body and query follow from the rest."""
    body: type[msgspec.Struct] | None = None
    body_types: tuple[str, ...] = (JSON,)
    """The documented media types of the body; JSON is accepted even if it is not one."""
    body_limit_bytes: int = BODY_LIMIT_BYTES
    body_examples: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Documented bodies by name, where one example cannot show the ways there are."""
    query: type[msgspec.Struct] | None = None
    is_conditional_read: bool = False
    is_conditional_write: bool = False
    """Whether the function checks `If-Match`; without it, no entity tag can match."""
    is_idempotent_by_key: bool = False
    authenticates_client: bool = False
    """Whether OAuth clients authenticate, by Bearer, Basic or `client_secret` in the form."""
    is_forwarded: bool = False
    """Whether gateways forward requests of their visitors: any method, at the path and everything below it.

    Query, body and conditional header fields are the visitor's, and are not checked.
    """
    cacheable_for: timedelta | None = None
    """How long anybody may keep a successful response; without it, nobody may."""
    is_documented: bool = True

    def __call__(self, function: EndpointFunction) -> "Endpoint":
        """Return the endpoint that serves the operation by `function`, which names it."""
        summary = (function.__doc__ or "").partition("\n")[0].removesuffix(".")
        return Endpoint(replace(self, id=self.id or function.__name__, summary=summary), function)


class Endpoint(NamedTuple):
    """An operation and the function that serves it. Its parameters are injected by their types."""

    operation: Operation
    function: EndpointFunction


# The decorators of endpoints.
get: Final = partial(Operation, HTTPMethod.GET)
post: Final = partial(Operation, HTTPMethod.POST)
put: Final = partial(Operation, HTTPMethod.PUT)
patch: Final = partial(Operation, HTTPMethod.PATCH)
delete: Final = partial(Operation, HTTPMethod.DELETE)
