"""Log-in sessions: their entity and how long they live."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from service.domain.users import User, UserRole
from service.domain.wal_position import WalPosition


@dataclass(frozen=True, slots=True)
class Session:
    """One log-in of one account; the token itself is known to its holder only."""

    id: UUID
    user_id: UUID
    created_at: datetime
    last_used_at: datetime
    expires_at: datetime
    idle_expires_at: datetime
    user_agent: str | None
    ip: str | None


@dataclass(frozen=True, slots=True)
class AuthenticatedSession:
    """A live session with its account, as one look-up found them, by the database's clock."""

    session: Session
    user: User
    age: timedelta
    idle_for: timedelta
    wal_position: WalPosition | None = None
    """When that was, where a replica is to be measured by it."""


@dataclass(frozen=True, slots=True)
class Lifetime:
    """How long a session of some role may lie unused, and how long it lives at all."""

    idle_ttl: timedelta
    absolute_ttl: timedelta


@dataclass(frozen=True, slots=True)
class SessionPolicy:
    """The limits of sessions. Source: NIST SP 800-63B-4 2.1.3, 2.2.3; OWASP ASVS 5.0 7.1.1, 7.3.1, 7.3.2."""

    user: Lifetime
    admin: Lifetime
    step_up_ttl: timedelta
    per_user: int
    touch_interval: timedelta

    def lifetime_of(self, role: UserRole) -> Lifetime:
        """Give the lifetime of sessions of accounts with this role."""
        return self.admin if role is UserRole.ADMIN else self.user
