"""Schemas of passkeys."""

from typing import Annotated, Any, Self
from uuid import UUID

from msgspec import UNSET, UnsetType

from service.api.schemas.common import (
    Id,
    IdText,
    Input,
    Output,
    PageView,
    Timestamp,
    about,
    timestamp,
    timestamp_or_none,
)
from service.domain.factors import PASSKEY_NAME_MAX, Passkey, PasskeyChallenge
from service.usecases.passkeys import DEFAULT_NAME

PasskeyName = Annotated[
    str,
    about(
        "Free text, with the rules of a user's name.",
        "Ada's phone",
        min_length=1,
        max_length=PASSKEY_NAME_MAX,
    ),
]


class PasskeyOptionsView(Output, frozen=True):
    """What `navigator.credentials.create()` takes, for five minutes."""

    challenge_id: Id
    public_key: Annotated[
        dict[str, Any],
        about(
            "For `PublicKeyCredential.parseCreationOptionsFromJSON()`. Source: WebAuthn Level 3, 5.1.9.",
            {"rp": {"id": "example.org", "name": "rollcall"}, "challenge": "AAECAwQFBgcICQ"},
        ),
    ]

    @classmethod
    def of(cls, options: PasskeyChallenge) -> Self:
        """Return the view of options."""
        return cls(options.id, dict(options.public_key))


class AddPasskeyBody(Input, frozen=True):
    """A passkey that a client has created."""

    challenge_id: IdText
    passkey: Annotated[
        dict[str, Any],
        about(
            "`toJSON()` of what `navigator.credentials.create()` has returned. Source: WebAuthn "
            "Level 3, 5.1.8.",
            {"id": "4Vsc0zSmDf0", "rawId": "4Vsc0zSmDf0", "type": "public-key", "response": {}},
        ),
    ]
    name: PasskeyName | UnsetType = UNSET

    @property
    def given_name(self) -> str:
        """The name, or the default."""
        return DEFAULT_NAME if self.name is UNSET else self.name


class UpdatePasskeyBody(Input, frozen=True):
    """A merge patch (RFC 7396)."""

    name: PasskeyName


class PasskeyView(Output, frozen=True):
    """A passkey."""

    id: Id
    name: str
    created_at: Timestamp
    last_used_at: Timestamp | None
    aaguid: Annotated[
        UUID,
        about(
            "The model of the authenticator, as it says itself; all zeros if it does not say.",
            "ee882879-721c-4913-9775-3dfcce97072a",
        ),
    ]
    transports: Annotated[list[str], about("How the client reaches it.", ["hybrid", "internal"])]
    is_backed_up: Annotated[bool, about("Whether it is kept elsewhere too, and synced.")]

    @classmethod
    def of(cls, passkey: Passkey) -> Self:
        """Return the view of a passkey."""
        return cls(
            passkey.id,
            passkey.name,
            timestamp(passkey.created_at),
            timestamp_or_none(passkey.last_used_at),
            passkey.aaguid,
            list(passkey.transports),
            passkey.is_backed_up,
        )


class PasskeyPage(PageView[PasskeyView], frozen=True):
    """A page of passkeys."""
