"""The audit trail: actor, action and subject, as ids only."""

from datetime import datetime
from enum import StrEnum
from typing import NamedTuple
from uuid import UUID

from service.domain.callers import Caller
from service.domain.networks import LOCAL, Networks


class Action(StrEnum):
    """The audited actions. Source: OWASP ASVS 5.0 16.3.1, 16.3.2."""

    USER_CREATED = "user.created"
    USER_UPDATED = "user.updated"
    USER_ENABLED = "user.enabled"
    USER_DISABLED = "user.disabled"
    USER_ROLE_CHANGED = "user.role_changed"
    USER_DELETED = "user.deleted"
    EMAIL_CHANGED = "email.changed"
    EMAIL_VERIFIED = "email.verified"
    USERS_EXPORTED = "users.exported"
    LOGIN_SUCCEEDED = "login.succeeded"
    LOGIN_FAILED = "login.failed"
    LOGIN_CHALLENGED = "login.challenged"
    FACTOR_REJECTED = "factor.rejected"
    RECOVERY_CODE_USED = "recovery_code.used"
    PASSKEY_COUNTER_REGRESSED = "passkey.counter_regressed"
    SESSION_STEPPED_UP = "session.stepped_up"
    SESSION_ENDED = "session.ended"
    SESSIONS_ENDED = "sessions.ended"
    PASSWORD_CHANGED = "password.changed"
    PASSWORD_REJECTED = "password.rejected"
    PASSWORD_SET = "password.set"
    PASSWORD_RESET = "password.reset"
    RESET_TOKEN_CREATED = "reset_token.created"
    TOTP_ENROLLED = "totp.enrolled"
    TOTP_REMOVED = "totp.removed"
    PASSKEY_ADDED = "passkey.added"
    PASSKEY_RENAMED = "passkey.renamed"
    PASSKEY_REMOVED = "passkey.removed"
    RECOVERY_CODES_CREATED = "recovery_codes.created"
    FACTORS_REMOVED = "factors.removed"
    DEVICE_FORGOTTEN = "device.forgotten"
    KEY_CREATED = "key.created"
    KEY_REVOKED = "key.revoked"
    SIGNING_KEY_ROTATED = "signing_key.rotated"


class Event(NamedTuple):
    """An entry of the audit trail: ids only, no names and no login ids.

    Kind and action are as they are stored: a newer release may have recorded others than this one knows.
    """

    id: UUID
    at: datetime
    actor_id: UUID | None
    actor_kind: str
    action: str
    subject_id: UUID | None
    ip: str | None
    request_id: str | None


class AuditContext(NamedTuple):
    """The origin of a change: the caller, its address and networks, and the request."""

    caller: Caller
    ip: str | None = None
    networks: Networks = LOCAL
    request_id: str | None = None
    user_agent: str | None = None

    @property
    def network(self) -> str:
        """The narrowest network of the caller."""
        return self.networks[0].name

    @property
    def flow(self) -> tuple[str, str]:
        """The widest and the narrowest network: where the caller belongs in the hashing queue."""
        return self.networks[-1].name, self.networks[0].name
