"""Schemas of users."""

from typing import Annotated, Any, Final, Self

from msgspec import UNSET, Meta, UnsetType

from service.api.schemas.common import (
    Cursor,
    Id,
    IdText,
    Input,
    InputTime,
    Limit,
    Output,
    PageView,
    Timestamp,
    about,
    extensible,
    timestamp,
    timestamp_or_none,
)
from service.domain.details import EXTERNAL_ID_MAX, LOCALE_MAX, DetailsPatch
from service.domain.emails import EMAIL_MAX
from service.domain.factors import Factor
from service.domain.pages import PAGE_DEFAULT, PAGE_MAX, UserSort
from service.domain.users import LOGIN_ID_MAX, NAME_MAX, User, UserRole, UserState

_DETAILS: Final = ("email", "email_verified", "locale", "external_id", "metadata")

LoginId = Annotated[
    str,
    about(
        'Printable ASCII without space and `" , ; < >`, the first a letter, a digit, `_` or `+`; '
        "with `ROLLCALL_LOGIN_IDS=unicode`, letters and digits of any script too (RFC 8265). Kept in lower "
        "case, and the domain of an address in A-labels (IDNA 2008). Not `me`, `current`, `null` or "
        "`undefined`.",
        "ada@example.org",
        min_length=1,
        max_length=LOGIN_ID_MAX,
        extra_json_schema={"pattern": '^([A-Za-z0-9_+]|[^\\x00-\\x7f])[^\\x00-\\x20",;<>\\x7f]*$'},
    ),
]
Name = Annotated[
    str,
    about(
        "Free text, kept in NFC: at least one visible character; no control, private-use or "
        "format characters, no line separators, joiners between letters only, and at most four combining "
        "marks in a row.",
        "Ada Lovelace",
        min_length=1,
        max_length=NAME_MAX,
    ),
]
NewPassword = Annotated[
    str,
    about(
        "Counted in code points; not common, and not derived from the login id, the name or the "
        "service's name. No composition rules.",
        "mauve otter sings at dawn",
        extra_json_schema={"format": "password", "minLength": 8, "maxLength": 1024},
    ),
]
PasswordHash = Annotated[
    str,
    about(
        "An argon2, bcrypt, scrypt or PBKDF2 hash in PHC or modular form, of bounded cost; "
        "replaced by an argon2id hash at the next login.",
        min_length=1,
        max_length=512,
    ),
]


Email = Annotated[
    str,
    about(
        "Kept in lower case, the domain in A-labels (IDNA 2008). An ASCII name without quotes before the @.",
        "ada@example.org",
        min_length=3,
        max_length=EMAIL_MAX,
    ),
]
Locale = Annotated[
    str,
    about(
        "A BCP 47 language tag; mails are in the closest language.",
        "de-AT",
        min_length=2,
        max_length=LOCALE_MAX,
    ),
]
ExternalId = Annotated[
    str,
    about(
        "The id of the user in another system; unique.", "crm-4711", min_length=1, max_length=EXTERNAL_ID_MAX
    ),
]
Metadata = Annotated[dict[str, Any], about("Data of the product, at most 8 KiB as JSON.", {"plan": "pro"})]
EmailVerified = Annotated[
    bool,
    about(
        "Whether the caller vouches for the address; by administrators and API keys. If it is "
        "left out, a new address is not verified, and one that stays the same is as before."
    ),
]
MustChange = Annotated[
    bool,
    about(
        "Whether the password set for another user has to be changed within a day, before "
        "anything else. Default: true for administrators, false for API keys (their owner has chosen it)."
    ),
]


class CreateUserBody(Input, frozen=True):
    """A new user. Send a password, a hash of one from another system, or neither."""

    login_id: LoginId
    name: Name
    password: NewPassword | UnsetType = UNSET
    password_hash: PasswordHash | UnsetType = UNSET
    role: UserRole | UnsetType = UNSET
    state: UserState | UnsetType = UNSET
    must_change: MustChange | UnsetType = UNSET
    email: Email | UnsetType = UNSET
    email_verified: EmailVerified | UnsetType = UNSET
    locale: Locale | UnsetType = UNSET
    external_id: ExternalId | UnsetType = UNSET
    metadata: Metadata | UnsetType = UNSET
    invite: (
        Annotated[
            bool,
            about(
                "Send a mail with a reset token, valid for 7 days, to choose a password with. "
                "Instead of a password; by administrators and API keys."
            ),
        ]
        | UnsetType
    ) = UNSET


