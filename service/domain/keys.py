"""API keys: credentials of other services, with the rights they carry."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from service.domain.wal_position import WalPosition

KEY_NAME_MAX = 100


class Scope(StrEnum):
    """A right that an API key can carry."""

    USERS_READ = "users:read"
    USERS_WRITE = "users:write"
    SESSIONS_INTROSPECT = "sessions:introspect"


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A service's credential; the key itself is shown once and never stored."""

    id: UUID
    name: str
    scopes: tuple[Scope, ...]
    created_at: datetime
    last_used_at: datetime | None
    expires_at: datetime | None
    prefix: str
    wal_position: WalPosition | None = None
    """When it was found by its token, where a replica is to be measured by it."""
