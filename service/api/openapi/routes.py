"""The OpenAPI document and the page that shows it."""

from typing import Any, Final

import msgspec
from litestar import Controller, HttpMethod, Request, Response
from litestar.handlers import HTTPRouteHandler

from service.api.openapi.docs_page import ASSETS, DOCS_POLICY, docs_page
from service.api.openapi.document import document, endpoints_of
from service.api.operations import Operation, ResponseSpec, endpoint
from service.domain.callers import Access

HTML: Final = "text/html; charset=utf-8"
GET_SCHEMA = Operation(
    id="schema",
    summary="This document",
    tag="reference",
    access=Access(public=True),
    answers={200: ResponseSpec("The OpenAPI document.", is_free_form=True)},
)
GET_DOCS = Operation(
    id="docs",
    summary="This document as a page",
    tag="reference",
    access=Access(public=True),
    answers={200: ResponseSpec("The page.", media_type="text/html")},
)


class ReferenceController(Controller):
    """`/openapi.json` and `/docs`."""

    path = "/"

    @endpoint(HttpMethod.GET, "/openapi.json", GET_SCHEMA)
    async def schema(self, request: Request[Any, Any, Any]) -> Response[bytes]:
        """Give the OpenAPI document, made once."""
        state = request.app.state
        if "openapi" not in state:
            state["openapi"] = msgspec.json.encode(document(endpoints_of(request.app)))
        return Response(state["openapi"], media_type="application/json")

    @endpoint(HttpMethod.GET, "/docs", GET_DOCS)
    async def docs(self) -> Response[bytes]:
        """Give the page."""
        return Response(docs_page(), media_type=HTML, headers={"Content-Security-Policy": DOCS_POLICY})


def asset_handlers() -> list[HTTPRouteHandler]:
    """Give the handlers of the files that the page loads."""
    return [_asset_handler(path) for path in ASSETS]


def _asset_handler(path: str) -> HTTPRouteHandler:
    media_type, read = ASSETS[path]
    operation = Operation(
        id=path,
        summary="A file of the page",
        tag="reference",
        access=Access(public=True),
        answers={200: ResponseSpec("The file.", media_type=media_type.partition(";")[0])},
        is_documented=False,
    )

    @endpoint(HttpMethod.GET, path, operation)
    async def asset() -> Response[bytes]:
        return Response(read(), media_type=media_type)

    return asset
