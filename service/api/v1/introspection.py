"""Token introspection for other services. Source: RFC 7662."""

from http import HTTPMethod

from service.api.http.response import Response
from service.api.operations import FORM, Operation, ResponseSpec
from service.api.requests import OperationRequest
from service.api.responses import ok
from service.api.schemas.introspection import IntrospectBody, IntrospectionView
from service.db.reads import Reads
from service.domain.callers import Access
from service.domain.keys import Scope
from service.usecases import introspection


@Operation(
    "introspect",
    HTTPMethod.POST,
    "/v1/introspect",
    summary="Introspect a token",
    description='RFC 7662. Every token that should not be accepted gets `{"active": false}`.',
    tag="introspection",
    access=Access(scope=Scope.SESSIONS_INTROSPECT),
    responses={200: ResponseSpec("What the token stands for.", IntrospectionView)},
    body=IntrospectBody,
    body_types=(FORM,),
)
async def introspect(request: OperationRequest, reads: Reads) -> Response:
    """Return what a token stands for."""
    token = request.body(IntrospectBody).token
    return ok(IntrospectionView.of(await introspection.introspect(reads, token)))
