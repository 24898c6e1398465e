"""Schemas of login."""

from typing import Annotated, Final

from msgspec import UNSET, Meta, UnsetType

from service.api.schemas.common import Input, Output
from service.api.schemas.mail import CodeToken, LoginCode
from service.api.schemas.sessions import SessionView
from service.api.schemas.users import UserView
from service.domain.errors import FieldError, ValidationFailed

SessionToken = Annotated[
    str,
    Meta(
        description="The bearer token, shown once.",
        examples=["rcs_aV9tq0Jc3m8vX1Yz5bK7dQ2eR4fT6gU8hI0jL1kM3nO"],
    ),
]
_WAYS: Final = ({"login_id", "password"}, {"email", "password"}, {"code_token", "code"})
_WAYS_FIELDS: Final = ("login_id", "email", "password", "code_token", "code")
_REQUIRED: Final = "This field is required."
_EXCLUDED: Final = "This field excludes another one that was sent."

DeviceToken = Annotated[
    str,
    Meta(
        description="Send it with later logins from this device: failures of others do not throttle it.",
        examples=["rcd_bW0ur1Kd4n9wY2Za6cL8eR3fS5gU7hV9iJ1kM2lN4oP"],
    ),
]


class LogInBody(Input, frozen=True):
    """The credentials of a login: a name and a password, or a code from a mail with its token.

    The name is the login id, or an address that the user has verified.
    """

    login_id: Annotated[str, Meta(examples=["ada@example.org"])] | UnsetType = UNSET
    email: Annotated[str, Meta(description="A verified address, in place of `login_id`.")] | UnsetType = UNSET
    password: (
        Annotated[str, Meta(examples=["mauve otter sings at dawn"], extra_json_schema={"format": "password"})]
        | UnsetType
    ) = UNSET
    code_token: CodeToken | UnsetType = UNSET
    code: LoginCode | UnsetType = UNSET
    device_token: DeviceToken | UnsetType = UNSET
    cookie: (
        Annotated[bool, Meta(description="Set the token as a cookie, for browsers; the body has none then.")]
        | UnsetType
    ) = UNSET

    def require_one_way(self) -> None:
        """Check that what was sent is one way to log in.

        Raises:
            ValidationFailed: a field is missing, or one too many was sent.
        """
        sent = {name for name in _WAYS_FIELDS if getattr(self, name) is not UNSET}
        if sent in _WAYS:
            return
        way = min(_WAYS, key=lambda way: len(way ^ sent))
        errors = [FieldError(f"/{name}", "missing_field", _REQUIRED) for name in sorted(way - sent)]
        errors += [FieldError(f"/{name}", "conflicting_fields", _EXCLUDED) for name in sorted(sent - way)]
        raise ValidationFailed(*errors)


class LoggedInView(Output, frozen=True, kw_only=True):
    """A new session with its tokens, shown once. A cookie has the token in place of the body."""

    token: SessionToken | UnsetType = UNSET
    session: SessionView
    user: UserView
    device_token: DeviceToken
