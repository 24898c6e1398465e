"""Verifying e-mail addresses."""

from datetime import timedelta
from typing import Final
from uuid import UUID

from service.db.core.database import Database
from service.db.core.transaction import Transaction
from service.db.repositories.user_tokens import VerificationRepository
from service.db.repositories.users import UserRepository
from service.domain.callers import Caller
from service.domain.errors import InvalidToken
from service.domain.events import AuditContext
from service.domain.mail import MailKind
from service.domain.users import User
from service.security.mail_tokens import VERIFICATION_PREFIX, MailTokens
from service.security.tokens import digest_of
from service.usecases.details import replace_email
from service.usecases.mail_throttle import count_mail
from service.usecases.notices import queue_mail
from service.usecases.policies import Policies
from service.usecases.subjects import lock_subject

VERIFICATION_TTL: Final = timedelta(hours=24)


async def send_verification(
    tx: Transaction, user_id: UUID, *, caller: Caller, tokens: MailTokens, policies: Policies
) -> None:
    """Queue a mail to the pending address, or to one that is not verified; without either, do nothing.

    Locks: the user.

    Raises:
        NotFound: there is no such user.
        Forbidden: it is an administrator, and the caller a key without authority over one.
        MailThrottled: too many mails for this user, or to this address.
    """
    user = await lock_subject(tx, user_id, caller=caller)
    address = user.pending_email or (user.email if user.verified_email is None else None)
    if address is None:
        return
    await count_mail(tx, ("user", str(user_id)), ("address", address), policies=policies)
    await queue_verification(tx, user, address, tokens=tokens)


async def queue_verification(tx: Transaction, user: User, address: str, *, tokens: MailTokens) -> None:
    """Queue a mail that verifies an address; an earlier one stops working."""
    token = tokens.new(MailKind.VERIFY_EMAIL)
    verifications, ttl = VerificationRepository(tx), VERIFICATION_TTL
    await verifications.put(user.id, token_digest=token.digest, ttl=ttl, address=address)
    await queue_mail(tx, user, MailKind.VERIFY_EMAIL, address, {"hours": "24"}, seed=token.seed, ttl=ttl)


async def verify_email(database: Database, token: str, *, context: AuditContext) -> None:
    """Verify an address by the token that was mailed to it, once. A pending one takes effect.

    Locks: the user.

    Raises:
        InvalidToken: unknown, expired, used, or for an address that the user no longer has.
        EmailTaken: another user has verified it meanwhile.
    """
    digest = digest_of(token, VERIFICATION_PREFIX)
    if digest is None:
        raise InvalidToken

    async def verify(tx: Transaction) -> None:
        user_id = await VerificationRepository(tx).find(digest)
        user = await UserRepository(tx).get_for_update(user_id) if user_id is not None else None
        taken = await VerificationRepository(tx).take(digest)
        if user is None or taken is None or taken.address not in (user.pending_email, user.email):
            raise InvalidToken
        await replace_email(tx, user, taken.address, is_verified=True, context=context)

    await database.run(verify, caller=context.caller)
