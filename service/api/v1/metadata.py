"""What other services can discover. Source: RFC 8414."""

from service.api.http.response import Response
from service.api.operations import ResponseSpec, get
from service.api.responses import ok
from service.api.schemas.metadata import ServerMetadataView
from service.domain.callers import Access
from service.domain.errors import NotFound
from service.usecases.policies import Policies

_RESPONSES = {200: ResponseSpec("The metadata.", ServerMetadataView)}


@get(
    "/.well-known/oauth-authorization-server",
    description="RFC 8414. 404 unless `ROLLCALL_PUBLIC_URL` is set.",
    tag="introspection",
    access=Access(public=True),
    responses=_RESPONSES,
    errors=(NotFound,),
)
async def get_server_metadata(policies: Policies) -> Response:
    """Discover the endpoints for other services."""
    return _metadata(policies)


@get(
    "/.well-known/openid-configuration",
    description="The same metadata: several introspection clients ask here. Rollcall is no OpenID provider.",
    tag="introspection",
    access=Access(public=True),
    responses=_RESPONSES,
    errors=(NotFound,),
)
async def get_openid_configuration(policies: Policies) -> Response:
    """Discover the endpoints where OpenID Connect clients look."""
    return _metadata(policies)


def _metadata(policies: Policies) -> Response:
    if policies.issuer is None:
        raise NotFound
    return ok(ServerMetadataView.of(policies.issuer, has_jwks=policies.access_tokens is not None))
