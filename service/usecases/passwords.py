"""Setting, changing and resetting passwords."""

from collections.abc import Callable, Sequence
from datetime import datetime
from uuid import UUID

from service.db.core.unit_of_work import UnitOfWork
from service.db.transaction import Tx
from service.domain.errors import (
    FieldError,
    InvalidToken,
    LoginThrottled,
    NotFound,
    PreconditionFailed,
    ValidationFailed,
)
from service.domain.events import Action, AuditContext
from service.domain.passwords import normalize_for_login, normalize_password
from service.domain.users import User
from service.security.blocklist import is_common
from service.security.hashing.hasher import PasswordHasher
from service.security.tokens import RESET_PREFIX, Token, digest_of, new_token
from service.usecases.policies import Policies
from service.usecases.throttle import bucket_of_sessions, count_failure, refund_unverified, reserve_attempt

_WRONG = FieldError("/current_password", "wrong_password", "This is not the current password.")
_GIVEN = FieldError(
    "/new_password", "password_blocked", "Choose another password than the one you were given."
)


def password_faults(
    password: str, pointer: str, context: Sequence[str], policies: Policies
) -> list[FieldError]:
    """Give every rule that a new password breaks."""
    return policies.passwords.violations(password, pointer=pointer, context=context, is_common=is_common)


async def to_hash(password: str, *, hasher: PasswordHasher, context: AuditContext) -> str:
    """Hash a password that has passed the policy, when its turn has come.

    Raises:
        HashingBusy: too many passwords wait to be hashed.
    """
    async with hasher.acquire(context.network) as permit:
        return await permit.hash(normalize_password(password))


async def change_own_password(
    uow: UnitOfWork,
    user: User,
    current_password: str,
    new_password: str,
    *,
    hasher: PasswordHasher,
    context: AuditContext,
    policies: Policies,
) -> None:
    """Change the caller's password; every other session of the account ends. Source: OWASP ASVS 5.0 7.4.3.

    A wrong current password counts in the log-in throttle, in a bucket of the account's own sessions, so that
    strangers cannot keep the owner from changing it. Source: OWASP ASVS 5.0 6.2.3. A password that somebody
    else has set cannot be kept. Source: OWASP ASVS 5.0 6.4.1.

    Raises:
        ValidationFailed: the current password is wrong, or the new one breaks a rule.
        LoginThrottled: too many wrong passwords before.
        HashingBusy: too many passwords wait to be hashed.
    """
    _check(new_password, "/new_password", user, policies)
    current = normalize_for_login(current_password)
    if user.must_change and current == normalize_password(new_password):
        raise ValidationFailed(_GIVEN)
    bucket = bucket_of_sessions(user.id)

    async def admit(tx: Tx) -> tuple[LoginThrottled | None, str | None]:
        found = await tx.users.get_hash_for_update(user.id)
        refusal = await reserve_attempt(tx, bucket, context=context, policies=policies)
        return refusal, found[1] if found else None

    async def reject(tx: Tx) -> None:
        await tx.events.add(context, Action.PASSWORD_REJECTED, user.id)
        await count_failure(tx, bucket, context=context, policies=policies)

    async with hasher.acquire(context.network) as permit:
        refusal, password_hash = await uow.run(admit)
        if refusal is not None:
            raise refusal
        async with refund_unverified(uow, bucket):
            is_right = await permit.verify(password_hash, current)
        if not is_right:
            await uow.run(reject)
            raise ValidationFailed(_WRONG)
        async with refund_unverified(uow, bucket):
            new_hash = await permit.hash(normalize_password(new_password))
        if not await uow.run(lambda tx: _replace(tx, user.id, password_hash, new_hash, context)):
            raise ValidationFailed(_WRONG)


