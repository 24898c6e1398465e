"""Schemas of introspection. Source: RFC 7662."""

from typing import Annotated, Self

from msgspec import UNSET, Meta, Struct, UnsetType

from service.api.schemas.common import EpochSeconds, Input
from service.usecases.introspection import ActiveToken

_EXP = "Seconds since 1970; absent for a key that does not expire."


class IntrospectBody(Input, frozen=True):
    """The token: any text, as what cannot be one is inactive. `token_type_hint` is ignored.

    Source: RFC 7662 2.1, 2.2.
    """

    token: Annotated[str, Meta(examples=["rcs_aV9tq0Jc3m8vX1Yz5bK7dQ2eR4fT6gU8hI0jL1kM3nO"])]
    token_type_hint: str | UnsetType = UNSET


class IntrospectionView(Struct, frozen=True, kw_only=True):
    """What a token stands for; only `{"active": false}` for a token that should not be accepted."""

    active: bool
    sub: (
        Annotated[
            str,
            Meta(
                description="The user's id, or the API key's.",
                examples=["0198c5a4-7d1e-7c3b-9f60-2b1f3a5c7d9e"],
            ),
        ]
        | UnsetType
    ) = UNSET
    username: (
        Annotated[str, Meta(description="The login id; absent for an API key.", examples=["ada@example.org"])]
        | UnsetType
    ) = UNSET
    iat: EpochSeconds | UnsetType = UNSET
    exp: Annotated[EpochSeconds, Meta(description=_EXP)] | UnsetType = UNSET
    token_type: Annotated[str, Meta(examples=["Bearer"])] | UnsetType = UNSET
    scope: (
        Annotated[str, Meta(description="The user's role, or the API key's scopes.", examples=["user"])]
        | UnsetType
    ) = UNSET
    client_id: Annotated[str, Meta(description="The API key's id, for an API key.")] | UnsetType = UNSET

    @classmethod
    def of(cls, token: ActiveToken | None) -> Self:
        """Return the view of a token; None stands for every inactive one."""
        if token is None:
            return cls(active=False)
        return cls(
            active=True,
            sub=str(token.subject_id),
            username=token.username if token.username is not None else UNSET,
            iat=int(token.issued_at.timestamp()),
            exp=int(token.expires_at.timestamp()) if token.expires_at is not None else UNSET,
            token_type="Bearer",
            scope=token.scope,
            client_id=str(token.client_id) if token.client_id is not None else UNSET,
        )
