"""Recovery codes: they stand in for a second factor that is lost."""

from typing import Final

from service.db.core.transaction import Transaction
from service.db.repositories.events import EventRepository
from service.db.repositories.recovery_codes import RecoveryCodeRepository
from service.domain.errors import FieldError, ValidationFailed
from service.domain.events import Action, AuditContext
from service.domain.mail import MailKind
from service.security.recovery_codes import new_recovery_codes
from service.usecases.factors import lock_owner
from service.usecases.notices import notify

_NO_FACTOR: Final = FieldError("", "no_factor", "Enrol an authenticator app or a passkey first.")


async def create_recovery_codes(tx: Transaction, *, context: AuditContext) -> list[str]:
    """Return new codes for the caller, in place of those before. Only their digests are stored.

    Locks: the user.

    Raises:
        ValidationFailed: the user has no second factor.
        ReauthenticationRequired: see `lock_owner`.
    """
    user, _ = await lock_owner(tx, context=context)
    if not user.factors:
        raise ValidationFailed(_NO_FACTOR)
    codes = new_recovery_codes(user.id)
    await RecoveryCodeRepository(tx).replace_all(user.id, [code.digest for code in codes])
    await EventRepository(tx).add(context, Action.RECOVERY_CODES_CREATED, user.id)
    await notify(tx, user, MailKind.FACTOR_ADDED, factor="recovery_codes")
    return [code.value for code in codes]
