"""Schemas of sessions."""

from typing import Annotated, Literal, Self
from uuid import UUID

from service.api.schemas.common import Id, Input, Output, PageView, Timestamp, about, timestamp
from service.api.schemas.users import UserView
from service.domain.sessions import AuthenticatedSession, Session


class EndSessionsQuery(Input, frozen=True):
    """Which session to keep."""

    keep: Annotated[Literal["current"], about("Keeps the session of the token.")] | None = None


class SessionView(Output, frozen=True):
    """A session without its token."""

    id: Id
    user_id: Id
    created_at: Timestamp
    last_used_at: Timestamp
    expires_at: Timestamp
    idle_expires_at: Timestamp
    user_agent: str | None
    ip: str | None
    auth_time: Annotated[
        Timestamp, about("When the user last proved who they are: the login, or a later step-up.")
    ]
    amr: Annotated[list[str], about("How (RFC 8176); `mfa` with two factors.", ["pwd", "otp", "mfa"])]
    assurance: Annotated[int, about("2 with two factors, or a passkey.", ge=1, le=2)]
    current: bool

    @classmethod
    def of(cls, session: Session, current_id: UUID | None) -> Self:
        """Return the view of a session; `current_id` is the id of the caller's."""
        return cls(
            session.id,
            session.user_id,
            timestamp(session.created_at),
            timestamp(session.last_used_at),
            timestamp(session.expires_at),
            timestamp(session.idle_expires_at),
            session.user_agent,
            session.ip,
            timestamp(session.auth_time),
            list(session.amr),
            int(session.assurance),
            session.id == current_id,
        )


class SessionPage(PageView[SessionView], frozen=True):
    """A page of sessions."""


class CurrentSessionView(Output, frozen=True):
    """The session of the token, and its user."""

    session: SessionView
    user: UserView

    @classmethod
    def of(cls, authenticated: AuthenticatedSession) -> Self:
        """Return the view of the caller's session."""
        session = authenticated.session
        return cls(SessionView.of(session, session.id), UserView.of(authenticated.user))
