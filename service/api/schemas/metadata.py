"""Schema of the metadata for other services. Source: RFC 8414 2."""

from typing import Annotated, Self

from msgspec import UNSET, Meta, UnsetType

from service.api.schemas.common import Output, about

_CLIENT_SECRETS = ("client_secret_basic", "client_secret_post")
_TOKEN_ENDPOINT = (
    "Where a session gets an access token. It takes no OAuth grant; RFC 8414 requires the address."
)

Url = Annotated[str, Meta(examples=["https://accounts.example.org/v1/introspect"])]


class ServerMetadataView(Output, frozen=True, kw_only=True):
    """Where other services ask, and how they authenticate there. There is no authorization endpoint."""

    issuer: Annotated[str, Meta(examples=["https://accounts.example.org"])]
    introspection_endpoint: Url
    introspection_endpoint_auth_methods_supported: tuple[str, ...]
    revocation_endpoint: Url
    revocation_endpoint_auth_methods_supported: tuple[str, ...]
    token_endpoint: Annotated[Url, about(_TOKEN_ENDPOINT)]
    jwks_uri: Url | UnsetType = UNSET
    response_types_supported: tuple[str, ...]
    grant_types_supported: tuple[str, ...]

    @classmethod
    def of(cls, issuer: str, *, has_jwks: bool) -> Self:
        """Return the metadata of the service at an address."""
        return cls(
            issuer=issuer,
            introspection_endpoint=f"{issuer}/v1/introspect",
            introspection_endpoint_auth_methods_supported=_CLIENT_SECRETS,
            revocation_endpoint=f"{issuer}/v1/revoke",
            revocation_endpoint_auth_methods_supported=(*_CLIENT_SECRETS, "none"),
            token_endpoint=f"{issuer}/v1/tokens",
            jwks_uri=f"{issuer}/.well-known/jwks.json" if has_jwks else UNSET,
            response_types_supported=(),
            grant_types_supported=(),
        )
