"""Factors of authentication: what they are, how they add up, and who needs a second one."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import IntEnum, StrEnum
from typing import Any, Final
from uuid import UUID

CHALLENGE_TTL: Final = timedelta(minutes=5)
"""How long a login may wait for its second factor, and a passkey for its use."""
CHALLENGE_TRIES: Final = 5
"""Second factors that may be tried before the first one is asked for again."""
RECOVERY_CODES: Final = 10
PASSKEYS_PER_USER: Final = 20
PASSKEY_NAME_MAX: Final = 100


class Factor(StrEnum):
    """A second factor that a user can enrol."""

    TOTP = "totp"
    PASSKEY = "passkey"


class Method(StrEnum):
    """What can answer a challenge for a second factor."""

    TOTP = "totp"
    PASSKEY = "passkey"
    RECOVERY_CODE = "recovery_code"


class Amr(StrEnum):
    """How a session was authenticated. Source: RFC 8176 2."""

    PASSWORD = "pwd"
    ONE_TIME_CODE = "otp"
    HARDWARE_KEY = "hwk"
    SOFTWARE_KEY = "swk"
    USER_VERIFIED = "user"
    MULTI_FACTOR = "mfa"


BY_PASSWORD: Final = (Amr.PASSWORD,)
BY_MAILED_CODE: Final = (Amr.ONE_TIME_CODE,)


class Assurance(IntEnum):
    """How strongly a session was authenticated. Source: NIST SP 800-63B-4 2.1, 2.2."""

    ONE_FACTOR = 1
    TWO_FACTORS = 2


def assurance_of(amr: Iterable[str]) -> Assurance:
    """Return the assurance of a session that was authenticated in these ways."""
    return Assurance.TWO_FACTORS if Amr.MULTI_FACTOR in amr else Assurance.ONE_FACTOR


def passkey_amr(*, is_backup_eligible: bool) -> tuple[Amr, ...]:
    """Return what the use of a passkey shows: the key, and that its holder was verified.

    A key that its authenticator may copy elsewhere is a software key here. Source: NIST SP 800-63B-4 B.2.
    """
    key = Amr.SOFTWARE_KEY if is_backup_eligible else Amr.HARDWARE_KEY
    return (key, Amr.USER_VERIFIED, Amr.MULTI_FACTOR)


def combined_amr(first: Iterable[str], second: Iterable[str]) -> tuple[str, ...]:
    """Return the ways of two factors together, each once."""
    return tuple(dict.fromkeys((*first, *second, Amr.MULTI_FACTOR)).keys())


class FactorsRequired(StrEnum):
    """Who needs a second factor."""

    NOBODY = "nobody"
    ADMINS = "admins"
    EVERYBODY = "everybody"


@dataclass(frozen=True, slots=True)
class FactorPolicy:
    """Which factors can be enrolled, and who needs one."""

    required: FactorsRequired = FactorsRequired.NOBODY
    issuer: str = "rollcall"
    """What authenticator apps and passkey dialogs call the service."""
    totp_is_enabled: bool = False
    rp_id: str | None = None
    """The domain that passkeys belong to; None: they are not enabled."""
    origins: tuple[str, ...] = ()
    """The origins whose pages may use passkeys."""

    def requires(self, *, is_admin: bool) -> bool:
        """Return whether a user of this role needs a second factor."""
        return self.required is FactorsRequired.EVERYBODY or (
            is_admin and self.required is FactorsRequired.ADMINS
        )


@dataclass(frozen=True, slots=True)
class Passkey:
    """A passkey of a user."""

    id: UUID
    user_id: UUID
    name: str
    credential_id: bytes
    public_key: bytes
    sign_count: int
    aaguid: UUID
    transports: Sequence[str]
    is_backup_eligible: bool
    is_backed_up: bool
    created_at: datetime
    last_used_at: datetime | None


@dataclass(frozen=True, slots=True)
class PasskeyChallenge:
    """A challenge for a passkey, new or any that is there, and what the browser needs for it."""

    id: UUID
    public_key: Mapping[str, Any] = field(hash=False)


@dataclass(frozen=True, slots=True)
class LoginChallenge:
    """A login that has passed its first factor, and what can answer it."""

    token: str
    methods: tuple[Method, ...]
    public_key: Mapping[str, Any] | None = None
    """What the browser needs to use a passkey, if the user has one. Source: WebAuthn Level 3 5.5."""
