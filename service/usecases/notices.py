"""Mails to the owner of an account, above all security notices."""

from collections.abc import Mapping
from datetime import datetime, timedelta

from service.db.core.transaction import Transaction
from service.db.repositories.outbox import OutboxRepository
from service.domain.events import AuditContext
from service.domain.mail import KEEP_TRYING_FOR, MailKind, NewMail, TokenSeed
from service.domain.users import User
from service.usecases.mail_throttle import may_mail
from service.usecases.policies import Policies

_AGENT_MAX = 120


async def notify_of_device(
    tx: Transaction,
    user: User,
    *,
    previous_login_at: datetime | None,
    context: AuditContext,
    policies: Policies,
) -> None:
    """Queue a notice of a login from a new device; nothing for the first login of a user.

    Limited by the hour: a script that logs in for each request keeps no device token.
    """
    if previous_login_at is None or user.verified_email is None:
        return
    if not await may_mail(tx, "new device", str(user.id), policies=policies):
        return
    agent = (context.user_agent or "–")[:_AGENT_MAX].replace("://", " ")  # no link in our mail
    await notify(tx, user, MailKind.NEW_DEVICE, device=agent, ip=context.ip or "–")


async def notify(
    tx: Transaction, user: User, kind: MailKind, *, recipient: str | None = None, **params: str
) -> None:
    """Queue a notice to the verified address of a user, or to `recipient`; without an address, do nothing.

    Source: OWASP ASVS 5.0 6.3.7 (users are told of changes of their authentication details).
    """
    address = recipient or user.verified_email
    if address is not None:
        await queue_mail(tx, user, kind, address, params)


async def queue_mail(
    tx: Transaction,
    user: User,
    kind: MailKind,
    address: str,
    params: Mapping[str, str],
    *,
    seed: TokenSeed | None = None,
    ttl: timedelta = KEEP_TRYING_FOR,
) -> None:
    """Queue a mail to an address of a user; `seed` is of the one-time token in it."""
    given = {"name": user.name, "login_id": user.login_id, **params}
    await OutboxRepository(tx).add(NewMail(kind, address, user.id, user.locale, given, seed, ttl))
