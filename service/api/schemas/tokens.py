"""Schemas of access tokens."""

from typing import Annotated

from service.api.schemas.common import Input, Output, about


class IssueTokenBody(Input, frozen=True):
    """What to issue a token for."""

    audience: Annotated[
        str,
        about(
            "The service that the token is for, one of `ROLLCALL_TOKENS__AUDIENCES`.",
            "https://orders.example.org",
            max_length=255,
        ),
    ]


class AccessTokenView(Output, frozen=True):
    """A new access token. Source: RFC 6749 5.1."""

    access_token: Annotated[
        str, about("A signed JWT (RFC 9068).", "eyJhbGciOiJFUzI1NiIsInR5cCI6ImF0K2p3dCJ9.e30.c2ln")
    ]
    token_type: Annotated[str, about("Always `Bearer` so far.", "Bearer")]
    expires_in: Annotated[int, about("Seconds until it expires.", 300, ge=0)]
