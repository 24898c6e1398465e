"""Authenticator apps: enrolling one, and removing it."""

from dataclasses import dataclass, field
from typing import Final

from service.db.core.transaction import Transaction
from service.db.repositories.throttle import ThrottleRepository
from service.db.repositories.totp import TotpRepository
from service.domain.errors import FieldError, NotFound, ValidationFailed
from service.domain.events import AuditContext
from service.domain.factors import Amr, Factor
from service.domain.sessions import AuthenticatedSession
from service.domain.users import User
from service.security.ids import new_id
from service.security.totp import base32_of, new_totp_secret, otpauth_uri
from service.usecases.factors import FactorParts, complete_enrollment, complete_removal, lock_owner
from service.usecases.throttle import bucket_of_session, count_failure, reserve_attempt

_WRONG_CODE: Final = FieldError("/code", "wrong_code", "This is not the current code of the app.")


@dataclass(frozen=True, slots=True)
class NewTotp:
    """A new secret, as its owner types or scans it."""

    secret: str = field(repr=False)
    uri: str = field(repr=False)


async def enroll_totp(parts: FactorParts, *, context: AuditContext) -> NewTotp:
    """Make a secret that counts once it is confirmed; a confirmed one keeps working until then.

    Raises:
        NotFound: authenticator apps are not enabled.
        ReauthenticationRequired: see `lock_owner`.
    """
    secrets = parts.totp_secrets
    if secrets is None:
        raise NotFound
    row_id, secret = new_id(), new_totp_secret()

    async def enroll(tx: Transaction) -> User:
        user, _ = await lock_owner(tx, context=context)
        await TotpRepository(tx).put_pending(row_id, user.id, secrets.encrypt(row_id, secret))
        return user

    user = await parts.database.run(enroll, caller=context.caller)
    issuer = parts.policies.factors.issuer
    return NewTotp(base32_of(secret), otpauth_uri(secret, issuer=issuer, account=user.login_id))


async def confirm_totp(
    parts: FactorParts, session: AuthenticatedSession, code: str, *, context: AuditContext
) -> None:
    """Let the pending secret take the place of an earlier one, by a code that shows that the app has it.

    A wrong code counts in the login throttle, in the bucket of the session. Source: OWASP ASVS 5.0 6.3.1.

    Raises:
        NotFound: no secret waits to be confirmed, or authenticator apps are not enabled.
        ValidationFailed: the code is wrong.
        LoginThrottled: too many wrong codes before.
        ReauthenticationRequired: see `lock_owner`.
    """
    secrets, policies = parts.totp_secrets, parts.policies
    if secrets is None:
        raise NotFound
    bucket = bucket_of_session(policies.digests, session.session.id, session.user.id)

    async def confirm(tx: Transaction) -> bool:
        owner = await lock_owner(tx, context=context)
        pending = await TotpRepository(tx).get_pending(owner.user.id)
        if pending is None:
            raise NotFound
        await reserve_attempt(tx, bucket, context=context, policies=policies)
        step = secrets.matching_step(pending, code)
        if step is None:
            await count_failure(tx, bucket, context=context, policies=policies)
            return False
        await ThrottleRepository(tx).refund(bucket.digest)
        await TotpRepository(tx).confirm_pending(owner.user.id, step=step)
        await complete_enrollment(tx, owner, Factor.TOTP, (Amr.ONE_TIME_CODE,), context=context)
        return True

    if not await parts.database.run(confirm, caller=context.caller):
        raise ValidationFailed(_WRONG_CODE)


async def remove_totp(tx: Transaction, *, context: AuditContext) -> None:
    """Remove the authenticator app of the caller, and a secret that waits to be confirmed.

    Locks: the user.

    Raises:
        NotFound: there is neither.
        ReauthenticationRequired: see `lock_owner`.
    """
    user, _ = await lock_owner(tx, context=context)
    was_pending = await TotpRepository(tx).delete_pending(user.id)
    if await TotpRepository(tx).delete_confirmed(user.id):
        await complete_removal(tx, user.id, Factor.TOTP, context=context)
    elif not was_pending:
        raise NotFound
