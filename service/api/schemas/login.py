"""Schemas of login."""

from collections.abc import Mapping
from typing import Annotated, Any, Final

from msgspec import UNSET, Meta, UnsetType

from service.api.schemas.common import Id, IdText, Input, Output
from service.api.schemas.mail import CodeToken, LoginCode
from service.api.schemas.passkey_samples import SAMPLE_CHALLENGE, SAMPLE_PASSKEY, SAMPLE_PUBLIC_KEY
from service.api.schemas.sessions import SessionView
from service.api.schemas.totp import TotpCode
from service.api.schemas.users import UserView
from service.domain.errors import FieldError, ValidationFailed

SessionToken = Annotated[
    str,
    Meta(
        description="The bearer token, shown once.",
        examples=["rcs_aV9tq0Jc3m8vX1Yz5bK7dQ2eR4fT6gU8hI0jL1kM3nO"],
    ),
]
_WAYS: Final = (
    {"login_id", "password"},
    {"email", "password"},
    {"code_token", "code"},
    {"challenge", "totp"},
    {"challenge", "recovery_code"},
    {"challenge", "passkey"},
    {"challenge_id", "passkey"},
)
_STEP_UP_WAYS: Final = ({"totp"}, {"challenge_id", "passkey"})
_CHALLENGE_ID: Final = "0198c5a4-7d1e-7c3b-9f60-2b1f3a5c7d9e"
_BY_PASSKEY: Final = {"challenge_id": _CHALLENGE_ID, "passkey": dict(SAMPLE_PASSKEY)}
LOGIN_EXAMPLES: Final[Mapping[str, Mapping[str, Any]]] = {
    "password": {"login_id": "ada@example.org", "password": "mauve otter sings at dawn"},
    "code from a mail": {
        "code_token": "rcl_cX1vs2Le5o0xZ3Ab7dM9fS4gT6hV8iW0jK2lN3mO5pQ",
        "code": "40716253",
    },
    "second factor": {"challenge": SAMPLE_CHALLENGE, "totp": "492039"},
    "recovery code": {"challenge": SAMPLE_CHALLENGE, "recovery_code": "7k2m9p-x4c8vb-q1w5zr-t6n3hd"},
    "passkey as second factor": {"challenge": SAMPLE_CHALLENGE, "passkey": dict(SAMPLE_PASSKEY)},
    "passkey alone": _BY_PASSKEY,
}
STEP_UP_EXAMPLES: Final[Mapping[str, Mapping[str, Any]]] = {
    "authenticator app": {"totp": "492039"},
    "passkey": _BY_PASSKEY,
}
_REQUIRED: Final = "This field is required."
_EXCLUDED: Final = "This field excludes another one that was sent."

DeviceToken = Annotated[
    str,
    Meta(
        description="Send it with later logins from this device: failures of others do not throttle it.",
        examples=["rcd_bW0ur1Kd4n9wY2Za6cL8eR3fS5gU7hV9iJ1kM2lN4oP"],
    ),
]


PasskeyResponse = Annotated[
    dict[str, Any],
    Meta(description="What `toJSON()` of the credential returns that `navigator.credentials.get()` gave."),
]
PasskeyChallengeId = Annotated[
    IdText, Meta(description="The `challenge_id` from `create_passkey_challenge`.")
]


class LogInBody(Input, frozen=True):
    """The credentials of a login: a name and a password, a code from a mail with its token, or a passkey.

    The name is the login id, or an address that the user has verified. After 403 `second_factor_required`:
    its `challenge`, and a second factor.
    """

    login_id: Annotated[str, Meta(examples=["ada@example.org"])] | UnsetType = UNSET
    email: Annotated[str, Meta(description="A verified address, in place of `login_id`.")] | UnsetType = UNSET
    password: (
        Annotated[str, Meta(examples=["mauve otter sings at dawn"], extra_json_schema={"format": "password"})]
        | UnsetType
    ) = UNSET
    code_token: CodeToken | UnsetType = UNSET
    code: LoginCode | UnsetType = UNSET
    challenge: Annotated[str, Meta(description="From the problem `second_factor_required`.")] | UnsetType = (
        UNSET
    )
    totp: TotpCode | UnsetType = UNSET
    recovery_code: (
        Annotated[str, Meta(description="One of the ten; case, hyphens and spaces are ignored.")] | UnsetType
    ) = UNSET
    challenge_id: PasskeyChallengeId | UnsetType = UNSET
    passkey: PasskeyResponse | UnsetType = UNSET
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
        _require_one_way(self, _WAYS)


class StepUpBody(Input, frozen=True):
    """A factor of the caller: a code of the authenticator app, or a passkey."""

    totp: TotpCode | UnsetType = UNSET
    challenge_id: PasskeyChallengeId | UnsetType = UNSET
    passkey: PasskeyResponse | UnsetType = UNSET

    def require_one_way(self) -> None:
        """Check that one factor was sent.

        Raises:
            ValidationFailed: a field is missing, or one too many was sent.
        """
        _require_one_way(self, _STEP_UP_WAYS)


def _require_one_way(body: Input, ways: tuple[set[str], ...]) -> None:
    """Check that the fields that were sent are one of the ways, or raise the errors of the nearest way."""
    fields = {name for way in ways for name in way}
    sent = {name for name in fields if getattr(body, name) is not UNSET}
    if sent in ways:
        return
    way = min(ways, key=lambda way: len(way ^ sent))
    errors = [FieldError(f"/{name}", "missing_field", _REQUIRED) for name in sorted(way - sent)]
    errors += [FieldError(f"/{name}", "conflicting_fields", _EXCLUDED) for name in sorted(sent - way)]
    raise ValidationFailed(*errors)


class PasskeyChallengeView(Output, frozen=True):
    """A challenge for a passkey, good for one try within five minutes."""

    challenge_id: Id
    public_key: Annotated[
        dict[str, Any],
        Meta(
            description="For `PublicKeyCredential.parseRequestOptionsFromJSON()`, then "
            "`navigator.credentials.get()`.",
            examples=[dict(SAMPLE_PUBLIC_KEY)],
        ),
    ]


class LoggedInView(Output, frozen=True, kw_only=True):
    """A new session with its tokens, shown once. A cookie has the token in place of the body."""

    token: SessionToken | UnsetType = UNSET
    session: SessionView
    user: UserView
    device_token: DeviceToken


class SteppedUpView(Output, frozen=True, kw_only=True):
    """A session that counts as just logged in, with its new token. A cookie has it in place of the body."""

    token: SessionToken | UnsetType = UNSET
    session: SessionView
