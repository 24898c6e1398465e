"""Opening the session of a user who has proved who they are: the last step of every way to log in."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from service.db.core.database import Database
from service.db.core.transaction import Transaction
from service.db.reads import Reads
from service.db.repositories.devices import LoginDevice
from service.db.repositories.events import EventRepository
from service.db.repositories.login import LoginRepository
from service.db.repositories.sessions import NewSession, SessionRepository
from service.domain.events import Action, AuditContext
from service.domain.sessions import Session
from service.domain.users import User
from service.security.hashing.hasher import PasswordHasher
from service.security.ids import new_id
from service.security.tokens import DEVICE_PREFIX, SESSION_PREFIX, digest_of, new_token
from service.usecases.attempt_turns import AttemptTurns
from service.usecases.factor_proofs import FactorVerifier
from service.usecases.last_used import LastUsedTracker
from service.usecases.notices import notify_of_device
from service.usecases.policies import Policies
from service.usecases.throttle import Bucket, bucket_of_device


@dataclass(frozen=True, slots=True)
class LoginParts:
    """The parts of the process that logins use."""

    database: Database
    reads: Reads
    hasher: PasswordHasher
    turns: AttemptTurns
    last_used: LastUsedTracker
    policies: Policies
    factors: FactorVerifier


@dataclass(frozen=True, slots=True)
class Client:
    """What every login comes with, whatever is proved by it."""

    context: AuditContext
    device_token: str | None = None
    replaced_digest: bytes | None = None
    """The digest of the session token that came with the request; that session ends if it is the user's."""

    @property
    def device_digest(self) -> bytes | None:
        """The digest of the device token, if it can be one."""
        return digest_of(self.device_token or "", DEVICE_PREFIX)


@dataclass(frozen=True, slots=True)
class ProvenUser:
    """A locked user who has proved who they are, and how."""

    user: User
    amr: Sequence[str]
    device_id: UUID | None
    """The device of the client, if the user has logged in from it before."""
    bucket: Bucket | None = None
    """Where the attempt was counted; None: nowhere."""
    previous_login_at: datetime | None = None
    """None: the owner is not notified of a new device."""


@dataclass(frozen=True, slots=True)
class LoggedIn:
    """A new session with its tokens, which cannot be read again."""

    token: str
    session: Session
    user: User
    device_token: str


async def open_session(tx: Transaction, proven: ProvenUser, client: Client, parts: LoginParts) -> LoggedIn:
    """Insert the session, remember the device, and end the attempt: it was no failure."""
    token, session_id, context = new_token(SESSION_PREFIX), new_id(), client.context
    user, policy = proven.user, parts.policies.sessions
    lifetime, ip = policy.lifetime_of(user.role), context.ip
    device_token, device = _device_of(proven, client)
    bucket = proven.bucket or bucket_of_device(parts.policies.digests, device.id, user.id)
    await end_replaced_session(tx, user, client.replaced_digest, context)
    session = await LoginRepository(tx).begin_session(
        NewSession(
            session_id, user.id, token.digest, lifetime, context.user_agent, ip, device.id, proven.amr
        ),
        device,
        kept_count=policy.per_user,
        used_ids=parts.last_used.recorded_sessions_of(user.id),
        bucket=bucket.digest,
        clears_bucket=not bucket.is_unrecognised,
        event=EventRepository(tx).record(context, Action.LOGIN_SUCCEEDED, user.id, session_id=session_id),
    )
    if device.token_digest is not None and parts.policies.new_device_is_told:
        await notify_of_device(
            tx, user, previous_login_at=proven.previous_login_at, context=context, policies=parts.policies
        )
    return LoggedIn(token.value, session, user, device_token)


async def end_replaced_session(
    tx: Transaction, user: User, digest: bytes | None, context: AuditContext
) -> None:
    """End the session from which the user logs in again. Source: OWASP ASVS 5.0 7.2.4."""
    if digest is None:
        return
    ended_id = await SessionRepository(tx).end_by_token(digest, user_id=user.id)
    if ended_id is not None:
        await EventRepository(tx).add(context, Action.SESSION_ENDED, user.id, session_id=ended_id)


def _device_of(proven: ProvenUser, client: Client) -> tuple[str, LoginDevice]:
    """Return the known device with its token, or a new one."""
    network = client.context.network
    if proven.device_id is not None and client.device_token is not None:
        return client.device_token, LoginDevice(proven.device_id, network)
    token = new_token(DEVICE_PREFIX)
    return token.value, LoginDevice(new_id(), network, token.digest)
