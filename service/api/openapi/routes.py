"""The endpoints of the OpenAPI document and of the page that shows it."""

from collections.abc import Callable
from http import HTTPMethod
from typing import Final, NewType

from service.api.http.response import Response
from service.api.openapi.docs_page import ASSETS, DOCS_POLICY, docs_page
from service.api.operations import Endpoint, Operation, ResponseSpec
from service.domain.callers import Access

OpenApiJson = NewType("OpenApiJson", bytes)
"""The encoded OpenAPI document of the application."""


@Operation(
    "get_openapi",
    HTTPMethod.GET,
    "/openapi.json",
    summary="Get this document",
    description="OpenAPI 3.1; clients can be generated from it.",
    tag="operations",
    access=Access(public=True),
    responses={200: ResponseSpec("The OpenAPI document.", is_free_form=True)},
)
async def get_openapi(document: OpenApiJson) -> Response:
    """Return the OpenAPI document."""
    return Response(200, document)


@Operation(
    "get_docs",
    HTTPMethod.GET,
    "/docs",
    summary="Get this document as a page",
    description="Works offline: the page loads nothing from another host.",
    tag="operations",
    access=Access(public=True),
    responses={200: ResponseSpec("The page.", media_type="text/html")},
)
async def get_docs() -> Response:
    """Return the documentation page."""
    policy = ((b"content-security-policy", DOCS_POLICY.encode()),)
    return Response(200, docs_page(), policy, b"text/html; charset=utf-8")


def _asset(path: str, media_type: str, read: Callable[[], bytes]) -> Endpoint:
    async def asset() -> Response:
        return Response(200, read(), media_type=media_type.encode())

    operation = Operation(
        path,
        HTTPMethod.GET,
        path,
        summary="Get a file of the page",
        tag="operations",
        access=Access(public=True),
        responses={200: ResponseSpec("The file.", media_type=media_type.partition(";")[0])},
        is_documented=False,
    )
    return operation(asset)


DOCS_ENDPOINTS: Final = (get_openapi, get_docs, *(_asset(path, *asset) for path, asset in ASSETS.items()))
