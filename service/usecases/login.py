"""Logging in."""

from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from uuid import UUID

import structlog

from service.db.core.database import Database
from service.db.core.error_classes import describe
from service.db.core.transaction import Transaction
from service.db.reads import Reads
from service.db.repositories.devices import Device
from service.db.repositories.events import EventRepository
from service.db.repositories.login import Credential, LoginRepository
from service.db.repositories.sessions import NewSession, SessionRepository
from service.db.repositories.users import UserRepository
from service.domain.callers import ANONYMOUS
from service.domain.errors import InvalidCredentials, LoginThrottled
from service.domain.events import Action, AuditContext
from service.domain.passwords import TypedPassword
from service.domain.sessions import Session
from service.domain.users import User, UserState, canonical_login_id
from service.security.hashing.hasher import HashingPermit, PasswordHasher
from service.security.ids import new_id
from service.security.tokens import DEVICE_PREFIX, SESSION_PREFIX, digest_of, new_token
from service.usecases.notices import notify_of_device
from service.usecases.policies import Policies
from service.usecases.throttle import (
    Bucket,
    bucket_for_unknown_device,
    bucket_of_device,
    bucket_of_network,
    count_failure,
    refund_unverified,
    reserve_attempt,
    throttled,
)

_NO_SUCH_LOGIN_ID = ""
"""Looked up instead of an invalid login id: finds nothing, costs the same."""
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class LoginRequest:
    """A login as it was sent."""

    login_id: str
    password: str
    device_token: str | None = None
    replaced_digest: bytes | None = None
    """The digest of the session token that came with the request; that session ends if it is the user's."""


@dataclass(frozen=True, slots=True)
class LoggedIn:
    """A new session with its tokens, which cannot be read again."""

    token: str
    session: Session
    user: User
    device_token: str


async def log_in(
    database: Database,
    reads: Reads,
    request: LoginRequest,
    *,
    hasher: PasswordHasher,
    context: AuditContext,
    policies: Policies,
) -> LoggedIn:
    """Open a session, or fail in the same way for every reason. Source: OWASP ASVS 5.0 6.3.8.

    A first transaction counts the attempt, the password is verified outside any transaction, and a second one
    opens the session if the user is still what was read before the first.

    Raises:
        InvalidCredentials: unknown, disabled, without a password, or the password is wrong.
        LoginThrottled: too many failures before; the result of the verification is withheld.
        HashingBusy: too many passwords wait to be hashed; nothing was counted.
    """
    async with hasher.acquire(context.network) as permit:
        attempt = await _reserve(database, reads, request, context=context, policies=policies)
        typed = TypedPassword.of(request.password)
        for _ in range(2):  # a concurrent login may have replaced the hash
            async with refund_unverified(database, attempt.bucket):
                is_right = await permit.verify(attempt.password_hash, *typed)
            if typed.password is None or not is_right:
                break
            result = await database.run(
                partial(_open_session, attempt=attempt, policies=policies), caller=ANONYMOUS
            )
            if isinstance(result, LoginThrottled):
                raise result
            if result is not None:
                await _rehash(database, attempt, typed.password, hasher=hasher, permit=permit)
                return result
            attempt = replace(attempt, credential=(await _find(reads, request, context, policies))[0])
        error = await database.run(
            partial(_record_failure, attempt=attempt, policies=policies), caller=ANONYMOUS
        )
        raise error or InvalidCredentials


@dataclass(frozen=True, slots=True)
class _Attempt:
    """A reserved attempt and the credential that it is verified against."""

    request: LoginRequest
    bucket: Bucket
    credential: Credential | None
    context: AuditContext

    @property
    def user_id(self) -> UUID | None:
        return self.credential.user.id if self.credential is not None else None

    @property
    def password_hash(self) -> str | None:
        """The hash, or None, which no password matches, for a disabled user too."""
        if self.credential is None or self.credential.user.state is UserState.DISABLED:
            return None
        return self.credential.password_hash


async def _find(
    reads: Reads, request: LoginRequest, context: AuditContext, policies: Policies
) -> tuple[Credential | None, timedelta | None]:
    return await reads.login.find(
        canonical_login_id(request.login_id, policies.login_ids) or _NO_SUCH_LOGIN_ID,
        device_digest=digest_of(request.device_token or "", DEVICE_PREFIX),
        network=context.network,
        policy=policies.throttle,
        temporary_ttl=policies.temporary_password_ttl,
    )


