"""What the peers that run on Litestar return, as msgspec encodes it."""

from datetime import datetime
from uuid import UUID

import msgspec


class UserView(msgspec.Struct):
    id: UUID
    login_id: str
    name: str
    role: str
    state: str
    created_at: datetime
    updated_at: datetime
    last_login_at: datetime | None


class SessionView(msgspec.Struct):
    id: UUID
    user_id: UUID
    created_at: datetime
    last_used_at: datetime
    expires_at: datetime
    idle_expires_at: datetime
    user_agent: str | None
    ip: str | None
    current: bool = True


class CurrentSessionView(msgspec.Struct):
    session: SessionView
    user: UserView
