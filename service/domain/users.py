"""The user: its entity, and the canonical forms of its login id and name."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, NamedTuple
from uuid import UUID

from service.domain.details import NO_DETAILS, NO_METADATA, DetailsPatch
from service.domain.errors import FieldError, ValidationFailed
from service.domain.unicode import category, nfc

LOGIN_ID_MAX = 254
NAME_MAX = 200
_NAME_RULE = (
    "one of them visible; no control, private-use or format characters, no line separators, joiners between "
    "letters only, and at most four combining marks in a row."
)
"""What follows "1 to N characters, ", in an error."""
RESERVED_LOGIN_IDS = frozenset({"me", "current", "null", "undefined"})

_ASCII_LOWER = str.maketrans("ABCDEFGHIJKLMNOPQRSTUVWXYZ", "abcdefghijklmnopqrstuvwxyz")
_LOGIN_ID = re.compile(r"""[a-z0-9_+\x80-\U0010ffff][^\x00-\x20",;<>\x7f]*""")

_JOINERS = frozenset("\u200c\u200d")
_BLANKS = frozenset("\u115f\u1160\u2800\u3164\uffa0\U00013441\U00013442\U0001d159")
"""Letters and symbols without ink: fillers of Hangul, and blanks of Braille, hieroglyphs and music."""
_RESERVED = re.compile(
    "[\u2065\ufdd0-\ufdef\ufff0-\uffff\U000e0000-\U000e0fff"
    + "".join(chr(plane | 0xFFFE) + chr(plane | 0xFFFF) for plane in range(0x10000, 0x110000, 0x10000))
    + "]"
)
"""Unassigned for good: noncharacters, and what is kept for format characters."""
_NAME_CLASSES = re.compile(r"(?=.*[LNPS])(?!.*M(?:J?M){4})(?:[LMNPSZ]|(?<=[LMS])J(?=[LMS]))+")


class LoginIdCharset(StrEnum):
    """Which characters a login id may have."""

    ASCII = "ascii"
    UNICODE = "unicode"

    @property
    def rule(self) -> str:
        """What a login id has to be, as the detail of an error."""
        letters = "letters and digits of any script (RFC 8265), " if self is LoginIdCharset.UNICODE else ""
        return (
            f"1 to {LOGIN_ID_MAX} characters: {letters}printable ASCII without space and "
            '" , ; < >; the first a letter, a digit, _ or +; no reserved word; after an @, no invalid '
            "internationalized domain."
        )


class UserRole(StrEnum):
    """What a user may do beyond its own affairs."""

    USER = "user"
    ADMIN = "admin"


class UserState(StrEnum):
    """Whether a user may log in and use its sessions."""

    ACTIVE = "active"
    DISABLED = "disabled"


class User(NamedTuple):
    """A user; the password hash is never part of it."""

    id: UUID
    login_id: str
    name: str
    role: UserRole
    state: UserState
    must_change: bool
    created_at: datetime
    updated_at: datetime
    last_login_at: datetime | None
    email: str | None = None
    email_verified_at: datetime | None = None
    pending_email: str | None = None
    locale: str | None = None
    external_id: str | None = None
    metadata: Mapping[str, Any] = NO_METADATA
    password_changed_at: datetime | None = None
    factors: Sequence[str] = ()
    """The second factors that are enrolled."""

    @property
    def verified_email(self) -> str | None:
        """The address if its owner has shown that it is theirs: mails with tokens go there alone."""
        return self.email if self.email_verified_at is not None else None

    @property
    def is_active_admin(self) -> bool:
        """Whether this account counts towards the administrators that must never run out."""
        return self.role is UserRole.ADMIN and self.state is UserState.ACTIVE


@dataclass(frozen=True, slots=True)
class UserPatch:
    """What a change names; None leaves a field as it is."""

    name: str | None = None
    login_id: str | None = None
    role: UserRole | None = None
    state: UserState | None = None
    details: DetailsPatch = NO_DETAILS


def canonical_login_id(raw: str, charset: LoginIdCharset) -> str | None:
    """Return the one stored form of a login id, or None if it cannot be one.

    ASCII letters are lower-cased, and an internationalized domain after an @ becomes A-labels. `UNICODE` maps
    width and case of other letters too, as UsernameCaseMapped does; `ASCII` maps nothing else.

    Source: OWASP ASVS 5.0 1.1.1; CVE-2019-19844; RFC 8265 3.3; RFC 5891.
    """
    if len(raw) > LOGIN_ID_MAX:
        return None
    login_id = raw.translate(_ASCII_LOWER)
    if not login_id.isascii() or "xn--" in login_id:
        login_id = _internationalized(login_id, charset)
    if login_id in RESERVED_LOGIN_IDS or len(login_id) > LOGIN_ID_MAX or not _LOGIN_ID.fullmatch(login_id):
        return None
    return login_id


def fold_prefix(raw: str) -> str:
    """Return the beginning of a login id in the form in which all of them are stored.

    The database must not do it: what its `lower()` makes of a letter depends on its locale.
    """
    folded = raw.translate(_ASCII_LOWER)
    if folded.isascii():
        return folded
    from service.domain.internationalized import map_case  # 60 ms to import

    return map_case(folded)


def canonical_name(raw: str) -> str | None:
    """Return the NFC form of a display name of 1 to 200 code points, or None if it cannot be one.

    Unassigned code points pass, so that an emoji newer than the tables does.
    Source: OWASP ASVS 5.0 1.3.3; UTR #36 2 and 3.
    """
    if not 1 <= len(raw) <= NAME_MAX * 3:
        return None
    name = nfc(raw)
    if len(name) > NAME_MAX or not _NAME_CLASSES.fullmatch("".join(map(_class_of, name))):
        return None
    return name


def validate_name(raw: str, max_length: int = NAME_MAX) -> str | FieldError:
    """Return the canonical form of the name in the field `/name`, or the error."""
    name = canonical_name(raw)
    if name is None or len(name) > max_length:
        return FieldError("/name", "invalid_value", f"1 to {max_length} characters, {_NAME_RULE}")
    return name


def require_name(raw: str, max_length: int) -> str:
    """Return the canonical form of the name in the field `/name`.

    Raises:
        ValidationFailed: it breaks a rule.
    """
    name = validate_name(raw, max_length)
    if isinstance(name, FieldError):
        raise ValidationFailed(name)
    return name


def _internationalized(login_id: str, charset: LoginIdCharset) -> str:
    """Return the canonical form of a login id that is not plain ASCII; an invalid one is empty."""
    # 60 ms to import, and most installations never need it
    from service.domain.internationalized import enforce_username, map_case, to_a_labels

    is_unicode = charset is LoginIdCharset.UNICODE
    local, at, domain = (map_case(login_id) if is_unicode else login_id).rpartition("@")
    if not at:
        local, domain = domain, local
    if not (is_unicode or local.isascii()):
        return ""
    try:
        if not local.isascii():
            local = enforce_username(local)
        if not domain.isascii() or any(label.startswith("xn--") for label in domain.split(".")):
            domain = to_a_labels(domain)
    except ValueError:
        return ""
    return local + at + domain


def _class_of(character: str) -> str:
    """Return L, M, N, P or S as in the general category, Z for a blank, J for a joiner, C for all others."""
    if character in _JOINERS:
        return "J"
    if character in _BLANKS:
        return "Z"
    found = category(character)
    if found == "Cn":
        return "C" if _RESERVED.match(character) else "L"
    return found[0] if found[0] in "LMNPS" or found == "Zs" else "C"
