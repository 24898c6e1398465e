"""Schemas of access tokens."""

from typing import Annotated

from msgspec import Meta

from service.api.schemas.common import Input, Output


class IssueTokenBody(Input, frozen=True):
    """What to issue a token for."""

    audience: Annotated[
        str,
        Meta(
            description="The service that the token is for, one of `ROLLCALL_TOKENS__AUDIENCES`.",
            max_length=255,
            examples=["https://orders.example.org"],
        ),
    ]


class AccessTokenView(Output, frozen=True):
    """A new access token. Source: RFC 6749 5.1."""

    access_token: Annotated[
        str,
        Meta(
            description="A signed JWT (RFC 9068).",
            examples=["eyJhbGciOiJFUzI1NiIsInR5cCI6ImF0K2p3dCJ9.e30.c2ln"],
        ),
    ]
    token_type: Annotated[str, Meta(description="Always `Bearer` so far.", examples=["Bearer"])]
    expires_in: Annotated[int, Meta(description="Seconds until it expires.", ge=0, examples=[300])]
