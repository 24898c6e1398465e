"""Logging in and out."""

from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from uuid import UUID

from service.db.core.unit_of_work import UnitOfWork
from service.db.reads import Reads
from service.db.repositories.login import Credential
from service.db.repositories.sessions import Device, NewSession
from service.db.transaction import Tx
from service.domain.callers import Caller
from service.domain.errors import InvalidCredentials, LoginThrottled, NotFound
from service.domain.events import Action, AuditContext
from service.domain.ids import new_id
from service.domain.passwords import normalize_for_login
from service.domain.sessions import Session
from service.domain.users import State, User, canonical_login_id
from service.jobs.periodic import run_and_log
from service.security.hashing.hasher import PasswordHasher
from service.security.tokens import DEVICE_PREFIX, SESSION_PREFIX, digest_of, new_token
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

_NOBODY = ""
"""Asked for in place of what cannot be a login id: no account has it, and the work is the same."""


@dataclass(frozen=True, slots=True)
class LoginRequest:
    """What somebody sent to log in."""

    login_id: str
    password: str
    device_token: str | None = None


@dataclass(frozen=True, slots=True)
class LoggedIn:
    """A new session; its tokens are told here and never again."""

    token: str
    session: Session
    user: User
    device_token: str


async def log_in(
    uow: UnitOfWork,
    reads: Reads,
    wanted: LoginRequest,
    *,
    hasher: PasswordHasher,
    context: AuditContext,
    policies: Policies,
) -> LoggedIn:
    """Open a session, or refuse in one way whatever the reason. Source: OWASP ASVS 5.0 6.3.8.

    When its turn has come, the attempt is counted in a first transaction and the password verified outside of
    any; a second one opens the session if the account still is what was read before the first.

    Raises:
        InvalidCredentials: unknown, disabled, without a password, or the password is wrong.
        LoginThrottled: too many failures before; whether the password is right is not told.
        HashingBusy: too many passwords wait to be hashed; nothing was counted.
    """
    async with hasher.turn(context.network):
        credential, wait = await _find(reads, wanted, context, policies)
        login = _Login(wanted, _bucket_of(wanted, credential, context, policies), credential, context)
        if wait is not None and login.bucket.network_limited:
            raise throttled(wait, login.bucket, context)
        refusal = await uow.run(
            lambda tx: reserve_attempt(tx, login.bucket, context=context, policies=policies)
        )
        if refusal is not None:
            raise refusal
        password = normalize_for_login(wanted.password)
        for _ in range(2):  # twice, as a log-in beside this one may have renewed the hash
            async with refund_unverified(uow, login.bucket):
                is_right = await hasher.verify(login.password_hash, password)
            if password is None or not is_right:
                break
            outcome = await uow.run(partial(_open, login=login, policies=policies))
            if isinstance(outcome, LoggedIn):
                await run_and_log("rehash", partial(_renew, uow, login, password, hasher))
                return outcome
            if isinstance(outcome, LoginThrottled):
                raise outcome
            login = replace(login, credential=(await _find(reads, wanted, context, policies))[0])
        raise await uow.run(partial(_fail, login=login, policies=policies)) or InvalidCredentials()


async def log_out(tx: Tx, session: Session, *, context: AuditContext) -> None:
    """End the session that asks for it."""
    if await tx.sessions.end(session.id):
        await tx.events.add(context, Action.SESSION_ENDED, session.user_id, session_id=session.id)


async def end_session(tx: Tx, session_id: UUID, *, context: AuditContext) -> None:
    """End one session, of the caller or, for an administrator, of anybody.

    Raises:
        NotFound: there is none, or it is another's.
    """
    session = await tx.sessions.get(session_id)
    if session is None or not _may_end(context.caller, session) or not await tx.sessions.end(session_id):
        raise NotFound
    await tx.events.add(context, Action.SESSION_ENDED, session.user_id, session_id=session.id)


async def end_sessions(tx: Tx, user_id: UUID, *, kept_id: UUID | None, context: AuditContext) -> None:
    """End every session of an account, but for one to be kept.

    Locks: the account, then its sessions.

    Raises:
        NotFound: there is no such account.
    """
    if await tx.users.get_for_update(user_id) is None:
        raise NotFound
    await tx.sessions.end_all(user_id, kept_id=kept_id)
    await tx.events.add(context, Action.SESSIONS_ENDED, user_id)


def _may_end(caller: Caller, session: Session) -> bool:
    return caller.is_admin or caller.user_id == session.user_id


