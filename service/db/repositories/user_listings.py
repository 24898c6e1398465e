"""Listing and searching users."""

from functools import cache
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Integer,
    Select,
    Text,
    bindparam,
    collate,
    func,
    literal,
    literal_column,
    or_,
    select,
)
from sqlalchemy.orm import InstrumentedAttribute

from service.db.core.statements import Executor
from service.db.repositories.listings import Listing, keyset_page
from service.db.repositories.user_columns import USER
from service.db.tables import UserRow
from service.domain.pages import Keyset, Page, UserFilter, UserSort
from service.domain.users import User, UserRole, UserState, fold_prefix

_LAST_CODE_POINT = 0x10FFFF


def _has_prefix(
    column: ColumnElement[str] | InstrumentedAttribute[str], low: ColumnElement[str]
) -> ColumnElement[bool]:
    """Compare with a range, which an index serves for any parameter; LIKE would need a constant."""
    return column.between(low, low.op("||")(func.chr(literal(_LAST_CODE_POINT, Integer))))


_folded_name = collate(func.fold_name(UserRow.name), "C")
_CONDITIONS: dict[str, ColumnElement[bool]] = {
    "prefix": or_(
        _has_prefix(UserRow.login_id, bindparam("login_prefix", type_=Text)),
        _has_prefix(_folded_name, func.fold_name(bindparam("prefix", type_=Text))),
    ),
    "login_id": UserRow.login_id == bindparam("login_id"),
    "email": UserRow.email == bindparam("email"),
    "external_id": UserRow.external_id == bindparam("external_id"),
    "created_after": UserRow.created_at > bindparam("created_after"),
    "created_before": UserRow.created_at < bindparam("created_before"),
}
_BY_CREATED: dict[str, Any] = {"at": UserRow.created_at, "id": UserRow.id}
_ORDERS: dict[UserSort, dict[str, Any]] = {
    UserSort.CREATED: _BY_CREATED,
    UserSort.CREATED_DESCENDING: _BY_CREATED | {"descending": True},
    UserSort.LOGIN_ID: {"text": UserRow.login_id},
}


@cache
def _listing(
    filters: tuple[str, ...], state: UserState | None, role: UserRole | None, sort: UserSort
) -> Listing[User]:
    """Build a listing, once per combination of filters and sort.

    State and role are literals, so that the partial indexes on the rare ones can serve it.
    """
    statement: Select[Any] = select(*USER).where(*(_CONDITIONS[name] for name in filters))
    if state is not None:
        statement = statement.where(UserRow.state == literal_column(f"'{state.value}'"))
    if role is not None:
        statement = statement.where(UserRow.role == literal_column(f"'{role.value}'"))
    return Listing(USER, *_by_index(statement, filters), **_ORDERS[sort])


def _by_index(statement: Select[Any], filters: tuple[str, ...]) -> tuple[Select[Any], ...]:
    """Return the statement, or the two that each read one of the indexes on addresses."""
    if "email" not in filters:
        return (statement,)
    verified_at = UserRow.email_verified_at
    return statement.where(verified_at.is_not(None)), statement.where(verified_at.is_(None))


async def list_users(
    executor: Executor, wanted: UserFilter, *, sort: UserSort, after: Keyset | None, limit: int
) -> Page[User]:
    """Read a page of the users that match a filter."""
    params = {name: value for name in _CONDITIONS if (value := getattr(wanted, name)) is not None}
    listing = _listing(tuple(params), wanted.state, wanted.role, sort)
    if wanted.prefix is not None:
        params["login_prefix"] = fold_prefix(wanted.prefix)
    return await keyset_page(executor, listing, after=after, limit=limit, **params)
