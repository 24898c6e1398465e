"""Access is decided by the declaration of the operation; what is not declared is denied."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from service.domain.callers import ANONYMOUS, Access, Caller, CallerKind
from service.domain.errors import (
    Forbidden,
    NotFound,
    PasswordChangeRequired,
    RollcallError,
    Unauthenticated,
)
from service.domain.factors import BY_PASSWORD
from service.domain.keys import ApiKey, Scope
from service.domain.sessions import AuthenticatedSession, Session
from service.domain.users import User, UserRole, UserState
from service.security.ids import new_id

NOW = datetime(2026, 1, 1, tzinfo=UTC)
OTHER = new_id()


def session_of(role: UserRole = UserRole.USER, *, must_change: bool = False) -> Caller:
    user = User(new_id(), "ada", "Ada", role, UserState.ACTIVE, must_change, NOW, NOW, None)
    session = Session(new_id(), user.id, NOW, NOW, NOW, NOW, None, None, NOW, BY_PASSWORD)
    authenticated_session = AuthenticatedSession(session, user, timedelta(minutes=1), timedelta())
    return Caller(CallerKind.USER, authenticated_session=authenticated_session)


def key_with(*scopes: Scope) -> Caller:
    return Caller(CallerKind.KEY, key=ApiKey(new_id(), "key", scopes, NOW, None, None, "rck_0000"))


USER, ADMIN, FORCED = session_of(), session_of(UserRole.ADMIN), session_of(UserRole.ADMIN, must_change=True)
READER = key_with(Scope.USERS_READ)
CASES: list[tuple[Access, Caller, type[RollcallError] | None]] = [
    (Access(), ANONYMOUS, Unauthenticated),
    (Access(), USER, Forbidden),
    (Access(), ADMIN, Forbidden),
    (Access(), key_with(*Scope), Forbidden),
    (Access(public=True), ANONYMOUS, None),
    (Access(public=True), FORCED, None),
    (Access(public=True, optional=True), ANONYMOUS, None),
    (Access(public=True, optional=True), USER, None),
    (Access(public=True, optional=True), FORCED, PasswordChangeRequired),
    (Access(owner=True), USER, None),
    (Access(owner=True), ANONYMOUS, Unauthenticated),
    (Access(owner=True), READER, Forbidden),
    (Access(owner=True), FORCED, PasswordChangeRequired),
    (Access(owner=True, allowed_during_forced_change=True), FORCED, None),
    (Access(admin=True), ADMIN, None),
    (Access(admin=True), USER, Forbidden),
    (Access(admin=True), key_with(*Scope), Forbidden),
    (Access(scope=Scope.USERS_READ), READER, None),
    (Access(scope=Scope.USERS_WRITE), READER, Forbidden),
    (Access(scope=Scope.USERS_READ), ADMIN, Forbidden),
]


@pytest.mark.parametrize(("access", "caller", "error"), CASES)
def test_authorize_follows_the_declaration(
    access: Access, caller: Caller, error: type[RollcallError] | None
) -> None:
    if error is None:
        access.authorize(caller)
        return
    with pytest.raises(error):
        access.authorize(caller)


@pytest.mark.parametrize(
    ("access", "caller", "subject_id", "error"),
    [
        (Access(owner=True), USER, USER.user_id, None),
        (Access(owner=True), USER, OTHER, NotFound),
        (Access(owner=True), ADMIN, OTHER, NotFound),
        (Access(owner=True, admin=True), ADMIN, OTHER, None),
        (Access(owner=True, admin=True), FORCED, FORCED.user_id, None),
        (Access(owner=True, admin=True), FORCED, OTHER, PasswordChangeRequired),
        (Access(owner=True, scope=Scope.USERS_READ), READER, OTHER, None),
        (Access(owner=True, scope=Scope.USERS_WRITE), READER, OTHER, NotFound),
    ],
)
def test_authorize_for_another_user_raises_not_found_unless_declared(
    access: Access, caller: Caller, subject_id: UUID, error: type[RollcallError] | None
) -> None:
    if error is None:
        access.authorize_for(caller, subject_id)
        return
    with pytest.raises(error):
        access.authorize_for(caller, subject_id)
