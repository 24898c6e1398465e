"""Schemas of introspection and revocation. Source: RFC 7662, RFC 7009."""

from typing import Annotated, Self

from msgspec import UNSET, Meta, Struct, UnsetType

from service.api.schemas.common import SAMPLE_ID, EpochSeconds, Input, about
from service.usecases.introspection import ActiveToken

_EXP = "Seconds since 1970; absent for a key that does not expire. `ROLLCALL_INTROSPECTION__MAX_AGE` caps it."
_CLIENT_ID = "Any text: the secret alone identifies the key."
_CLIENT_SECRET = "The API key, unless the header `Authorization` has it, which wins."
_TOKEN_EXAMPLE = "rcs_aV9tq0Jc3m8vX1Yz5bK7dQ2eR4fT6gU8hI0jL1kM3nO"


class ClientBody(Input, frozen=True, kw_only=True):
    """A token, and what OAuth clients send besides it. Source: RFC 6749 2.3.1."""

    token_type_hint: str | UnsetType = UNSET
    client_id: Annotated[str, about(_CLIENT_ID)] | UnsetType = UNSET
    client_secret: Annotated[str, about(_CLIENT_SECRET)] | UnsetType = UNSET
    token: Annotated[str, Meta(examples=[_TOKEN_EXAMPLE])]


class IntrospectBody(ClientBody, frozen=True, kw_only=True):
    """The token: any text, as what cannot be one is inactive. `token_type_hint` is ignored.

    Source: RFC 7662 2.1, 2.2.
    """


class RevokeBody(ClientBody, frozen=True, kw_only=True):
    """The token: any text, as what cannot be one is revoked already. `token_type_hint` is ignored.

    Source: RFC 7009 2.1, 2.2.
    """


class IntrospectionView(Struct, frozen=True, kw_only=True):
    """What a token stands for; only `{"active": false}` for a token that should not be accepted."""

    active: bool
    iss: (
        Annotated[str, about("`ROLLCALL_PUBLIC_URL`, if it is set.", "https://accounts.example.org")]
        | UnsetType
    ) = UNSET
    sub: Annotated[str, about("The user's id, or the API key's.", SAMPLE_ID)] | UnsetType = UNSET
    sid: Annotated[str, about("The session's id; absent for an API key.")] | UnsetType = UNSET
    username: Annotated[str, about("The login id; absent for an API key.", "ada@example.org")] | UnsetType = (
        UNSET
    )
    name: Annotated[str, about("The user's name; absent for an API key.", "Ada Lovelace")] | UnsetType = UNSET
    role: Annotated[str, about("The user's role; absent for an API key.", "user")] | UnsetType = UNSET
    auth_time: (
        Annotated[EpochSeconds, about("When the user last proved who they are; absent for an API key.")]
        | UnsetType
    ) = UNSET
    amr: (
        Annotated[list[str], about("How (RFC 8176); absent for an API key.", ["pwd", "otp", "mfa"])]
        | UnsetType
    ) = UNSET
    acr: Annotated[str, about("2 with two factors, or a passkey; 1 otherwise.", "1")] | UnsetType = UNSET
    iat: EpochSeconds | UnsetType = UNSET
    exp: Annotated[EpochSeconds, about(_EXP)] | UnsetType = UNSET
    token_type: Annotated[str, Meta(examples=["Bearer"])] | UnsetType = UNSET
    scope: Annotated[str, about("The user's role, or the API key's scopes.", "user")] | UnsetType = UNSET
    client_id: Annotated[str, about("The API key's id, for an API key.")] | UnsetType = UNSET

    @classmethod
    def of(cls, token: ActiveToken | None) -> Self:
        """Return the view of a token; None stands for every inactive one."""
        if token is None:
            return cls(active=False)
        user, session, issued_at = token.user, token.session, int(token.issued_at.timestamp())
        return cls(
            active=True,
            iss=token.issuer if token.issuer is not None else UNSET,
            sub=str(token.subject_id),
            sid=str(session.id) if session is not None else UNSET,
            username=user.login_id if user is not None else UNSET,
            name=user.name if user is not None else UNSET,
            role=user.role.value if user is not None else UNSET,
            auth_time=int(session.auth_time.timestamp()) if session is not None else UNSET,
            amr=list(session.amr) if session is not None else UNSET,
            acr=str(session.assurance.value) if session is not None else UNSET,
            iat=issued_at,
            exp=int(token.expires_at.timestamp()) if token.expires_at is not None else UNSET,
            token_type="Bearer",
            scope=token.scope,
            client_id=str(token.client_id) if token.client_id is not None else UNSET,
        )
