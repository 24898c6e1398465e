"""Access tokens, and the keys that verify them."""

from service.api.http.response import Response
from service.api.operations import ResponseSpec, get, post
from service.api.requests import OperationRequest
from service.api.responses import ok
from service.api.schemas.tokens import AccessTokenView, IssueTokenBody
from service.domain.callers import Access
from service.domain.errors import NotFound, UnknownAudience
from service.domain.signing import JWKS_MAX_AGE
from service.usecases.access_tokens import AccessTokenIssuer


@post(
    "/v1/tokens",
    description="A JWT about the session (RFC 9068), which a service verifies by itself with the keys at "
    "`/.well-known/jwks.json`. It cannot be revoked, so it ends after minutes, and with its session at the "
    "latest. 404 unless `ROLLCALL_PUBLIC_URL`, `ROLLCALL_TOKENS__AUDIENCES` and `ROLLCALL_SECRETS__KEY` are "
    "set.",
    tag="tokens",
    access=Access(owner=True),
    responses={200: ResponseSpec("The token.", AccessTokenView)},
    errors=(NotFound, UnknownAudience),
    body=IssueTokenBody,
)
async def issue_token(request: OperationRequest, issuer: AccessTokenIssuer) -> Response:
    """Issue an access token."""
    issued = await issuer.issue(request.session, request.body(IssueTokenBody).audience)
    return ok(AccessTokenView(issued.token, "Bearer", issued.expires_in))


@get(
    "/.well-known/jwks.json",
    description="A JWK Set (RFC 7517), to be kept as long as `Cache-Control` says: a key is listed before "
    "it signs, and until its last token has ended. 404 where access tokens are not enabled.",
    tag="tokens",
    access=Access(public=True),
    responses={200: ResponseSpec("The keys.", headers=("Cache-Control",), is_free_form=True)},
    errors=(NotFound,),
    cacheable_for=JWKS_MAX_AGE,
)
async def get_jwks(issuer: AccessTokenIssuer) -> Response:
    """Get the keys that verify access tokens."""
    published = await issuer.published_keys()  # from the primary, because verifiers cache them
    return Response(200, b'{"keys":[%s]}' % b",".join(key.public_jwk.encode() for key in published))
