"""Users, and the canonical forms of login id and name."""

import re
import unicodedata
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID

LOGIN_ID_PATTERN = r"[a-z0-9](?:[a-z0-9._@+-]*[a-z0-9])?"
LOGIN_ID_MAX = 254
NAME_MAX = 200
RESERVED_LOGIN_IDS = frozenset({"me", "current", "null", "undefined"})

_LOGIN_ID = re.compile(LOGIN_ID_PATTERN)
_ASCII_LOWER = str.maketrans("ABCDEFGHIJKLMNOPQRSTUVWXYZ", "abcdefghijklmnopqrstuvwxyz")
_BIDI_OVERRIDES = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_FORBIDDEN_CATEGORIES = frozenset({"Cc", "Cs", "Cn"})


class UserRole(StrEnum):
    """The role of a user; only administrators may access other users."""

    USER = "user"
    ADMIN = "admin"


class UserState(StrEnum):
    """Whether a user may log in and use sessions."""

    ACTIVE = "active"
    DISABLED = "disabled"


@dataclass(frozen=True, slots=True)
class User:
    """A user, without the password hash."""

    id: UUID
    login_id: str
    name: str
    role: UserRole
    state: UserState
    must_change: bool
    created_at: datetime
    updated_at: datetime
    last_login_at: datetime | None

    @property
    def is_active_admin(self) -> bool:
        """Whether this is one of the active administrators, of which one must remain."""
        return self.role is UserRole.ADMIN and self.state is UserState.ACTIVE


@dataclass(frozen=True, slots=True)
class UserPatch:
    """A change of a user; None leaves a field unchanged."""

    name: str | None = None
    login_id: str | None = None
    role: UserRole | None = None
    state: UserState | None = None


def canonical_login_id(raw: str) -> str | None:
    """Return the stored form of a login id, or None if it is not valid.

    Only ASCII letters are lower-cased and nothing is folded, so that no spelling reaches another user.
    Source: OWASP ASVS 5.0 1.1.1; CVE-2019-19844.
    """
    if len(raw) > LOGIN_ID_MAX:
        return None
    lowered = raw.translate(_ASCII_LOWER)
    if lowered in RESERVED_LOGIN_IDS or not _LOGIN_ID.fullmatch(lowered):
        return None
    return lowered


def canonical_name(raw: str) -> str | None:
    """Return the NFC form of a display name of 1 to 200 code points, or None if it is not valid."""
    if not 1 <= len(raw) <= NAME_MAX * 3:
        return None
    name = unicodedata.normalize("NFC", raw)
    if len(name) > NAME_MAX or any(_is_forbidden(character) for character in name):
        return None
    return name


def _is_forbidden(character: str) -> bool:
    return character in _BIDI_OVERRIDES or unicodedata.category(character) in _FORBIDDEN_CATEGORIES
