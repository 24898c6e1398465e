"""Sessions and their lifetimes."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID

from service.domain.factors import Assurance, FactorPolicy, assurance_of
from service.domain.users import User, UserRole
from service.domain.wal_position import WalPosition


class Session(NamedTuple):
    """A session of a user, without its token."""

    id: UUID
    user_id: UUID
    created_at: datetime
    last_used_at: datetime
    expires_at: datetime
    idle_expires_at: datetime
    user_agent: str | None
    ip: str | None
    auth_time: datetime
    """When its user last proved who they are."""
    amr: Sequence[str]
    """How. Source: RFC 8176."""

    @property
    def assurance(self) -> Assurance:
        """How strongly the user was authenticated."""
        return assurance_of(self.amr)


class AuthenticatedSession(NamedTuple):
    """A live session with its user, from one look-up; times by the database's clock."""

    session: Session
    user: User
    age: timedelta
    idle_for: timedelta
    wal_position: WalPosition | None = None
    """The position of the primary at the look-up, if a replica is used."""

    @property
    def auth_age(self) -> timedelta:
        """How long ago the user proved who they are, by the database's clock."""
        return self.age - (self.session.auth_time - self.session.created_at)

    def lacks_factor(self, policy: FactorPolicy) -> bool:
        """Return whether the user needs a second factor, and has none or has not shown it in this session."""
        if not policy.requires(is_admin=self.user.role is UserRole.ADMIN):
            return False
        return not self.user.factors or self.session.assurance < Assurance.TWO_FACTORS


class Lifetime(NamedTuple):
    """The lifetime of sessions of a role: since the last use, and in all."""

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
        """Return the lifetime of sessions of users with this role."""
        return self.admin if role is UserRole.ADMIN else self.user
