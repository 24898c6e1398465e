"""Password reset tokens: created by administrators, redeemed by their owners."""

from datetime import datetime
from uuid import UUID

from service.db.core.database import Database
from service.db.core.transaction import Transaction
from service.db.repositories.devices import DeviceRepository, LoginDevice
from service.db.repositories.emails import EmailRepository
from service.db.repositories.events import EventRepository
from service.db.repositories.user_tokens import ResetTokenRepository
from service.db.repositories.users import UserRepository
from service.domain.errors import InvalidToken
from service.domain.events import Action, AuditContext
from service.domain.mail import MailKind
from service.domain.users import User
from service.security.hashing.hasher import PasswordHasher
from service.security.ids import new_id
from service.security.tokens import DEVICE_PREFIX, RESET_PREFIX, Token, digest_of, new_token
from service.usecases.details import replace_email
from service.usecases.notices import notify
from service.usecases.passwords import hash_new_password, require_valid_password, store_new_password
from service.usecases.policies import Policies
from service.usecases.subjects import lock_subject


async def create_reset_token(
    tx: Transaction, user_id: UUID, *, context: AuditContext, policies: Policies
) -> tuple[Token, datetime]:
    """Create a user's reset token, which replaces any earlier one; return it with its expiry.

    Locks: the user.

    Raises:
        NotFound: there is no such user.
        Forbidden: it is an administrator, and the key lacks `admins:write`.
    """
    await lock_subject(tx, user_id, caller=context.caller)
    token, ttl = new_token(RESET_PREFIX), policies.reset_ttl
    expires_at = await ResetTokenRepository(tx).put(user_id, token_digest=token.digest, ttl=ttl)
    await EventRepository(tx).add(context, Action.RESET_TOKEN_CREATED, user_id)
    return token, expires_at


async def redeem_reset_token(
    database: Database,
    token: str,
    new_password: str,
    *,
    hasher: PasswordHasher,
    context: AuditContext,
    policies: Policies,
) -> None:
    """Set a password with a reset token, once; end all sessions. Source: OWASP ASVS 5.0 6.5.1.

    The token is looked up first, so that a bad one costs no hashing, and used up last, so that an invalid
    password does not cost the token. The caller's network becomes one that the user has logged in from: the
    failures of unknown devices, which a new password does not clear, do not keep the owner out there.

    Raises:
        InvalidToken: unknown, expired or used.
        ValidationFailed: the new password breaks a rule.
        HashingBusy: too many passwords wait to be hashed.
        EmailTaken: another user verifies the address of an invitation at this moment.
    """
    digest = digest_of(token, RESET_PREFIX)
    if digest is None:
        raise InvalidToken
    user = await database.run(lambda tx: _owner_of(tx, digest), caller=context.caller)
    require_valid_password(new_password, user, policies)
    new_hash = await hash_new_password(new_password, hasher=hasher, context=context)

    async def redeem(tx: Transaction) -> None:
        owner = await UserRepository(tx).get_for_update(user.id)
        taken = await ResetTokenRepository(tx).take(digest)
        if owner is None or taken is None or taken.user_id != user.id:
            raise InvalidToken
        await store_new_password(tx, user.id, new_hash)
        unused = new_token(DEVICE_PREFIX)
        await DeviceRepository(tx).add(user.id, LoginDevice(new_id(), context.network, unused.digest))
        await notify(tx, owner, MailKind.PASSWORD_CHANGED)
        if taken.address is not None and taken.address == owner.email and owner.verified_email is None:
            await _verify_by_mail(tx, owner, taken.address, context)
        await EventRepository(tx).add(context, Action.PASSWORD_RESET, user.id)

    await database.run(redeem, caller=context.caller)


async def _verify_by_mail(tx: Transaction, owner: User, email: str, context: AuditContext) -> None:
    """Verify the address that a token was mailed to, unless another user has: the password counts anyway."""
    if await EmailRepository(tx).get_by_verified(email) is None:
        await replace_email(tx, owner, email, is_verified=True, context=context)


async def _owner_of(tx: Transaction, digest: bytes) -> User:
    user_id = await ResetTokenRepository(tx).find(digest)
    user = await UserRepository(tx).get(user_id) if user_id is not None else None
    if user is None:
        raise InvalidToken
    return user