async def _reserve(
    database: Database, reads: Reads, request: LoginRequest, *, context: AuditContext, policies: Policies
) -> _Attempt:
    credential, wait = await _find(reads, request, context, policies)
    bucket = _bucket_of(request, credential, context, policies)
    if wait is not None and bucket.network_limited:
        raise throttled(wait, bucket, context)
    await database.run(
        lambda tx: reserve_attempt(tx, bucket, context=context, policies=policies), caller=ANONYMOUS
    )
    return _Attempt(request, bucket, credential, context)


def _bucket_of(
    request: LoginRequest, credential: Credential | None, context: AuditContext, policies: Policies
) -> Bucket:
    """Return the bucket of an attempt: known devices and networks of the user have their own.

    Source: OWASP ASVS 5.0 6.1.1 (strangers do not lock the owner out).
    """
    if credential is None:
        canonical = canonical_login_id(request.login_id, policies.login_ids)
        return bucket_for_unknown_device(canonical or request.login_id, None)
    user = credential.user
    if credential.device_id is not None:
        return bucket_of_device(credential.device_id, user.id)
    if credential.network_is_known:
        return bucket_of_network(context.network, user.id)
    return bucket_for_unknown_device(user.login_id, user.id)


async def _open_session(
    tx: Transaction, *, attempt: _Attempt, policies: Policies
) -> LoggedIn | LoginThrottled | None:
    """Open the session; return None if the user is no longer what was read.

    Locks: the user, then its sessions.
    """
    credential, bucket, context = attempt.credential, attempt.bucket, attempt.context
    if credential is None or credential.password_hash is None:
        return None
    user = await LoginRepository(tx).record(
        credential.user.id,
        verified_hash=credential.password_hash,
        network=context.network if bucket.network_limited else None,
        policy=policies.throttle,
    )
    if user is None:
        return None
    if isinstance(user, timedelta):
        error = await _record_failure(tx, attempt=attempt, policies=policies)
        return error or throttled(user, bucket, context)
    return await _insert_session(tx, user, credential, attempt=attempt, policies=policies)


async def _insert_session(
    tx: Transaction, user: User, credential: Credential, *, attempt: _Attempt, policies: Policies
) -> LoggedIn:
    token, session_id, context = new_token(SESSION_PREFIX), new_id(), attempt.context
    lifetime = policies.sessions.lifetime_of(user.role)
    device_token, device = _device_of(attempt.request, credential, context)
    await end_replaced_session(tx, user, attempt.request.replaced_digest, context)
    session = await LoginRepository(tx).begin_session(
        NewSession(session_id, user.id, token.digest, lifetime, context.user_agent, context.ip, device.id),
        device,
        kept_count=policies.sessions.per_user,
        bucket=attempt.bucket.digest,
        event=EventRepository(tx).record(context, Action.LOGIN_SUCCEEDED, user.id, session_id=session_id),
    )
    if device.token_digest is not None and policies.new_device_is_told:
        await notify_of_device(tx, user, previous_login_at=credential.user.last_login_at, context=context)
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


def _device_of(request: LoginRequest, credential: Credential, context: AuditContext) -> tuple[str, Device]:
    """Return the known device with its token, or a new one."""
    if credential.device_id is not None and request.device_token is not None:
        return request.device_token, Device(credential.device_id, context.network)
    token = new_token(DEVICE_PREFIX)
    return token.value, Device(new_id(), context.network, token.digest)


async def _record_failure(tx: Transaction, *, attempt: _Attempt, policies: Policies) -> LoginThrottled | None:
    """Record the event and count the failure of the network; the bucket has counted it before."""
    await EventRepository(tx).add(attempt.context, Action.LOGIN_FAILED, attempt.user_id)
    return await count_failure(tx, attempt.bucket, context=attempt.context, policies=policies)


async def _rehash(
    database: Database, attempt: _Attempt, password: str, *, hasher: PasswordHasher, permit: HashingPermit
) -> None:
    """Replace a hash of other parameters unless it was replaced since. A failure is only logged.

    Source: NIST SP 800-63B-4 3.1.1.2 (the cost rises over time).
    """
    user_id, old_hash = attempt.user_id, attempt.password_hash
    if user_id is None or old_hash is None or not hasher.needs_rehash(old_hash):
        return
    try:
        new_hash = await permit.hash(password)
        await database.run(
            lambda tx: UserRepository(tx).rehash(user_id, verified_hash=old_hash, new_hash=new_hash),
            caller=ANONYMOUS,
        )
    except Exception as error:  # noqa: BLE001 - the login has succeeded
        _log.warning("rehash_failed", user_id=str(user_id), **describe(error))
