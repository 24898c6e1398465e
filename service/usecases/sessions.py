"""Reading and ending sessions."""

from collections.abc import Callable
from uuid import UUID

from service.db.core.transaction import Transaction
from service.db.repositories.events import EventRepository
from service.db.repositories.sessions import SessionReads, SessionRepository
from service.db.repositories.users import UserRepository
from service.domain.callers import Caller
from service.domain.errors import NotFound, PreconditionFailed
from service.domain.events import Action, AuditContext
from service.domain.sessions import Session
from service.usecases.details import forget_pending_address
from service.usecases.policies import Policies
from service.usecases.subjects import lock_subject


async def log_out(tx: Transaction, session: Session, *, context: AuditContext) -> None:
    """End the caller's session."""
    if await SessionRepository(tx).end(session.id):
        await EventRepository(tx).add(context, Action.SESSION_ENDED, session.user_id, session_id=session.id)


async def revoke_token(tx: Transaction, token_digest: bytes, *, context: AuditContext) -> None:
    """End the session of a token, if there is one: who has the token may end it. Source: RFC 7009 2.2."""
    if (session := await SessionRepository(tx).revoke_token(token_digest)) is not None:
        await EventRepository(tx).add(context, Action.SESSION_ENDED, session.user_id, session_id=session.id)


async def get_session(sessions: SessionReads, session_id: UUID, *, caller: Caller) -> Session:
    """Return one live session: the caller's own or, for an administrator, any.

    Raises:
        NotFound: there is none, or it belongs to another user.
    """
    session = await sessions.get(session_id)
    if session is None or not _may_access(caller, session):
        raise NotFound
    return session


async def end_session(
    tx: Transaction,
    session_id: UUID,
    *,
    context: AuditContext,
    policies: Policies,
    precondition: Callable[[Session], bool],
) -> None:
    """End one session: the caller's own or, for an administrator, any.

    With another one than the caller's, the address that it may have asked for ends too.

    Locks: the user, then the session.

    Raises:
        NotFound: there is none, or it belongs to another user.
        ReauthenticationRequired: it belongs to another user, and the caller's login is too old.
        PreconditionFailed: it is not the version that the caller expects.
    """
    sessions = SessionRepository(tx)
    session = await get_session(sessions, session_id, caller=context.caller)
    if session.user_id != context.caller.user_id:
        context.caller.require_recent_login(policies.sessions.step_up_ttl)
    if not precondition(session):
        raise PreconditionFailed
    user = await UserRepository(tx).get_for_update(session.user_id)
    if user is None or not await sessions.end(session_id):
        raise NotFound
    if session_id != context.caller.session_id:
        await forget_pending_address(tx, user)
    await EventRepository(tx).add(context, Action.SESSION_ENDED, session.user_id, session_id=session.id)


async def end_sessions(
    tx: Transaction, user_id: UUID, *, kept_id: UUID | None, context: AuditContext
) -> None:
    """End every session of a user, except the one to keep, and the address that one has asked for.

    Locks: the user, then its sessions.

    Raises:
        NotFound: there is no such user.
        Forbidden: it is an administrator, and the key lacks `admins:write`.
    """
    user = await lock_subject(tx, user_id, caller=context.caller)
    await SessionRepository(tx).end_all(user_id, kept_id=kept_id)
    await forget_pending_address(tx, user)
    await EventRepository(tx).add(context, Action.SESSIONS_ENDED, user_id)


def _may_access(caller: Caller, session: Session) -> bool:
    return caller.is_admin or caller.user_id == session.user_id
