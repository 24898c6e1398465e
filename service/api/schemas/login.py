"""Schemas of login."""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Final

from msgspec import UNSET, Meta, UnsetType

from service.api.schemas.common import SAMPLE_ID, Id, IdText, Input, Output, about
from service.api.schemas.mail import CodeToken, LoginCode
from service.api.schemas.passkey_samples import SAMPLE_CHALLENGE, SAMPLE_PASSKEY, SAMPLE_PUBLIC_KEY
from service.api.schemas.sessions import SessionView
from service.api.schemas.totp import TotpCode
from service.api.schemas.users import UserView
from service.domain.errors import FieldError, ValidationFailed

SessionToken = Annotated[
    str, about("The bearer token, shown once.", "rcs_aV9tq0Jc3m8vX1Yz5bK7dQ2eR4fT6gU8hI0jL1kM3nO")
]
_BY_PASSKEY: Final = {"challenge_id": SAMPLE_ID, "passkey": dict(SAMPLE_PASSKEY)}
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
    about(
        "Send it with later logins from this device: failures of others do not throttle it.",
        "rcd_bW0ur1Kd4n9wY2Za6cL8eR3fS5gU7hV9iJ1kM2lN4oP",
    ),
]


PasskeyResponse = Annotated[
    dict[str, Any],
    about("What `toJSON()` of the credential returns that `navigator.credentials.get()` gave."),
]
PasskeyChallengeId = Annotated[IdText, about("The `challenge_id` from `create_passkey_challenge`.")]


class _OneWay(Input, frozen=True):
    """A body that has the fields of one of several ways."""

    ways: ClassVar[tuple[set[str], ...]]

    def require_one_way(self) -> None:
        """Check that the fields that were sent are those of one way.

        Raises:
            ValidationFailed: measured by the nearest way, a field is missing, or one too many was sent.
        """
        fields = {name for way in self.ways for name in way}
        sent = {name for name in fields if getattr(self, name) is not UNSET}
        if sent in self.ways:
            return
        way = min(self.ways, key=lambda way: len(way ^ sent))
        errors = [FieldError(f"/{name}", "missing_field", _REQUIRED) for name in sorted(way - sent)]
        errors += [FieldError(f"/{name}", "conflicting_fields", _EXCLUDED) for name in sorted(sent - way)]
        raise ValidationFailed(*errors)


class LogInBody(_OneWay, frozen=True):
    """The credentials of a login: a name and a password, a code from a mail with its token, or a passkey.

    The name is the login id, or an address that the user has verified. After 403 `second_factor_required`:
    its `challenge`, and a second factor.
    """

    ways: ClassVar = (
        {"login_id", "password"},
        {"email", "password"},
        {"code_token", "code"},
        {"challenge", "totp"},
        {"challenge", "recovery_code"},
        {"challenge", "passkey"},
        {"challenge_id", "passkey"},
    )

    login_id: Annotated[str, Meta(examples=["ada@example.org"])] | UnsetType = UNSET
    email: Annotated[str, about("A verified address, in place of `login_id`.")] | UnsetType = UNSET
    password: (
        Annotated[str, Meta(examples=["mauve otter sings at dawn"], extra_json_schema={"format": "password"})]
        | UnsetType
    ) = UNSET
    code_token: CodeToken | UnsetType = UNSET
    code: LoginCode | UnsetType = UNSET
    challenge: Annotated[str, about("From the problem `second_factor_required`.")] | UnsetType = UNSET
    totp: TotpCode | UnsetType = UNSET
    recovery_code: (
        Annotated[str, about("One of the ten; case, hyphens and spaces are ignored.")] | UnsetType
    ) = UNSET
    challenge_id: PasskeyChallengeId | UnsetType = UNSET
    passkey: PasskeyResponse | UnsetType = UNSET
    device_token: DeviceToken | UnsetType = UNSET
    cookie: (
        Annotated[bool, about("Set the token as a cookie, for browsers; the body has none then.")] | UnsetType
    ) = UNSET


class StepUpBody(_OneWay, frozen=True):
    """A factor of the caller: a code of the authenticator app, or a passkey."""

    ways: ClassVar = ({"totp"}, {"challenge_id", "passkey"})

    totp: TotpCode | UnsetType = UNSET
    challenge_id: PasskeyChallengeId | UnsetType = UNSET
    passkey: PasskeyResponse | UnsetType = UNSET


class PasskeyChallengeView(Output, frozen=True):
    """A challenge for a passkey, good for one try within five minutes."""

    challenge_id: Id
    public_key: Annotated[
        dict[str, Any],
        about(
            "For `PublicKeyCredential.parseRequestOptionsFromJSON()`, then `navigator.credentials.get()`.",
            dict(SAMPLE_PUBLIC_KEY),
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
