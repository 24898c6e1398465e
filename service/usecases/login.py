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
from service.db.repositories.login import Credential, LoginRepository
from service.db.repositories.users import UserRepository
from service.domain.callers import ANONYMOUS
from service.domain.emails import canonical_email
from service.domain.errors import InvalidCredentials, LoginThrottled, SecondFactorRequired
from service.domain.events import AuditContext
from service.domain.factors import BY_PASSWORD, LoginChallenge
from service.domain.passwords import TypedPassword
from service.domain.users import UserState, canonical_login_id
from service.security.hashing.hasher import HashingPermit, PasswordHasher
from service.usecases.attempts import bucket_of, record_failure
from service.usecases.open_session import Client, LoggedIn, LoginParts, ProvenUser, open_session
from service.usecases.policies import Policies
from service.usecases.second_factor import require_second_factor
from service.usecases.throttle import (
    Bucket,
    bucket_for_impossible_login_id,
    bucket_for_unknown_device,
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
    email: str | None = None
    """The address that came in place of a login id."""


async def log_in(parts: LoginParts, request: LoginRequest, client: Client) -> LoggedIn:
    """Open a session, or fail in the same way for every reason. Source: OWASP ASVS 5.0 6.3.8.

    A first transaction counts the attempt, the password is verified outside any transaction, and a second one
    opens the session if the user is still what was read before the first.

    Raises:
        SecondFactorRequired: the password is right, and the user has a second factor.
        InvalidCredentials: unknown, disabled, without a password, or the password is wrong.
        LoginThrottled: too many failures before; the result of the verification is withheld.
        HashingBusy: too many passwords wait to be hashed; nothing was counted.
    """
    database = parts.database
    async with _admitted(parts, request, client) as (permit, attempt):
        typed = TypedPassword.of(request.password)
        for _ in range(2):  # a concurrent login may have replaced the hash
            async with refund_unverified(database, attempt.bucket):
                is_right = await permit.verify(attempt.password_hash, *typed)
            if typed.password is None or not is_right:
                break
            result = await database.run(partial(_complete, attempt=attempt, parts=parts), caller=ANONYMOUS)
            if isinstance(result, LoginThrottled):
                raise result
            if result is not None:
                await _rehash(database, attempt, typed.password, hasher=parts.hasher, permit=permit)
                return _session_of(result)
            attempt = replace(attempt, credential=(await _find(parts, attempt.login_id, client))[0])
        error = await database.run(partial(_fail, attempt=attempt, policies=parts.policies), caller=ANONYMOUS)
        raise error or InvalidCredentials


def _session_of(result: LoggedIn | LoginChallenge) -> LoggedIn:
    if isinstance(result, LoginChallenge):
        raise SecondFactorRequired(result)
    return result


@asynccontextmanager
async def _admitted(
    parts: LoginParts, request: LoginRequest, client: Client
) -> AsyncIterator[tuple[HashingPermit, "_Attempt"]]:
    """Hold a permit for a reserved attempt; wait for attempts in progress if they leave no room.

    The wait is without a permit, or logins of one account would keep others from hashing.
    """
    flow = client.context.flow
    async with parts.hasher.acquire(*flow) as permit:
        attempt = await _attempt_of(parts, request, client)
        bucket = attempt.bucket.digest
        if not parts.turns.has_waiters(bucket) and await _is_reserved(parts, attempt):
            yield permit, attempt
            return
    async with parts.turns.wait(bucket) as turn:
        while True:
            async with parts.hasher.acquire(*flow) as permit:
                if await _is_reserved(parts, attempt):
                    turn.end()
                    yield permit, attempt
                    return
            await turn.pause()


@dataclass(frozen=True, slots=True)
class _Attempt:
    """An attempt and the credential that it is verified against."""

    client: Client
    login_id: str
    bucket: Bucket
    credential: Credential | None

    @property
    def user_id(self) -> UUID | None:
        return self.credential.user.id if self.credential is not None else None

    @property
    def password_hash(self) -> str | None:
        """The hash, or None, which no password matches, for a disabled user too."""
        if self.credential is None or self.credential.user.state is UserState.DISABLED:
            return None
        return self.credential.password_hash


async def _login_id_of(parts: LoginParts, request: LoginRequest) -> tuple[str, str | None]:
    """Return the login id that was sent, or that of the user who has verified the address.

    Without such a user, return an empty login id and the canonical address.
    """
    if request.email is None:
        return request.login_id, None
    email = canonical_email(request.email)
    user = await parts.reads.emails.get_by_verified(email or "")
    return (user.login_id, None) if user is not None else (_NO_SUCH_LOGIN_ID, email)


async def _find(
    parts: LoginParts, login_id: str, client: Client
) -> tuple[Credential | None, timedelta | None]:
    policies = parts.policies
    return await parts.reads.login.find(
        canonical_login_id(login_id, policies.login_ids) or _NO_SUCH_LOGIN_ID,
        device_digest=client.device_digest,
        networks=client.context.networks,
        policy=policies.throttle,
        temporary_ttl=policies.temporary_password_ttl,
    )


async def _attempt_of(parts: LoginParts, request: LoginRequest, client: Client) -> _Attempt:
    """Return the attempt that a request makes, which is not reserved yet.

    Raises:
        LoginThrottled: a network of the client is at its limit.
    """
    login_id, unverified_email = await _login_id_of(parts, request)
    credential, wait = await _find(parts, login_id, client)
    context, policies = client.context, parts.policies
    if credential is not None:
        bucket = bucket_of(policies.digests, credential.user, credential.recognition, context)
    else:
        bucket = _bucket_without_user(login_id, unverified_email, context, policies)
    if wait is not None and bucket.network_limited:
        raise throttled(wait, bucket, context)
    return _Attempt(client, login_id, bucket, credential)


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
    raise throttled(refusal.wait, attempt.bucket, attempt.client.context)


def _bucket_without_user(
    login_id: str, unverified_email: str | None, context: AuditContext, policies: Policies
) -> Bucket:
    """Return the bucket of attempts at a login id without a user, or at an address that nobody has."""
    digests, canonical = policies.digests, canonical_login_id(login_id, policies.login_ids)
    if canonical is None and unverified_email is not None:
        canonical = f"address {unverified_email}"  # counted as one that has a user
    if canonical is None:
        return bucket_for_impossible_login_id(digests, context.network)
    return bucket_for_unknown_device(digests, canonical, None)


async def _complete(
    tx: Transaction, *, attempt: _Attempt, parts: LoginParts
) -> LoggedIn | LoginChallenge | LoginThrottled | None:
    """Open the session, or ask for a second factor; return None if the user is no longer what was read.

    Locks: the user, then its sessions.
    """
    credential, bucket, client = attempt.credential, attempt.bucket, attempt.client
    policies = parts.policies
    if credential is None or credential.password_hash is None:
        return None
    user = await LoginRepository(tx).record(
        credential.user.id,
        verified_hash=credential.password_hash,
        networks=client.context.networks if bucket.network_limited else (),
        policy=policies.throttle,
    )
    if user is None:
        return None
    if isinstance(user, timedelta):
        error = await _fail(tx, attempt=attempt, policies=policies)
        return error or throttled(user, bucket, client.context)
    if user.factors:
        return await require_second_factor(tx, user, BY_PASSWORD, client, parts, bucket=bucket)
    previous_login_at = credential.user.last_login_at
    proven = ProvenUser(user, BY_PASSWORD, credential.recognition.device_id, bucket, previous_login_at)
    return await open_session(tx, proven, client, parts)


async def _fail(tx: Transaction, *, attempt: _Attempt, policies: Policies) -> LoginThrottled | None:
    context = attempt.client.context
    return await record_failure(tx, attempt.user_id, attempt.bucket, context=context, policies=policies)


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
