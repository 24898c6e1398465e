"""Introspection of tokens for other services. Source: RFC 7662."""

from litestar import HttpMethod

from service.api.injection import Parts
from service.api.operations import FORM, JSON, Operation, ResponseSpec
from service.api.pipeline import OperationRequest, direct_endpoint
from service.api.responses import Answer, shown
from service.api.schemas.introspection import IntrospectBody, IntrospectionView
from service.domain.callers import Access
from service.domain.keys import Scope
from service.usecases.introspection import introspect

INTROSPECT = Operation(
    id="introspect",
    summary="Tell what a token stands for",
    description='RFC 7662. Every token that should not be accepted gets `{"active": false}`.',
    tag="introspection",
    access=Access(scope=Scope.SESSIONS_INTROSPECT),
    answers={200: ResponseSpec("What it stands for.", IntrospectionView)},
    body=IntrospectBody,
    body_types=(FORM, JSON),
)


@direct_endpoint(HttpMethod.POST, "/v1/introspect", INTROSPECT)
async def introspect_token(call: OperationRequest, parts: Parts) -> Answer:
    """Tell what a token stands for."""
    return shown(IntrospectionView.of(await introspect(parts.reads, call.body(IntrospectBody).token)))
