"""Logging in."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
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
from service.usecases.attempt_turns import AttemptTurns
from service.usecases.last_used import LastUsedTracker
from service.usecases.notices import notify_of_device
from service.usecases.policies import Policies
from service.usecases.throttle import (
    Bucket,
    bucket_for_impossible_login_id,
    bucket_for_unknown_device,
    bucket_of_device,
    bucket_of_network,
    count_failure,
    refund_unverified,
    throttled,
    try_reserve,
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
    unverified_email: str | None = None
    """The canonical address that came in place of a login id, if no user has verified it."""


@dataclass(frozen=True, slots=True)
class LoggedIn:
    """A new session with its tokens, which cannot be read again."""

    token: str
    session: Session
    user: User
    device_token: str


@dataclass(frozen=True, slots=True)
class LoginParts:
    """The parts of the process that logins use."""

    database: Database
    reads: Reads
    hasher: PasswordHasher
    turns: AttemptTurns
    last_used: LastUsedTracker
    policies: Policies


async def log_in(parts: LoginParts, request: LoginRequest, *, context: AuditContext) -> LoggedIn:
    """Open a session, or fail in the same way for every reason. Source: OWASP ASVS 5.0 6.3.8.

    A first transaction counts the attempt, the password is verified outside any transaction, and a second one
    opens the session if the user is still what was read before the first.

    Raises:
        InvalidCredentials: unknown, disabled, without a password, or the password is wrong.
        LoginThrottled: too many failures before; the result of the verification is withheld.
        HashingBusy: too many passwords wait to be hashed; nothing was counted.
    """
    database = parts.database
    async with _admitted(parts, request, context) as (permit, attempt):
        typed = TypedPassword.of(request.password)
        for _ in range(2):  # a concurrent login may have replaced the hash
            async with refund_unverified(database, attempt.bucket):
                is_right = await permit.verify(attempt.password_hash, *typed)
            if typed.password is None or not is_right:
                break
            result = await database.run(
                partial(_open_session, attempt=attempt, parts=parts), caller=ANONYMOUS
            )
            if isinstance(result, LoginThrottled):
                raise result
            if result is not None:
                await _rehash(database, attempt, typed.password, hasher=parts.hasher, permit=permit)
                return result
            attempt = replace(attempt, credential=(await _find(parts, request, context))[0])
        error = await database.run(
            partial(_record_failure, attempt=attempt, policies=parts.policies), caller=ANONYMOUS
        )
        raise error or InvalidCredentials


@asynccontextmanager
async def _admitted(
    parts: LoginParts, request: LoginRequest, context: AuditContext
) -> AsyncIterator[tuple[HashingPermit, "_Attempt"]]:
    """Hold a permit for a reserved attempt; wait for attempts in progress if they leave no room.

    Nobody waits for them with a permit, or logins of one account would keep others from hashing.
    """
    async with parts.hasher.acquire(*context.flow) as permit:
        attempt = await _attempt_of(parts, request, context)
        bucket = attempt.bucket.digest
        if not parts.turns.has_waiters(bucket) and await _is_reserved(parts, attempt):
            yield permit, attempt
            return
    async with parts.turns.wait(bucket) as turn:
        while True:
            async with parts.hasher.acquire(*context.flow) as permit:
                if await _is_reserved(parts, attempt):
                    turn.end()
                    yield permit, attempt
                    return
            await turn.pause()


@dataclass(frozen=True, slots=True)
class _Attempt:
    """An attempt and the credential that it is verified against."""

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
    parts: LoginParts, request: LoginRequest, context: AuditContext
) -> tuple[Credential | None, timedelta | None]:
    policies = parts.policies
    return await parts.reads.login.find(
        canonical_login_id(request.login_id, policies.login_ids) or _NO_SUCH_LOGIN_ID,
        device_digest=digest_of(request.device_token or "", DEVICE_PREFIX),
        networks=context.networks,
        policy=policies.throttle,
        temporary_ttl=policies.temporary_password_ttl,
    )


async def _attempt_of(parts: LoginParts, request: LoginRequest, context: AuditContext) -> _Attempt:
    """Return the attempt that a request makes, which is not reserved yet.

    Raises:
        LoginThrottled: a network of the client is at its limit.
    """
    credential, wait = await _find(parts, request, context)
    bucket = _bucket_of(request, credential, context, parts.policies)
    if wait is not None and bucket.network_limited:
        raise throttled(wait, bucket, context)
    return _Attempt(request, bucket, credential, context)


async def _is_reserved(parts: LoginParts, attempt: _Attempt) -> bool:
    """Reserve the attempt, or return False if attempts that are being verified leave no room for it.

    Raises:
        LoginThrottled: failures leave no room.
    """
    refusal = await parts.database.run(
        lambda tx: try_reserve(tx, attempt.bucket, policies=parts.policies), caller=ANONYMOUS
    )
    if refusal is None or refusal.has_attempts:
        return refusal is None
    raise throttled(refusal.wait, attempt.bucket, attempt.context)


def _bucket_of(
    request: LoginRequest, credential: Credential | None, context: AuditContext, policies: Policies
) -> Bucket:
    """Return the bucket of an attempt: known devices and networks of the user have their own.

    Source: OWASP ASVS 5.0 6.1.1 (strangers do not lock the owner out).
    """
    digests = policies.digests
    if credential is None:
        canonical = canonical_login_id(request.login_id, policies.login_ids)
        if canonical is None and request.unverified_email is not None:
            canonical = f"address {request.unverified_email}"  # counted as one that has a user
        if canonical is None:
            return bucket_for_impossible_login_id(digests, context.network)
        return bucket_for_unknown_device(digests, canonical, None)
    user = credential.user
    if credential.device_id is not None:
        return bucket_of_device(digests, credential.device_id, user.id)
    if credential.network_is_known:
        return bucket_of_network(digests, context.network, user.id)
    return bucket_for_unknown_device(digests, user.login_id, user.id)


async def _open_session(
    tx: Transaction, *, attempt: _Attempt, parts: LoginParts
) -> LoggedIn | LoginThrottled | None:
    """Open the session; return None if the user is no longer what was read.

    Locks: the user, then its sessions.
    """
    credential, bucket, context = attempt.credential, attempt.bucket, attempt.context
    policies = parts.policies
    if credential is None or credential.password_hash is None:
        return None
    user = await LoginRepository(tx).record(
        credential.user.id,
        verified_hash=credential.password_hash,
        networks=context.networks if bucket.network_limited else (),
        policy=policies.throttle,
    )
    if user is None:
        return None
    if isinstance(user, timedelta):
        error = await _record_failure(tx, attempt=attempt, policies=policies)
        return error or throttled(user, bucket, context)
    return await _insert_session(tx, user, credential, attempt=attempt, parts=parts)


async def _insert_session(
    tx: Transaction, user: User, credential: Credential, *, attempt: _Attempt, parts: LoginParts
) -> LoggedIn:
    token, session_id, context = new_token(SESSION_PREFIX), new_id(), attempt.context
    policy = parts.policies.sessions
    lifetime = policy.lifetime_of(user.role)
    device_token, device = _device_of(attempt.request, credential, context)
    await end_replaced_session(tx, user, attempt.request.replaced_digest, context)
    session = await LoginRepository(tx).begin_session(
        NewSession(session_id, user.id, token.digest, lifetime, context.user_agent, context.ip, device.id),
        device,
        kept_count=policy.per_user,
        used_ids=parts.last_used.recorded_sessions_of(user.id),
        bucket=attempt.bucket.digest,
        clears_bucket=not attempt.bucket.is_unrecognised,
        event=EventRepository(tx).record(context, Action.LOGIN_SUCCEEDED, user.id, session_id=session_id),
    )
    if device.token_digest is not None and parts.policies.new_device_is_told:
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
