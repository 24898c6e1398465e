"""Setting and changing passwords."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from uuid import UUID

from service.db.core.database import Database
from service.db.core.transaction import Transaction
from service.db.repositories.devices import DeviceRepository
from service.db.repositories.events import EventRepository
from service.db.repositories.sessions import SessionRepository
from service.db.repositories.throttle import ThrottleRepository
from service.db.repositories.user_tokens import ResetTokenRepository
from service.db.repositories.users import UserRepository
from service.domain.callers import Caller
from service.domain.errors import FieldError, PreconditionFailed, ValidationFailed
from service.domain.events import Action, AuditContext
from service.domain.mail import MailKind
from service.domain.passwords import TypedPassword, normalize_password
from service.domain.sessions import AuthenticatedSession
from service.domain.users import User
from service.security.blocklist import is_common
from service.security.hashing.hasher import PasswordHasher
from service.usecases.notices import notify
from service.usecases.policies import Policies
from service.usecases.subjects import lock_subject
from service.usecases.throttle import (
    Bucket,
    bucket_of_session,
    count_failure,
    refund_unverified,
    reserve_attempt,
)

_WRONG_PASSWORD = FieldError("/current_password", "wrong_password", "This is not the current password.")
_PASSWORD_KEPT = FieldError(
    "/new_password", "password_blocked", "Choose another password than the one you were given."
)

Admit = Callable[[], Awaitable[None]]


def password_errors(
    password: str, pointer: str, context: Sequence[str], policies: Policies
) -> list[FieldError]:
    """Return an error for each rule that a new password breaks."""
    return policies.passwords.violations(password, pointer=pointer, context=context, is_common=is_common)


def require_valid_password(new_password: str, user: User, policies: Policies) -> None:
    """Check the new password of a user.

    Raises:
        ValidationFailed: with every rule that it breaks.
    """
    context = (user.login_id, user.name, policies.service_name)
    if errors := password_errors(new_password, "/new_password", context, policies):
        raise ValidationFailed(*errors)


def must_change_password(wanted: bool | None, caller: Caller) -> bool:
    """Return whether a password that the caller sets for another has to be changed before anything else.

    By default, one that an administrator has chosen. An API key relays its owner's choice.
    Source: OWASP ASVS 5.0 6.4.1.
    """
    return caller.is_admin if wanted is None else wanted


async def hash_new_password(
    password: str, *, hasher: PasswordHasher, context: AuditContext, admit: Admit | None = None
) -> str:
    """Hash a valid password. `admit` is called once there is a permit, and raises if nothing is to be done.

    Raises:
        HashingBusy: too many passwords wait to be hashed.
    """
    async with hasher.acquire(*context.flow) as permit:
        if admit is not None:
            await admit()
        return await permit.hash(normalize_password(password))


async def change_own_password(
    database: Database,
    session: AuthenticatedSession,
    current_password: str,
    new_password: str,
    *,
    hasher: PasswordHasher,
    context: AuditContext,
    policies: Policies,
) -> None:
    """Change the caller's password, end the user's other sessions and forget their devices.

    Source: OWASP ASVS 5.0 7.4.3, 6.5.6.

    A wrong current password counts in the login throttle, in a bucket of the caller's session, so that no
    unknown device and no thief of another session can block the change. Source: OWASP ASVS 5.0 6.2.3. A
    password that an administrator has set cannot be kept. Source: OWASP ASVS 5.0 6.4.1.

    Raises:
        ValidationFailed: the current password is wrong, or the new one breaks a rule.
        LoginThrottled: too many wrong passwords before.
        HashingBusy: too many passwords wait to be hashed.
    """
    user = session.user
    require_valid_password(new_password, user, policies)
    current = TypedPassword.of(current_password)
    if user.must_change and current.password == normalize_password(new_password):
        raise ValidationFailed(_PASSWORD_KEPT)
    bucket = bucket_of_session(policies.digests, session.session.id, user.id)
    change, caller = _Change(user.id, bucket, context, policies), context.caller
    async with hasher.acquire(*context.flow) as permit:
        old_hash = await database.run(change.reserve, caller=caller)
        async with refund_unverified(database, bucket):
            if not await permit.verify(old_hash, *current):
                await database.run(change.reject, caller=caller)
                raise ValidationFailed(_WRONG_PASSWORD)
            new_hash = await permit.hash(normalize_password(new_password))
        await database.run(partial(change.replace, old_hash, new_hash), caller=caller)


@dataclass(frozen=True, slots=True)
class _Change:
    """The transactions of a change of one's own password."""

    user_id: UUID
    bucket: Bucket
    context: AuditContext
    policies: Policies

    async def reserve(self, tx: Transaction) -> str | None:
        """Count the attempt and return the current hash."""
        found = await self._lock_user(tx)
        await reserve_attempt(tx, self.bucket, context=self.context, policies=self.policies)
        return found[1] if found is not None else None

    async def reject(self, tx: Transaction) -> None:
        """Record and count a wrong password."""
        await EventRepository(tx).add(self.context, Action.PASSWORD_REJECTED, self.user_id)
        await count_failure(tx, self.bucket, context=self.context, policies=self.policies)

    async def replace(self, old_hash: str | None, new_hash: str, tx: Transaction) -> None:
        """Change the password unless it is no longer the one that was verified."""
        found = await self._lock_user(tx)
        if found is None or found[1] != old_hash:
            raise ValidationFailed(_WRONG_PASSWORD)
        await store_new_password(tx, self.user_id, new_hash, kept_id=self.context.caller.session_id)
        await EventRepository(tx).add(self.context, Action.PASSWORD_CHANGED, self.user_id)
        await notify(tx, found[0], MailKind.PASSWORD_CHANGED)

    async def _lock_user(self, tx: Transaction) -> tuple[User, str | None] | None:
        ttl = self.policies.temporary_password_ttl
        return await UserRepository(tx).get_hash_for_update(self.user_id, temporary_ttl=ttl)


