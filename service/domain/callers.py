"""The caller of an operation and its rights."""

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import NamedTuple
from uuid import UUID

from service.domain.errors import (
    FactorEnrollmentRequired,
    Forbidden,
    NotFound,
    PasswordChangeRequired,
    ReauthenticationRequired,
    Unauthenticated,
)
from service.domain.keys import ApiKey, Scope
from service.domain.sessions import AuthenticatedSession
from service.domain.users import User, UserRole
from service.domain.wal_position import WalPosition


class CallerKind(StrEnum):
    """The kind of a caller; `operator` is the command line."""

    ANONYMOUS = "anonymous"
    USER = "user"
    KEY = "key"
    OPERATOR = "operator"


class Caller(NamedTuple):
    """An authenticated caller. Its identity comes from the token alone. Source: CVE-2025-61928."""

    kind: CallerKind
    authenticated_session: AuthenticatedSession | None = None
    key: ApiKey | None = None
    lacks_factor: bool = False
    """Whether the user needs a second factor, and has none or has not shown it in this session."""

    @property
    def user(self) -> User | None:
        """The user of the session."""
        return self.authenticated_session.user if self.authenticated_session is not None else None

    @property
    def user_id(self) -> UUID | None:
        """The id of the user, for which `me` stands."""
        return self.authenticated_session.user.id if self.authenticated_session is not None else None

    @property
    def id(self) -> UUID | None:
        """The id of the user or of the API key."""
        return self.key.id if self.key is not None else self.user_id

    @property
    def session_id(self) -> UUID | None:
        """The id of the session."""
        return self.authenticated_session.session.id if self.authenticated_session is not None else None

    @property
    def wal_position(self) -> WalPosition | None:
        """The position of the primary at authentication; a replica that serves the caller has reached it."""
        credential = self.authenticated_session or self.key
        return credential.wal_position if credential is not None else None

    @property
    def is_admin(self) -> bool:
        """Whether the user is an administrator."""
        user = self.user
        return user is not None and user.role is UserRole.ADMIN

    @property
    def must_change_password(self) -> bool:
        """Whether the session may do nothing but change its password or log out."""
        user = self.user
        return user is not None and user.must_change

    def has_scope(self, scope: Scope | None) -> bool:
        """Return whether the API key carries the scope."""
        return self.key is not None and scope is not None and scope in self.key.scopes

    def require_recent_login(self, ttl: timedelta) -> None:
        """Require that a session was logged in at most `ttl` ago, by the database's clock.

        Raises:
            ReauthenticationRequired: its login is older. Source: OWASP ASVS 5.0 7.5.1, 7.5.2.
        """
        if self.authenticated_session is not None and self.authenticated_session.auth_age > ttl:
            raise ReauthenticationRequired

    def require_authority_over(self, *roles: UserRole) -> None:
        """Require that an API key may change users of these roles.

        Raises:
            Forbidden: one is an administrator, and the key lacks `admins:write`.
        """
        if UserRole.ADMIN in roles and self.key is not None and not self.has_scope(Scope.ADMINS_WRITE):
            raise Forbidden("To change an administrator, or to make one, a key needs admins:write.")


ANONYMOUS = Caller(CallerKind.ANONYMOUS)
OPERATOR = Caller(CallerKind.OPERATOR)


@dataclass(frozen=True, slots=True)
class Access:
    """The callers that may use an operation; everything else is denied. Source: OWASP ASVS 5.0 8.2.1.

    `owner` grants access to the user that the operation concerns, `admin` to every administrator, `scope` to
    API keys that carry it, `any_key` to all of them. `public` needs no token and ignores one; with
    `optional`, a token counts. `fresh` needs a recent login of a session, `fresh_for_others` only if it
    concerns another user. `allowed_during_forced_change` and `allowed_during_enrollment`: a session that may
    only change its password, or only enrol a second factor or change its password, may use it.
    """

    public: bool = False
    optional: bool = False
    owner: bool = False
    admin: bool = False
    scope: Scope | None = None
    any_key: bool = False
    allowed_during_forced_change: bool = False
    allowed_during_enrollment: bool = False
    fresh: bool = False
    fresh_for_others: bool = False

    def authorize(self, caller: Caller) -> None:
        """Check that the caller may use the operation, whatever it concerns.

        Raises:
            Unauthenticated: the operation needs a token.
            PasswordChangeRequired: the session may only change its password or log out.
            FactorEnrollmentRequired: the session may only enrol a factor, change its password or log out.
            Forbidden: the caller can never use the operation.
        """
        is_anonymous = caller.kind is CallerKind.ANONYMOUS
        if self.public and (is_anonymous or not self.optional):
            return
        if is_anonymous:
            raise Unauthenticated
        if caller.must_change_password and not self.allowed_during_forced_change:
            raise PasswordChangeRequired
        if caller.lacks_factor and not (self.allowed_during_enrollment or self.allowed_during_forced_change):
            raise FactorEnrollmentRequired
        if not (self.public or self._grants(caller, is_owner=caller.user_id is not None)):
            raise Forbidden

    def authorize_for(self, caller: Caller, subject_id: UUID) -> None:
        """Check that a caller who may use the operation may use it for this user.

        Raises:
            NotFound: the caller may not access this user; the same as for one that does not exist.
                Source: OWASP ASVS 5.0 8.2.2.
            PasswordChangeRequired: the session may only change its own password.
        """
        if caller.must_change_password and caller.user_id != subject_id:
            raise PasswordChangeRequired
        if not self._grants(caller, is_owner=caller.user_id == subject_id):
            raise NotFound

    def require_recent_login(self, caller: Caller, subject_id: UUID | None, ttl: timedelta) -> None:
        """Check that the login of an authorized caller is recent enough for this user.

        Raises:
            ReauthenticationRequired: it is older than `ttl`.
        """
        if self.fresh or (self.fresh_for_others and caller.user_id != subject_id):
            caller.require_recent_login(ttl)

    def _grants(self, caller: Caller, *, is_owner: bool) -> bool:
        if caller.key is not None:
            return self.any_key or caller.has_scope(self.scope)
        return (self.owner and is_owner) or (self.admin and caller.is_admin)
