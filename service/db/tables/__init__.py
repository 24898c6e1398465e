"""The declared schema, one file per resource. Importing this package fills `Base.metadata`."""

from service.db.tables.base import Base
from service.db.tables.devices import DeviceRow
from service.db.tables.events import EventRow
from service.db.tables.factors import (
    LoginChallengeRow,
    PasskeyChallengeRow,
    PasskeyRow,
    RecoveryCodeRow,
    TotpSecretRow,
)
from service.db.tables.idempotency import IdempotencyKeyRow
from service.db.tables.instances import InstanceRow
from service.db.tables.keys import ApiKeyRow
from service.db.tables.mail_requests import EmailVerificationRow, LoginCodeRow, MailCountRow, MailRequestRow
from service.db.tables.outbox import OutboxRow
from service.db.tables.reset_tokens import ResetTokenRow
from service.db.tables.sessions import SessionRow
from service.db.tables.signing_keys import SigningKeyRow
from service.db.tables.throttle import LoginBucketRow, NetworkBucketRow, ThrottleKeyRow
from service.db.tables.users import UserRow

__all__ = [
    "ApiKeyRow",
    "Base",
    "DeviceRow",
    "EmailVerificationRow",
    "EventRow",
    "IdempotencyKeyRow",
    "InstanceRow",
    "LoginBucketRow",
    "LoginChallengeRow",
    "LoginCodeRow",
    "MailCountRow",
    "MailRequestRow",
    "NetworkBucketRow",
    "OutboxRow",
    "PasskeyChallengeRow",
    "PasskeyRow",
    "RecoveryCodeRow",
    "ResetTokenRow",
    "SessionRow",
    "SigningKeyRow",
    "ThrottleKeyRow",
    "TotpSecretRow",
    "UserRow",
]
