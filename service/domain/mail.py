"""Mails that wait to be sent, and when to try again."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final
from uuid import UUID

LOCALES: Final = ("en", "de", "fr", "es", "ja")
"""The languages of the built-in templates; the first one is the default."""

KEEP_TRYING_FOR: Final = timedelta(hours=24)
_FIRST_WAIT: Final = timedelta(seconds=15)
_LONGEST_WAIT: Final = timedelta(hours=1)


class MailKind(StrEnum):
    """What a mail is about; each has templates."""

    VERIFY_EMAIL = "verify_email"
    RECOVERY = "recovery"
    INVITATION = "invitation"
    LOGIN_CODE = "login_code"
    PASSWORD_CHANGED = "password_changed"
    EMAIL_CHANGED = "email_changed"
    NEW_DEVICE = "new_device"
    FACTOR_ADDED = "factor_added"
    FACTOR_REMOVED = "factor_removed"
    RECOVERY_CODE_USED = "recovery_code_used"
    TEST = "test"


URGENT: Final = frozenset({MailKind.VERIFY_EMAIL, MailKind.RECOVERY, MailKind.LOGIN_CODE})
"""Mails that somebody waits for now."""
HEAD_START: Final = KEEP_TRYING_FOR - timedelta(minutes=1)
"""How far ahead of the others an urgent mail is queued: only what is about to be given up stands before it.

Below a day: PostgreSQL's days may have 25 hours.
"""


class MailState(StrEnum):
    """How far a mail is."""

    PENDING = "pending"
    SENT = "sent"
    DEAD = "dead"


@dataclass(frozen=True, slots=True)
class TokenSeed:
    """What a one-time token is derived from, and the digest that shows whether the key was right."""

    seed: bytes
    digest: bytes


@dataclass(frozen=True, slots=True)
class NewMail:
    """A mail to be sent. `params` hold no secret; `token` stands for one until it is sent."""

    kind: MailKind
    recipient: str
    user_id: UUID | None = None
    locale: str | None = None
    params: Mapping[str, str] = field(default_factory=dict)
    token: TokenSeed | None = None
    ttl: timedelta = KEEP_TRYING_FOR
    """How long it is worth sending."""


@dataclass(frozen=True, slots=True)
class QueuedMail:
    """A mail of the outbox. `attempts` counts the current one."""

    id: UUID
    kind: str
    recipient: str
    locale: str | None
    params: Mapping[str, str]
    message_id: str
    attempts: int
    created_at: datetime
    token_seed: bytes | None = None
    token_digest: bytes | None = None

    @property
    def token(self) -> TokenSeed | None:
        """What its one-time token is derived from."""
        if self.token_seed is None or self.token_digest is None:
            return None
        return TokenSeed(self.token_seed, self.token_digest)


@dataclass(frozen=True, slots=True)
class MailStatus:
    """How far a mail of the outbox is."""

    id: UUID
    kind: str
    recipient: str
    attempts: int
    created_at: datetime
    next_attempt_at: datetime
    sent_at: datetime | None
    dead_at: datetime | None
    last_error: str | None

    @property
    def state(self) -> MailState:
        """How far it is."""
        if self.sent_at is not None:
            return MailState.SENT
        return MailState.PENDING if self.dead_at is None else MailState.DEAD


class DeliveryFailed(Exception):
    """A mail was not accepted. `reason` names no address and no text of the server.

    `is_permanent`: another attempt would fail as well. `is_outage`: the server is at fault, not this mail.
    """

    def __init__(self, reason: str, *, is_permanent: bool = False, is_outage: bool = False) -> None:
        self.reason, self.is_permanent, self.is_outage = reason, is_permanent, is_outage
        super().__init__(reason)


def head_start_of(kind: str) -> timedelta:
    """Return how far ahead of the others a mail of this kind is queued."""
    return HEAD_START if kind in URGENT else timedelta(0)


def wait_after(attempts: int) -> timedelta:
    """Return the wait after that many failed attempts: it doubles from 15 seconds to an hour."""
    return min(_FIRST_WAIT * (1 << min(attempts - 1, 20)), _LONGEST_WAIT)
