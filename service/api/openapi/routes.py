"""The endpoints of the OpenAPI document, of the page that shows it, and of the root that leads there."""

from collections.abc import Callable
from typing import Final, NewType

import msgspec

from service.api.http.response import Response
from service.api.openapi.docs_page import ASSETS, DOCS_PAGE, DOCS_POLICY
from service.api.operations import Endpoint, ResponseSpec, get
from service.api.requests import OperationRequest
from service.api.responses import ok
from service.domain.callers import Access

OpenApiJson = NewType("OpenApiJson", bytes)
"""The encoded OpenAPI document of the application."""


@get(
    "/openapi.json",
    description="OpenAPI 3.1; clients can be generated from it.",
    tag="operations",
    access=Access(public=True),
    responses={200: ResponseSpec("The OpenAPI document.", is_free_form=True)},
)
async def get_openapi(document: OpenApiJson) -> Response:
    """Get this document."""
    return Response(200, document)


@get(
    "/docs",
    description="Works offline: the page loads nothing from another host.",
    tag="operations",
    access=Access(public=True),
    responses={200: ResponseSpec("The page.", media_type="text/html")},
)
async def get_docs() -> Response:
    """Get this document as a page."""
    policy = ((b"content-security-policy", DOCS_POLICY.encode()),)
    return Response(200, DOCS_PAGE, policy, b"text/html; charset=utf-8")


def _asset(path: str, media_type: str, read: Callable[[], bytes]) -> Endpoint:
    async def asset() -> Response:
        return Response(200, read(), media_type=media_type.encode())

    operation = get(
        path,
        id=path,
        tag="operations",
        access=Access(public=True),
        responses={200: ResponseSpec("The file.", media_type=media_type.partition(";")[0])},
        is_documented=False,
    )
    return operation(asset)


class IndexView(msgspec.Struct, frozen=True):
    """The entry points."""

    name: str = "Rollcall"
    health: str = "/health/ready"
    openapi: str | msgspec.UnsetType = msgspec.UNSET
    docs: str | msgspec.UnsetType = msgspec.UNSET


_VARY: Final = (b"vary", b"accept")
_INDEX: Final = get(
    "/",
    id="index",
    tag="docs",
    access=Access(public=True),
    responses={200: ResponseSpec("The index.", IndexView)},
    is_documented=False,
)


@_INDEX
async def index() -> Response:
    """Return the index of a service without documentation."""
    return ok(IndexView())


@_INDEX
async def index_with_docs(request: OperationRequest) -> Response:
    """Redirect to the documentation, or return the index to a client that asks for JSON."""
    response = ok(IndexView(openapi=get_openapi.operation.path, docs=get_docs.operation.path), (_VARY,))
    accept = request.fields.get(b"accept", b"")
    if b"json" in accept and b"html" not in accept:
        return response
    location = (b"location", get_docs.operation.path.encode())
    return msgspec.structs.replace(response, status=308, headers=(_VARY, location))


DOCS_ENDPOINTS: Final = (
    index_with_docs,
    get_openapi,
    get_docs,
    *(_asset(path, *asset) for path, asset in ASSETS.items()),
)
