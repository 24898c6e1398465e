"""Schemas of login."""

from typing import Annotated

from msgspec import UNSET, Meta, UnsetType

from service.api.schemas.common import Input, Output
from service.api.schemas.sessions import SessionView
from service.api.schemas.users import UserView

SessionToken = Annotated[
    str,
    Meta(
        description="The bearer token, shown once.",
        examples=["rcs_aV9tq0Jc3m8vX1Yz5bK7dQ2eR4fT6gU8hI0jL1kM3nO"],
    ),
]
DeviceToken = Annotated[
    str,
    Meta(
        description="Send it with later logins from this device: failures of others do not throttle it.",
        examples=["rcd_bW0ur1Kd4n9wY2Za6cL8eR3fS5gU7hV9iJ1kM2lN4oP"],
    ),
]


class LogInBody(Input, frozen=True):
    """The credentials of a login."""

    login_id: Annotated[str, Meta(examples=["ada@example.org"])]
    password: Annotated[
        str, Meta(examples=["mauve otter sings at dawn"], extra_json_schema={"format": "password"})
    ]
    device_token: DeviceToken | UnsetType = UNSET
    cookie: Annotated[
        bool,
        Meta(description="Set the token as a cookie, for browsers; the body has none then."),
    ] = False


class LoggedInView(Output, frozen=True, kw_only=True):
    """A new session with its tokens, shown once. A cookie has the token in place of the body."""

    token: SessionToken | UnsetType = UNSET
    session: SessionView
    user: UserView
    device_token: DeviceToken
