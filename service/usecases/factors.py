"""What all second factors have in common: who may change them, and what follows from a change."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple, Optional
from uuid import UUID

from service.db.core.database import Database
from service.db.core.transaction import Transaction
from service.db.repositories.events import EventRepository
from service.db.repositories.factors import FactorRepository
from service.db.repositories.recovery_codes import RecoveryCodeRepository
from service.db.repositories.sessions import SessionRepository
from service.db.repositories.users import UserRepository
from service.domain.errors import InvalidToken, NotFound, ReauthenticationRequired
from service.domain.events import Action, AuditContext
from service.domain.factors import Assurance, Factor, combined_amr
from service.domain.mail import MailKind
from service.domain.sessions import Session
from service.domain.users import User
from service.security.webauthn import RelyingParty
from service.usecases.details import forget_pending_address
from service.usecases.notices import notify
from service.usecases.policies import Policies

if TYPE_CHECKING:  # imports cryptography, which few starts need (ADR 19)
    from service.usecases.totp_secrets import TotpSecrets

_ENROLLED: Final = {Factor.TOTP: Action.TOTP_ENROLLED, Factor.PASSKEY: Action.PASSKEY_ADDED}
_REMOVED: Final = {Factor.TOTP: Action.TOTP_REMOVED, Factor.PASSKEY: Action.PASSKEY_REMOVED}


@dataclass(frozen=True, slots=True)
class FactorParts:
    """The parts of the process that second factors use. What is None is not enabled."""

    database: Database
    policies: Policies
    totp_secrets: Optional["TotpSecrets"] = None
    relying_party: RelyingParty | None = None


class Owner(NamedTuple):
    """A locked user, and the session in which it changes its factors."""

    user: User
    session: Session


async def lock_owner(tx: Transaction, *, context: AuditContext) -> Owner:
    """Lock the caller's user and read its session again, for a change of its factors.

    A password alone changes no factor of a user who has one: not in a session that another release has
    opened, nor in one that the first factor has just ended.

    Locks: the user, until the transaction ends.

    Raises:
        InvalidToken: the session has ended.
        ReauthenticationRequired: the user has a second factor, and the session was authenticated without.
    """
    user_id, session_id = context.caller.user_id, context.caller.session_id
    user = await UserRepository(tx).get_for_update(user_id) if user_id is not None else None
    session = await SessionRepository(tx).get(session_id) if session_id is not None else None
    if user is None or session is None:
        raise InvalidToken
    if user.factors and session.assurance < Assurance.TWO_FACTORS:
        raise ReauthenticationRequired
    return Owner(user, session)


async def complete_enrollment(
    tx: Transaction, owner: Owner, factor: Factor, amr: Iterable[str], *, context: AuditContext
) -> None:
    """Let a factor that is stored take effect: the session has used it, in these ways, and counts as new.

    The first one ends every other session and every login under way, which have shown no second factor.
    """
    user, session = owner
    await FactorRepository(tx).refresh(user.id)
    await SessionRepository(tx).reauthenticate(session.id, combined_amr(session.amr, amr))
    if not user.factors:
        await SessionRepository(tx).end_all(user.id, kept_id=session.id)
    await EventRepository(tx).add(context, _ENROLLED[factor], user.id)
    await notify(tx, user, MailKind.FACTOR_ADDED, factor=factor.value)


async def complete_removal(tx: Transaction, user_id: UUID, factor: Factor, *, context: AuditContext) -> None:
    """Let the deletion of a factor of a locked user take effect; with the last one, recovery codes go too."""
    user = await FactorRepository(tx).refresh(user_id)
    if not user.factors:
        await RecoveryCodeRepository(tx).delete_all(user_id)
    await EventRepository(tx).add(context, _REMOVED[factor], user_id)
    await notify(tx, user, MailKind.FACTOR_REMOVED, factor=factor.value)


async def remove_factors(tx: Transaction, user_id: UUID, *, context: AuditContext) -> None:
    """Remove every second factor of a user who has lost them, and end its sessions.

    Locks: the user, then its sessions.

    Raises:
        NotFound: there is no such user.
        ReauthenticationRequired: they are the caller's own; see `lock_owner`.
    """
    if user_id == context.caller.user_id:
        await lock_owner(tx, context=context)
    user = await UserRepository(tx).get_for_update(user_id)
    if user is None:
        raise NotFound
    await FactorRepository(tx).delete_all(user_id)
    await SessionRepository(tx).end_all(user_id)
    await forget_pending_address(tx, user)
    await EventRepository(tx).add(context, Action.FACTORS_REMOVED, user_id)
    await notify(tx, user, MailKind.FACTOR_REMOVED, factor="all")