class UpdateUserBody(Input, frozen=True):
    """A merge patch (RFC 7396): named fields change, the others stay."""

    name: Name | UnsetType = UNSET
    login_id: LoginId | UnsetType = UNSET
    role: UserRole | UnsetType = UNSET
    state: UserState | UnsetType = UNSET
    email: Email | UnsetType | None = UNSET
    email_verified: EmailVerified | UnsetType = UNSET
    locale: Locale | UnsetType | None = UNSET
    external_id: ExternalId | UnsetType | None = UNSET
    metadata: Metadata | UnsetType = UNSET


def details_of(body: CreateUserBody | UpdateUserBody) -> DetailsPatch:
    """Return the details that a body names."""
    values = {name: getattr(body, name) for name in _DETAILS}
    given = {name: value for name, value in values.items() if value is not UNSET}
    return DetailsPatch.of(given)


class ChangePasswordBody(Input, frozen=True):
    """A new password: with the current one for oneself, without it for another user."""

    new_password: NewPassword
    current_password: (
        Annotated[
            str, Meta(examples=["crimson kettle drums loudly"], extra_json_schema={"format": "password"})
        ]
        | UnsetType
    ) = UNSET
    must_change: MustChange | UnsetType = UNSET


class ListUsersQuery(Input, frozen=True):
    """Filter and sort of a list of users, or the ids of some."""

    id: (
        Annotated[
            list[IdText],
            about(
                "May be repeated: exactly the users with these ids, in this order, on one page. "
                "Unknown ids are left out. Excludes `cursor`, `sort` and every filter.",
                min_length=1,
                max_length=PAGE_MAX,
            ),
        ]
        | None
    ) = None
    limit: Limit = PAGE_DEFAULT
    cursor: Cursor | None = None
    q: (
        Annotated[
            str, about("A prefix of the login id or the name, in any case.", min_length=1, max_length=200)
        ]
        | None
    ) = None
    login_id: LoginId | None = None
    email: Email | None = None
    external_id: ExternalId | None = None
    state: UserState | None = None
    role: UserRole | None = None
    created_after: InputTime | None = None
    created_before: InputTime | None = None
    sort: UserSort = UserSort.CREATED


class UserView(Output, frozen=True):
    """A user."""

    id: Id
    login_id: Annotated[str, Meta(examples=["ada@example.org"])]
    name: Annotated[str, Meta(examples=["Ada Lovelace"])]
    role: UserRole
    state: UserState
    created_at: Timestamp
    updated_at: Timestamp
    last_login_at: Timestamp | None
    email: Annotated[str, Meta(examples=["ada@example.org"])] | None
    email_verified_at: Timestamp | None
    pending_email: Annotated[str, about("Takes the place of `email` once it is verified.")] | None
    locale: Annotated[str, Meta(examples=["de-AT"])] | None
    external_id: Annotated[str, Meta(examples=["crm-4711"])] | None
    metadata: Metadata
    password_changed_at: Timestamp | None
    factors: Annotated[
        list[Annotated[str, extensible(Factor)]], about("The second factors that are enrolled.", ["totp"])
    ]

    @classmethod
    def of(cls, user: User) -> Self:
        """Return the view of a user."""
        return cls(
            user.id,
            user.login_id,
            user.name,
            user.role,
            user.state,
            timestamp(user.created_at),
            timestamp(user.updated_at),
            timestamp_or_none(user.last_login_at),
            user.email,
            timestamp_or_none(user.email_verified_at),
            user.pending_email,
            user.locale,
            user.external_id,
            dict(user.metadata),
            timestamp_or_none(user.password_changed_at),
            list(user.factors),
        )


class UserPage(PageView[UserView], frozen=True):
    """A page of users."""
