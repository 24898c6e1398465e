"""Sessions on the wire."""

from typing import Annotated, Literal, Self
from uuid import UUID

from msgspec import UNSET, Meta, UnsetType

from service.api.schemas.common import Id, Input, Output, Timestamp, timestamp
from service.api.schemas.users import UserView
from service.domain.sessions import Session

SessionToken = Annotated[
    str,
    Meta(
        description="The bearer token, shown this once.",
        examples=["rcs_aV9tq0Jc3m8vX1Yz5bK7dQ2eR4fT6gU8hI0jL1kM3nO"],
    ),
]
DeviceToken = Annotated[
    str,
    Meta(
        description="Send it with later log-ins from this device: it keeps its owner out of a throttle that "
        "strangers caused.",
        examples=["rcd_bW0ur1Kd4n9wY2Za6cL8eR3fS5gU7hV9iJ1kM2lN4oP"],
    ),
]


class LogInBody(Input, frozen=True):
    """Who logs in, with what."""

    login_id: Annotated[str, Meta(examples=["ada@example.org"])]
    password: Annotated[
        str, Meta(examples=["mauve otter sings at dawn"], extra_json_schema={"format": "password"})
    ]
    device_token: DeviceToken | UnsetType = UNSET


class EndSessionsQuery(Input, frozen=True):
    """Which session to spare."""

    keep: Annotated[Literal["current"], Meta(description="Spares the session that asks.")] | None = None


class SessionView(Output, frozen=True):
    """A log-in session, without its token."""

    id: Id
    user_id: Id
    created_at: Timestamp
    last_used_at: Timestamp
    expires_at: Timestamp
    idle_expires_at: Timestamp
    user_agent: str | None
    ip: str | None
    current: bool

    @classmethod
    def of(cls, session: Session, current_id: UUID | None) -> Self:
        """Show a session, and whether it is the one that asks."""
        return cls(
            str(session.id),
            str(session.user_id),
            timestamp(session.created_at),
            timestamp(session.last_used_at),
            timestamp(session.expires_at),
            timestamp(session.idle_expires_at),
            session.user_agent,
            session.ip,
            session.id == current_id,
        )


class SessionPage(Output, frozen=True):
    """Some sessions, and where the next page starts."""

    items: list[SessionView]
    next_cursor: str | None


class LoggedInView(Output, frozen=True):
    """A new session with its tokens, shown this once."""

    token: SessionToken
    session: SessionView
    user: UserView
    device_token: DeviceToken


class CurrentSessionView(Output, frozen=True):
    """The session that asks, and its account."""

    session: SessionView
    user: UserView