async def set_password(
    uow: UnitOfWork,
    user: User,
    new_password: str,
    *,
    must_change: bool,
    hasher: PasswordHasher,
    context: AuditContext,
    policies: Policies,
    precondition: Callable[[User], bool],
) -> None:
    """Set the password of another's account; all its sessions end. Source: OWASP ASVS 5.0 6.4.1, 6.4.6.

    Raises:
        ValidationFailed: the new password breaks a rule.
        NotFound: the account is gone.
        PreconditionFailed: it is no longer the one the caller saw.
        HashingBusy: too many passwords wait to be hashed.
    """
    _check(new_password, "/new_password", user, policies)
    new_hash = await to_hash(new_password, hasher=hasher, context=context)

    async def put(tx: Tx) -> None:
        current = await tx.users.get_for_update(user.id)
        if current is None:
            raise NotFound
        if not precondition(current):
            raise PreconditionFailed
        await _put(tx, user.id, new_hash, must_change=must_change)
        await tx.events.add(context, Action.PASSWORD_SET, user.id)

    await uow.run(put)


async def create_reset_token(
    tx: Tx, user_id: UUID, *, context: AuditContext, policies: Policies
) -> tuple[Token, datetime]:
    """Make the account's one reset token, in place of any former one; the caller delivers it.

    Locks: the account.

    Raises:
        NotFound: there is no such account.
    """
    if await tx.users.get_for_update(user_id) is None:
        raise NotFound
    token = new_token(RESET_PREFIX)
    ends_at = await tx.reset_tokens.put(user_id, token_digest=token.digest, ttl=policies.reset_ttl)
    await tx.events.add(context, Action.RESET_TOKEN_CREATED, user_id)
    return token, ends_at


async def redeem_reset_token(
    uow: UnitOfWork,
    token: str,
    new_password: str,
    *,
    hasher: PasswordHasher,
    context: AuditContext,
    policies: Policies,
) -> None:
    """Set a password by a reset token, once; all sessions end. Source: OWASP ASVS 5.0 6.5.1, 6.5.5.

    The token is looked at first, so that a bad one costs no hashing, and used up last, so that a refused
    password does not cost the token.

    Raises:
        InvalidToken: unknown, expired or used: always the same.
        ValidationFailed: the new password breaks a rule.
        HashingBusy: too many passwords wait to be hashed.
    """
    digest = digest_of(token, RESET_PREFIX)
    if digest is None:
        raise InvalidToken
    user = await uow.run(lambda tx: _owner_of(tx, digest))
    _check(new_password, "/new_password", user, policies)
    new_hash = await to_hash(new_password, hasher=hasher, context=context)

    async def redeem(tx: Tx) -> None:
        owner = await tx.users.get_for_update(user.id)
        if owner is None or await tx.reset_tokens.take(digest) != user.id:
            raise InvalidToken
        await _put(tx, user.id, new_hash, must_change=False)
        await tx.events.add(context, Action.PASSWORD_RESET, user.id)

    await uow.run(redeem)


def _check(new_password: str, pointer: str, user: User, policies: Policies) -> None:
    found = password_faults(
        new_password, pointer, (user.login_id, user.name, policies.service_name), policies
    )
    if found:
        raise ValidationFailed(*found)


async def _owner_of(tx: Tx, digest: bytes) -> User:
    user_id = await tx.reset_tokens.find(digest)
    user = await tx.users.get(user_id) if user_id is not None else None
    if user is None:
        raise InvalidToken
    return user


async def _replace(
    tx: Tx, user_id: UUID, verified_hash: str | None, new_hash: str, context: AuditContext
) -> bool:
    """Change the password unless it is no longer the one that was verified."""
    found = await tx.users.get_hash_for_update(user_id)
    if found is None or found[1] != verified_hash:
        return False
    session = context.caller.authenticated_session
    await tx.users.set_password(user_id, new_hash, must_change=False)
    await tx.sessions.end_all(user_id, kept_id=session.session.id if session else None)
    await tx.reset_tokens.drop(user_id)
    await tx.throttle.clear_account(user_id)
    await tx.events.add(context, Action.PASSWORD_CHANGED, user_id)
    return True


async def _put(tx: Tx, user_id: UUID, new_hash: str, *, must_change: bool) -> None:
    """Set a password; the account is locked. Whoever was logged in or known before is not any more."""
    await tx.users.set_password(user_id, new_hash, must_change=must_change)
    await tx.sessions.end_all(user_id)
    await tx.devices.forget_all(user_id)
    await tx.reset_tokens.drop(user_id)
    await tx.throttle.clear_account(user_id)
