"""Introspection and revocation of tokens by other services. Source: RFC 7662, RFC 7009."""

from service.api.http.errors import InvalidClient, UnsupportedTokenType
from service.api.http.response import Response
from service.api.operations import FORM, ResponseSpec, post
from service.api.requests import OperationRequest
from service.api.responses import ok, ok_without_body
from service.api.schemas.introspection import IntrospectBody, IntrospectionView, RevokeBody
from service.api.writes import Writes
from service.db.reads import Reads
from service.domain.callers import Access
from service.domain.errors import InvalidToken
from service.domain.keys import Scope
from service.security.tokens import API_KEY_PREFIX, SESSION_PREFIX, digest_of
from service.usecases import introspection, sessions
from service.usecases.last_used import LastUsedTracker
from service.usecases.policies import Policies


@post(
    "/v1/introspect",
    description='RFC 7662. Every token that should not be accepted gets `{"active": false}`. A use of the '
    "session. The API key is the bearer token, the password of Basic, or `client_secret` in the form.",
    tag="introspection",
    access=Access(scope=Scope.SESSIONS_INTROSPECT),
    responses={200: ResponseSpec("What the token stands for.", IntrospectionView)},
    body=IntrospectBody,
    body_types=(FORM,),
    authenticates_client=True,
)
async def introspect(
    request: OperationRequest, reads: Reads, last_used: LastUsedTracker, policies: Policies
) -> Response:
    """Introspect a token."""
    token = request.body(IntrospectBody).token
    return ok(
        IntrospectionView.of(await introspection.introspect(reads, last_used, token, policies=policies))
    )


@post(
    "/v1/revoke",
    description="RFC 7009. Ends the session of the token; 200 also if it has ended already. The token itself "
    "is the right to end it: client credentials may be left out, and those that are sent have to be valid.",
    tag="introspection",
    access=Access(public=True, optional=True, allowed_during_forced_change=True),
    responses={200: ResponseSpec("The token is not valid any more.")},
    errors=(UnsupportedTokenType,),
    body=RevokeBody,
    body_types=(FORM,),
    authenticates_client=True,
)
async def revoke(request: OperationRequest, writes: Writes) -> Response:
    """Revoke a token."""
    token = request.body(RevokeBody).token
    if digest_of(token, API_KEY_PREFIX) is not None:
        raise UnsupportedTokenType
    digest = digest_of(token, SESSION_PREFIX)
    if digest is None:
        return ok_without_body()
    try:
        await writes.run(sessions.revoke_token, digest, context=request.context)
    except InvalidToken:  # the client's, which was revoked meanwhile
        raise InvalidClient from None
    return ok_without_body()