@dataclass(frozen=True, slots=True)
class _Login:
    """A log-in that was let through, with what its password is verified against."""

    wanted: LoginRequest
    bucket: Bucket
    credential: Credential | None
    context: AuditContext

    @property
    def user_id(self) -> UUID | None:
        return self.credential.user.id if self.credential is not None else None

    @property
    def password_hash(self) -> str | None:
        """None for a disabled account too, whose password is never found right."""
        if self.credential is None or self.credential.user.state is State.DISABLED:
            return None
        return self.credential.password_hash


async def _find(
    reads: Reads, wanted: LoginRequest, context: AuditContext, policies: Policies
) -> tuple[Credential | None, timedelta | None]:
    return await reads.logins.find(
        canonical_login_id(wanted.login_id, policies.login_ids) or _NOBODY,
        device_digest=digest_of(wanted.device_token or "", DEVICE_PREFIX),
        network=context.network,
        policy=policies.throttle,
    )


def _bucket_of(
    wanted: LoginRequest, credential: Credential | None, context: AuditContext, policies: Policies
) -> Bucket:
    """Count an attempt on a known device or network of the owner apart from strangers'.

    Source: OWASP ASVS 5.0 6.1.1 (strangers do not lock the owner out).
    """
    if credential is None:
        canonical = canonical_login_id(wanted.login_id, policies.login_ids)
        return bucket_for_unknown_device(canonical or wanted.login_id, None)
    user = credential.user
    if credential.device_id is not None:
        return bucket_of_device(credential.device_id, user.id)
    if credential.network_is_known:
        return bucket_of_network(context.network, user.id)
    return bucket_for_unknown_device(user.login_id, user.id)


async def _open(tx: Tx, *, login: _Login, policies: Policies) -> LoggedIn | LoginThrottled | None:
    """Open the session; None when the account is no longer what was read of it.

    Locks: the account, then its sessions.
    """
    credential, bucket, context = login.credential, login.bucket, login.context
    if credential is None or credential.password_hash is None:
        return None
    user = await tx.logins.record(
        credential.user.id,
        verified_hash=credential.password_hash,
        network=context.network if bucket.network_limited else None,
        policy=policies.throttle,
    )
    if isinstance(user, timedelta):
        return await _fail(tx, login=login, policies=policies) or throttled(user, bucket, context)
    return await _begin(tx, user, credential, login=login, policies=policies) if user is not None else None


async def _begin(
    tx: Tx, user: User, credential: Credential, *, login: _Login, policies: Policies
) -> LoggedIn:
    """Open the session on a locked account; all that goes with it is one statement."""
    token, session_id, context = new_token(SESSION_PREFIX), new_id(), login.context
    lifetime = policies.sessions.lifetime_of(user.role)
    device_token, device = _device_of(login.wanted, credential, context)
    session = await tx.logins.begin(
        NewSession(session_id, user.id, token.digest, lifetime, context.user_agent, context.ip),
        device,
        kept_count=policies.sessions.per_user,
        bucket=login.bucket.digest,
        event=tx.events.audit_values(context, Action.LOGIN_SUCCEEDED, user.id, session_id=session_id),
    )
    return LoggedIn(token.value, session, user, device_token)


def _device_of(wanted: LoginRequest, credential: Credential, context: AuditContext) -> tuple[str, Device]:
    """Give the known device with the token it came with, or a new one."""
    if credential.device_id is not None and wanted.device_token is not None:
        return wanted.device_token, Device(credential.device_id, context.network)
    token = new_token(DEVICE_PREFIX)
    return token.value, Device(new_id(), context.network, token.digest)


async def _fail(tx: Tx, *, login: _Login, policies: Policies) -> LoginThrottled | None:
    """Count the failure of the network and tell of it; the account's was counted before."""
    await tx.events.add(login.context, Action.LOGIN_FAILED, login.user_id)
    return await count_failure(tx, login.bucket, context=login.context, policies=policies)


async def _renew(uow: UnitOfWork, login: _Login, password: str, hasher: PasswordHasher) -> None:
    """Replace a hash of other parameters, unless it was replaced meanwhile; the log-in stands either way.

    Source: NIST SP 800-63B-4 3.1.1.2 (the cost rises over time).
    """
    user_id, old_hash = login.user_id, login.password_hash
    if user_id is None or old_hash is None or not hasher.needs_rehash(old_hash):
        return
    new_hash = await hasher.hash(password)
    await uow.run(lambda tx: tx.users.renew_hash(user_id, verified_hash=old_hash, new_hash=new_hash))
