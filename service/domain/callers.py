"""Who makes a request, and what the caller may do."""

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from uuid import UUID

from service.domain.errors import Forbidden, NotFound, PasswordChangeRequired, Unauthenticated
from service.domain.keys import ApiKey, Scope
from service.domain.sessions import AuthenticatedSession
from service.domain.users import UserRole
from service.domain.wal_position import WalPosition


class CallerKind(StrEnum):
    """What stands behind a request; `operator` is somebody at the command line."""

    ANONYMOUS = "anonymous"
    USER = "user"
    KEY = "key"
    OPERATOR = "operator"


@dataclass(frozen=True, slots=True)
class Caller:
    """The authenticated origin of a request. Identity comes from the token alone. Source: CVE-2025-61928."""

    kind: CallerKind
    authenticated_session: AuthenticatedSession | None = None
    key: ApiKey | None = None

    @property
    def id(self) -> UUID | None:
        """The id of the account or key behind the request."""
        if self.authenticated_session is not None:
            return self.authenticated_session.user.id
        return self.key.id if self.key is not None else None

    @property
    def user_id(self) -> UUID | None:
        """The id of the account behind the request, for which `me` stands."""
        return self.authenticated_session.user.id if self.authenticated_session is not None else None

    @property
    def session_id(self) -> UUID | None:
        """The id of the session behind the request."""
        return self.authenticated_session.session.id if self.authenticated_session is not None else None

    @property
    def wal_position(self) -> WalPosition | None:
        """When the caller was authenticated, where a replica is to be measured by it."""
        found = self.authenticated_session or self.key
        return found.wal_position if found is not None else None

    @property
    def is_admin(self) -> bool:
        """Whether this is a session of an administrator."""
        return (
            self.authenticated_session is not None and self.authenticated_session.user.role is UserRole.ADMIN
        )

    @property
    def must_change_password(self) -> bool:
        """Whether this session may do nothing but change its password or log out."""
        return self.authenticated_session is not None and self.authenticated_session.user.must_change

    def has_scope(self, scope: Scope | None) -> bool:
        """Whether this is an API key that carries the right."""
        return self.key is not None and scope is not None and scope in self.key.scopes

    def logged_in_within(self, span: timedelta) -> bool:
        """Whether the log-in behind this session is at most `span` old, by the database's clock."""
        return self.authenticated_session is not None and self.authenticated_session.age <= span


ANONYMOUS = Caller(CallerKind.ANONYMOUS)
OPERATOR = Caller(CallerKind.OPERATOR)


@dataclass(frozen=True, slots=True)
class Access:
    """Who may call an operation; what is not granted is denied. Source: OWASP ASVS 5.0 8.2.1.

    `owner` grants the session of the user the operation is about, `admin` the session of any
    administrator, `scope` an API key that carries it. `public` needs no token and looks at none, unless it is
    `optional`: then a token that is sent counts.
    """

    public: bool = False
    optional: bool = False
    owner: bool = False
    admin: bool = False
    scope: Scope | None = None
    allowed_during_forced_change: bool = False

    def authorize(self, caller: Caller) -> None:
        """Require that the caller may use the operation, whatever its subject.

        Raises:
            Unauthenticated: there is no token, and the operation needs one.
            PasswordChangeRequired: this session may only change its password or log out.
            Forbidden: this caller can never use the operation.
        """
        if self.public and (not self.optional or caller.kind is CallerKind.ANONYMOUS):
            return
        if caller.kind is CallerKind.ANONYMOUS:
            raise Unauthenticated
        if caller.must_change_password and not self.allowed_during_forced_change:
            raise PasswordChangeRequired
        if not (self.public or self._as_privileged(caller) or (self.owner and caller.user_id is not None)):
            raise Forbidden

    def authorize_for(self, caller: Caller, subject_id: UUID) -> None:
        """Require that an authorized caller may use the operation on one user.

        Raises:
            NotFound: the account is another's, and the caller is a plain user; the same answer as for an
                account that never existed. Source: OWASP ASVS 5.0 8.2.2.
            PasswordChangeRequired: this session may only change its own account's password.
        """
        if caller.must_change_password and caller.user_id != subject_id:
            raise PasswordChangeRequired
        if not (self._as_privileged(caller) or (self.owner and caller.user_id == subject_id)):
            raise NotFound

    def _as_privileged(self, caller: Caller) -> bool:
        return (self.admin and caller.is_admin) or caller.has_scope(self.scope)
