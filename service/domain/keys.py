"""API keys: credentials of other services, with scopes."""

from datetime import datetime, timedelta
from enum import StrEnum
from typing import NamedTuple
from uuid import UUID

from service.domain.wal_position import WalPosition

KEY_NAME_MAX = 100


class Scope(StrEnum):
    """A right of an API key."""

    USERS_READ = "users:read"
    USERS_WRITE = "users:write"
    ADMINS_WRITE = "admins:write"
    """With `users:write`: also for a user that is, or becomes, an administrator."""
    SESSIONS_INTROSPECT = "sessions:introspect"
    EVENTS_READ = "events:read"


class ApiKey(NamedTuple):
    """An API key, without its token."""

    id: UUID
    name: str
    scopes: tuple[Scope, ...]
    created_at: datetime
    last_used_at: datetime | None
    expires_at: datetime | None
    prefix: str
    created_by: UUID | None = None
    """The administrator who created it; None for the command line."""
    age: timedelta | None = None
    """Time since the creation, by the database's clock, at the look-up by token."""
    wal_position: WalPosition | None = None
    """The position of the primary at the look-up by token, if a replica is used."""
