"""Logging in and out."""

from dataclasses import dataclass
from functools import partial
from uuid import UUID

from service.db.repositories.sessions import NewSession
from service.db.repositories.users import Credential
from service.db.transaction import Tx
from service.db.unit_of_work import UnitOfWork
from service.domain.callers import Caller
from service.domain.errors import HashingBusy, InvalidCredentials, LoginThrottled, NotFound
from service.domain.events import Action, Origin
from service.domain.ids import new_id
from service.domain.passwords import normalize_for_login
from service.domain.sessions import Session
from service.domain.users import State, User, canonical_login_id
from service.security.hashing import PasswordHasher
from service.security.tokens import DEVICE_PREFIX, SESSION_PREFIX, digest_of, new_token
from service.usecases.rules import Rules
from service.usecases.throttle import Admitted, admit_attempt, bucket_of, give_back

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
    uow: UnitOfWork, wanted: LoginRequest, *, hasher: PasswordHasher, origin: Origin, rules: Rules
) -> LoggedIn:
    """Open a session, or refuse in one way whatever the reason. Source: OWASP ASVS 5.0 6.3.8.

    The attempt is counted in a first transaction and the password verified outside of any; a second one opens
    the session if the account still is what the first one read.

    Raises:
        InvalidCredentials: unknown, disabled, without a password, or the password is wrong.
        LoginThrottled: too many failures before; nothing was verified or counted.
        HashingBusy: too many passwords wait to be hashed; nothing was counted.
    """
    admitted, credential = await uow.run(lambda tx: _admit(tx, wanted, origin, rules))
    if isinstance(admitted, LoginThrottled):
        raise admitted
    password = normalize_for_login(wanted.password)
    for _ in range(2):  # twice, as a log-in beside this one may have renewed the hash
        async with give_back(uow, admitted.bucket):
            is_right = await hasher.verify(_hash_of(credential), password, caller=origin.network)
        if credential is None or password is None or not is_right:
            break
        kept_hash = await _renewed(_hash_of(credential) or "", password, hasher, origin)
        login = _Login(wanted, credential, kept_hash, admitted.bucket, origin)
        opened = await uow.run(partial(_open, login=login, rules=rules))
        if isinstance(opened, LoggedIn):
            return opened
        credential = opened
    user_id = credential.user.id if credential is not None else None
    await uow.run(lambda tx: _fail(tx, user_id, origin))
    raise InvalidCredentials


async def log_out(tx: Tx, session: Session, *, origin: Origin) -> None:
    """End the session that asks for it."""
    if await tx.sessions.end(session.id):
        await tx.events.add(origin, Action.SESSION_ENDED, session.user_id)


async def end_session(tx: Tx, session_id: UUID, *, origin: Origin) -> None:
    """End one session, of the caller or, for an administrator, of anybody.

    Raises:
        NotFound: there is none, or it is another's.
    """
    session = await tx.sessions.get(session_id)
    if session is None or not _may_end(origin.caller, session) or not await tx.sessions.end(session_id):
        raise NotFound
    await tx.events.add(origin, Action.SESSION_ENDED, session.user_id)


async def end_sessions(tx: Tx, user_id: UUID, *, kept_id: UUID | None, origin: Origin) -> None:
    """End every session of an account, but for one to be kept.

    Locks: the account, then its sessions.

    Raises:
        NotFound: there is no such account.
    """
    if await tx.users.get_for_update(user_id) is None:
        raise NotFound
    await tx.sessions.end_all(user_id, kept_id=kept_id)
    await tx.events.add(origin, Action.SESSIONS_ENDED, user_id)


def _may_end(caller: Caller, session: Session) -> bool:
    return caller.is_admin or caller.user_id == session.user_id


async def _admit(
    tx: Tx, wanted: LoginRequest, origin: Origin, rules: Rules
) -> tuple[Admitted | LoginThrottled, Credential | None]:
    """Read the credential and count the attempt: on its known device or network apart from strangers'.

    Source: OWASP ASVS 5.0 6.1.1 (strangers do not lock the owner out).
    """
    login_id = canonical_login_id(wanted.login_id)
    credential = await tx.users.get_credential(
        login_id or _NOBODY,
        device_digest=digest_of(wanted.device_token or "", DEVICE_PREFIX),
        network=origin.network,
    )
    user_id = credential.user.id if credential is not None else None
    is_stranger = True
    bucket = bucket_of("stranger", login_id or wanted.login_id)
    if credential is not None and credential.device_id is not None:
        bucket, is_stranger = bucket_of("device", str(credential.device_id)), False
    elif credential is not None and credential.network_is_known:
        bucket, is_stranger = bucket_of("network", origin.network, str(user_id)), False
    admitted = await admit_attempt(tx, bucket, user_id, is_stranger=is_stranger, origin=origin, rules=rules)
    return admitted, credential


def _hash_of(credential: Credential | None) -> str | None:
    """The hash to verify against; none for a disabled account, whose password is never found right."""
    if credential is None or credential.user.state is State.DISABLED:
        return None
    return credential.password_hash


async def _renewed(password_hash: str, password: str, hasher: PasswordHasher, origin: Origin) -> str:
    """Give the hash to keep: a new one when the parameters changed. Its failure never fails the log-in."""
    if not hasher.needs_rehash(password_hash):
        return password_hash
    try:
        return await hasher.hash(password, caller=origin.network)
    except HashingBusy:
        return password_hash


@dataclass(frozen=True, slots=True)
class _Login:
    """A log-in whose password was found right."""

    wanted: LoginRequest
    credential: Credential
    kept_hash: str
    bucket: bytes
    origin: Origin


async def _open(tx: Tx, *, login: _Login, rules: Rules) -> LoggedIn | Credential | None:
    """Open the session, or give the credential as it is now when it changed since it was read.

    Locks: the account, then its sessions.
    """
    credential, origin = login.credential, login.origin
    user_id, verified_hash = credential.user.id, credential.password_hash or ""
    user = await tx.users.record_login(user_id, verified_hash=verified_hash, kept_hash=login.kept_hash)
    if user is None:
        return await tx.users.get_credential(
            credential.user.login_id, device_digest=None, network=origin.network
        )
    token = new_token(SESSION_PREFIX)
    session = await tx.sessions.add(
        NewSession(
            id=new_id(),
            user_id=user_id,
            token_digest=token.digest,
            lifetime=rules.sessions.lifetime_of(user.role),
            user_agent=origin.user_agent,
            ip=origin.ip,
        )
    )
    await tx.sessions.evict(user_id, kept_count=rules.sessions.per_user)
    device_token = await _remember_device(tx, login.wanted, credential, origin)
    await tx.throttle.clear(login.bucket)
    await tx.events.add(origin, Action.LOGIN_SUCCEEDED, user_id)
    return LoggedIn(token.value, session, user, device_token)


async def _remember_device(tx: Tx, wanted: LoginRequest, credential: Credential, origin: Origin) -> str:
    if credential.device_id is not None and wanted.device_token is not None:
        await tx.devices.see_again(credential.device_id, network=origin.network)
        return wanted.device_token
    device = new_token(DEVICE_PREFIX)
    await tx.devices.add(
        new_id(), user_id=credential.user.id, token_digest=device.digest, network=origin.network
    )
    return device.value


async def _fail(tx: Tx, user_id: UUID | None, origin: Origin) -> None:
    """Count the failure of the network and tell of it; the account's was counted before."""
    await tx.throttle.count_network(origin.network)
    await tx.events.add(origin, Action.LOGIN_FAILED, user_id)
