"""The columns of a user, and its password hash while that can be used."""

from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Interval, bindparam, case, func

from service.db.core.columns import Columns, values
from service.db.tables import UserRow
from service.domain.users import User, UserRole, UserState

_ROLES = {role.value: role for role in UserRole}
_STATES = {state.value: state for state in UserState}


def _user(id_: UUID, login_id: str, name: str, role: str, state: str, *others: Any) -> User:
    return User(id_, login_id, name, _ROLES[role], _STATES[state], *others)


USER = Columns(
    _user,
    UserRow.id,
    UserRow.login_id,
    UserRow.name,
    UserRow.role,
    UserRow.state,
    UserRow.must_change,
    UserRow.created_at,
    UserRow.updated_at,
    UserRow.last_login_at,
    UserRow.email,
    UserRow.email_verified_at,
    UserRow.pending_email,
    UserRow.locale,
    UserRow.external_id,
    UserRow.metadata_,
    UserRow.password_changed_at,
    UserRow.factors,
)
USER_WITH_HASH: Columns[tuple[User, str | None]] = Columns(values, USER, UserRow.password_hash)


def usable_hash() -> ColumnElement[str | None]:
    """Return the password hash, or null once a password that must be changed has not been for too long.

    Source: OWASP ASVS 5.0 6.4.1.
    """
    set_at = func.coalesce(UserRow.password_changed_at, UserRow.updated_at)
    is_expired = UserRow.must_change & (set_at <= func.now() - bindparam("temporary_ttl", type_=Interval))
    return case((~is_expired, UserRow.password_hash)).label("password_hash")