async def set_password(
    database: Database,
    user: User,
    new_password: str,
    *,
    must_change: bool,
    hasher: PasswordHasher,
    context: AuditContext,
    policies: Policies,
    precondition: Callable[[User], bool],
) -> None:
    """Set another user's password and end the user's sessions. Source: OWASP ASVS 5.0 6.4.1, 6.4.6.

    Raises:
        Forbidden: it is an administrator, and the key lacks `admins:write`.
        ValidationFailed: the new password breaks a rule.
        NotFound: the user was deleted.
        PreconditionFailed: the user has changed.
        HashingBusy: too many passwords wait to be hashed.
    """
    context.caller.require_authority_over(user.role)
    require_valid_password(new_password, user, policies)
    new_hash = await hash_new_password(new_password, hasher=hasher, context=context)

    async def store(tx: Transaction) -> None:
        current = await lock_subject(tx, user.id, caller=context.caller)
        if not precondition(current):
            raise PreconditionFailed
        await store_new_password(tx, user.id, new_hash, must_change=must_change)
        await notify(tx, current, MailKind.PASSWORD_CHANGED)
        await EventRepository(tx).add(context, Action.PASSWORD_SET, user.id)

    await database.run(store, caller=context.caller)


async def store_new_password(
    tx: Transaction, user_id: UUID, new_hash: str, *, must_change: bool = False, kept_id: UUID | None = None
) -> None:
    """Store the password of a locked user; end all sessions but the one to keep, and forget other devices."""
    await UserRepository(tx).set_password(user_id, new_hash, must_change=must_change)
    await SessionRepository(tx).end_all(user_id, kept_id=kept_id)
    await DeviceRepository(tx).delete_all(user_id, but_of_session=kept_id)
    await ResetTokenRepository(tx).drop(user_id)
    await ThrottleRepository(tx).clear_user(user_id)
