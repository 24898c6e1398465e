"""Introspection of tokens for other services. Source: RFC 7662."""

from typing import Any

from litestar import Controller, HttpMethod, Request, Response

from service.api.answers import answer
from service.api.calls import call_of
from service.api.injection import GivenReads
from service.api.operations import FORM, JSON, Operation, Success, endpoint
from service.api.wire.introspection import IntrospectBody, IntrospectionView
from service.domain.callers import Access
from service.domain.keys import Scope
from service.usecases.introspection import introspect

INTROSPECT = Operation(
    id="introspect",
    summary="Tell what a token stands for",
    description='RFC 7662. Every token that should not be accepted gets `{"active": false}`.',
    tag="introspection",
    access=Access(scope=Scope.SESSIONS_INTROSPECT),
    answers={200: Success("What it stands for.", IntrospectionView)},
    body=IntrospectBody,
    body_types=(FORM, JSON),
)


class IntrospectionController(Controller):
    """`/v1/introspect`."""

    path = "/v1/introspect"

    @endpoint(HttpMethod.POST, "", INTROSPECT)
    async def introspect(self, request: Request[Any, Any, Any], reads: GivenReads) -> Response[bytes]:
        """Tell what a token stands for."""
        body = call_of(request).body(IntrospectBody)
        return answer(IntrospectionView.of(await introspect(reads, body.token)))
