"""Accounts in SQL."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    ColumnElement,
    Integer,
    Select,
    Text,
    bindparam,
    collate,
    delete,
    func,
    insert,
    literal,
    literal_column,
    or_,
    select,
    tuple_,
    update,
)
from sqlalchemy.dialects.postgresql import insert as pg_insert
from sqlalchemy.orm import InstrumentedAttribute

from service.db.core.statements import ReadQuery, Statement
from service.db.repositories.base import ReadExecutor, Repository, page_of, require_row
from service.db.tables import UserRow
from service.domain.pages import Keyset, Page, UserFilter, UserSort
from service.domain.users import User, UserPatch, UserRole, UserState

USER_COLUMNS: tuple[Any, ...] = (
    UserRow.id,
    UserRow.login_id,
    UserRow.name,
    UserRow.role,
    UserRow.state,
    UserRow.must_change,
    UserRow.created_at,
    UserRow.updated_at,
    UserRow.last_login_at,
)
USER_WIDTH = len(USER_COLUMNS)
_ROLES = {role.value: role for role in UserRole}
_STATES = {state.value: state for state in UserState}
_LAST_CODE_POINT = 0x10FFFF


@dataclass(frozen=True, slots=True)
class NewUser:
    """An account to be added; timestamps are the database's."""

    id: UUID
    login_id: str
    name: str
    password_hash: str | None
    role: UserRole = UserRole.USER
    state: UserState = UserState.ACTIVE
    must_change: bool = False


def user_from(values: Iterable[Any]) -> User:
    """Make the entity from the values of `USER_COLUMNS`."""
    id_, login_id, name, role, state, must_change, created_at, updated_at, last_login_at = values
    return User(
        id_, login_id, name, _ROLES[role], _STATES[state], must_change, created_at, updated_at, last_login_at
    )


_ANY = Statement(select(UserRow.id).limit(1))
_by_id = select(*USER_COLUMNS).where(UserRow.id == bindparam("id"))
_BY_ID = ReadQuery(_by_id)
_BY_ID_LOCKED = Statement(_by_id.with_for_update(key_share=True))
_WITH_HASH_LOCKED = Statement(_by_id.add_columns(UserRow.password_hash).with_for_update(key_share=True))
_BY_LOGIN_ID = Statement(select(*USER_COLUMNS).where(UserRow.login_id == bindparam("login_id")))
_CREDENTIALS = (
    select(*USER_COLUMNS, UserRow.password_hash)
    .where(UserRow.id > bindparam("after_id"))
    .order_by(UserRow.id)
    .limit(bindparam("row_limit"))
)
_ACTIVE_ADMINS = Statement(
    select(UserRow.id)
    .where(UserRow.role == literal_column("'admin'"), UserRow.state == literal_column("'active'"))
    .order_by(UserRow.id)
    .with_for_update(key_share=True)
)
_NEW = ("id", "login_id", "name", "password_hash", "role", "state", "must_change")
_ADD = Statement(insert(UserRow).returning(*USER_COLUMNS), *_NEW)
_ADD_MANY = Statement(
    pg_insert(UserRow)
    .from_select(
        _NEW,
        select(*(func.unnest(bindparam(name, type_=ARRAY(UserRow.__table__.c[name].type))) for name in _NEW)),
    )
    .on_conflict_do_nothing()
    .returning(UserRow.id)
)
_DELETE = Statement(delete(UserRow).where(UserRow.id == bindparam("user_id")))
_SET_PASSWORD = Statement(
    update(UserRow)
    .where(UserRow.id == bindparam("user_id"))
    .values(password_hash=bindparam("new_hash"), must_change=bindparam("new_must_change"))
)
_RENEW_HASH = Statement(
    update(UserRow)
    .where(UserRow.id == bindparam("user_id"), UserRow.password_hash == bindparam("verified_hash"))
    .values(password_hash=bindparam("new_hash"))
)


_CHANGEABLE = ("name", "login_id", "role", "state")


@cache
def _change_of(names: tuple[str, ...]) -> Statement:
    """Build the statement of a change once per combination of what it names."""
    changed = update(UserRow).where(UserRow.id == bindparam("user_id")).returning(*USER_COLUMNS)
    return Statement(changed, *names)


class UserRepository(Repository):
    """Accounts inside a transaction."""

    async def add(self, user: NewUser) -> User:
        """Add an account.

        Raises:
            LoginIdTaken: another account has the login id (when the unit of work ends).
        """
        row = await self._db.one(
            _ADD,
            {
                "id": user.id,
                "login_id": user.login_id,
                "name": user.name,
                "password_hash": user.password_hash,
                "role": user.role.value,
                "state": user.state.value,
                "must_change": user.must_change,
            },
        )
        return user_from(require_row(row))

    async def add_many(self, users: Sequence[NewUser]) -> list[UUID]:
        """Add those accounts whose id and login id nobody has, and give their ids."""
        values: dict[str, list[Any]] = {name: [getattr(user, name) for user in users] for name in _NEW}
        return [row[0] for row in await self._db.all(_ADD_MANY, values)]

    async def get(self, user_id: UUID) -> User | None:
        """Get an account."""
        row = await self._db.one(_BY_ID, {"id": user_id})
        return user_from(row) if row is not None else None

    async def get_by_login_id(self, login_id: str) -> User | None:
        """Get an account by its canonical login id."""
        row = await self._db.one(_BY_LOGIN_ID, {"login_id": login_id})
        return user_from(row) if row is not None else None

    async def is_empty(self) -> bool:
        """Whether there is no account at all."""
        return await self._db.one(_ANY) is None

    async def get_for_update(self, user_id: UUID) -> User | None:
        """Get an account and keep others from changing it.

        Locks: the account, until the transaction ends.
        """
        row = await self._db.one(_BY_ID_LOCKED, {"id": user_id})
        return user_from(row) if row is not None else None

    async def get_hash_for_update(self, user_id: UUID) -> tuple[User, str | None] | None:
        """Get an account with its password hash.

        Locks: the account, until the transaction ends.
        """
        row = await self._db.one(_WITH_HASH_LOCKED, {"id": user_id})
        return (user_from(row[:USER_WIDTH]), row[USER_WIDTH]) if row is not None else None

    async def lock_active_admins(self) -> set[UUID]:
        """Give the ids of all active administrators.

        Locks: these accounts, in the order of their ids.
        """
        return {row[0] for row in await self._db.all(_ACTIVE_ADMINS)}

    async def change(self, user_id: UUID, change: UserPatch) -> User:
        """Change what the change names; the account has to be locked.

        Raises:
            LoginIdTaken: another account has the new login id (when the unit of work ends).
        """
        values = {name: value for name in _CHANGEABLE if (value := getattr(change, name)) is not None}
        row = await self._db.one(_change_of(tuple(values)), {"user_id": user_id, **values})
        return user_from(require_row(row))

    async def set_password(self, user_id: UUID, password_hash: str, *, must_change: bool) -> None:
        """Replace the password hash."""
        await self._db.execute(
            _SET_PASSWORD, {"user_id": user_id, "new_hash": password_hash, "new_must_change": must_change}
        )

    async def renew_hash(self, user_id: UUID, *, verified_hash: str, new_hash: str) -> None:
        """Put another hash of the same password in the place of the one it was verified against."""
        await self._db.execute(
            _RENEW_HASH, {"user_id": user_id, "verified_hash": verified_hash, "new_hash": new_hash}
        )

    async def delete(self, user_id: UUID) -> bool:
        """Delete an account and everything that hangs on it; False when there is none."""
        return await self._db.execute(_DELETE, {"user_id": user_id}) == 1


class UserReads:
    """Accounts, read in one statement without a transaction."""

    _CREDENTIALS = ReadQuery(_CREDENTIALS)

    def __init__(self, read_pool: ReadExecutor) -> None:
        self._read_pool = read_pool

    async def get(self, user_id: UUID) -> User | None:
        """Get an account."""
        row = await self._read_pool.fetch_one(_BY_ID, id=user_id)
        return user_from(row) if row is not None else None

    async def list_credentials(self, *, after_id: UUID, limit: int) -> list[tuple[User, str | None]]:
        """List accounts with their password hashes in the order of their ids, from after one on."""
        rows = [
            tuple(row)
            for row in await self._read_pool.fetch_all(self._CREDENTIALS, after_id=after_id, row_limit=limit)
        ]
        return [(user_from(row[:USER_WIDTH]), row[USER_WIDTH]) for row in rows]

    async def list_page(
        self, wanted: UserFilter, *, sort: UserSort, after: Keyset | None, limit: int
    ) -> Page[User]:
        """List accounts along an index, from after a position on."""
        values: dict[str, object] = {"row_limit": limit + 1}
        for name in ("prefix", "login_id", "created_after", "created_before"):
            if (value := getattr(wanted, name)) is not None:
                values[name] = value
        filters = frozenset(values) - {"row_limit"}
        if after is not None:
            values |= _position_values(sort, after)
        query = _listing(filters, wanted.state, wanted.role, sort, after is not None)
        rows = await self._read_pool.fetch_all(query, **values)
        return page_of([user_from(row) for row in rows], limit, _position_in(sort))


def _position_in(sort: UserSort) -> Any:
    if sort is UserSort.LOGIN_ID:
        return lambda user: Keyset(user.id, text=user.login_id)
    return lambda user: Keyset(user.id, at=user.created_at)


def _position_values(sort: UserSort, after: Keyset) -> dict[str, object]:
    if sort is UserSort.LOGIN_ID:
        return {"after_login_id": after.text}
    return {"after_at": after.at, "after_id": after.id}


@cache
def _listing(
    filters: frozenset[str],
    state: UserState | None,
    role: UserRole | None,
    sort: UserSort,
    is_continued: bool,
) -> ReadQuery:
    """Build the statement of a listing once per combination of what it filters and sorts by.

    State and role stand in it as literals, so that the partial indexes on the rare ones can serve it.
    """
    statement: Select[Any] = select(*USER_COLUMNS).limit(bindparam("row_limit"))
    statement = statement.where(*(_CONDITIONS[name] for name in sorted(filters)))
    if state is not None:
        statement = statement.where(UserRow.state == literal_column(f"'{state.value}'"))
    if role is not None:
        statement = statement.where(UserRow.role == literal_column(f"'{role.value}'"))
    return ReadQuery(_sorted(statement, sort, is_continued))


def _sorted(statement: Select[Any], sort: UserSort, is_continued: bool) -> Select[Any]:
    if sort is UserSort.LOGIN_ID:
        if is_continued:
            statement = statement.where(UserRow.login_id > bindparam("after_login_id"))
        return statement.order_by(UserRow.login_id)
    place = tuple_(UserRow.created_at, UserRow.id)
    start = tuple_(
        bindparam("after_at", type_=UserRow.created_at.type), bindparam("after_id", type_=UserRow.id.type)
    )
    if sort is UserSort.CREATED:
        statement = statement.where(place > start) if is_continued else statement
        return statement.order_by(UserRow.created_at, UserRow.id)
    statement = statement.where(place < start) if is_continued else statement
    return statement.order_by(UserRow.created_at.desc(), UserRow.id.desc())


def _has_prefix(column: ColumnElement[str] | InstrumentedAttribute[str]) -> ColumnElement[bool]:
    """Ask for a prefix as a range, which an index serves for any parameter; LIKE would need a constant."""
    low = func.lower(bindparam("prefix", type_=Text))
    return column.between(low, low.op("||")(func.chr(literal(_LAST_CODE_POINT, Integer))))


_CONDITIONS: dict[str, ColumnElement[bool]] = {
    "prefix": or_(_has_prefix(UserRow.login_id), _has_prefix(collate(func.lower(UserRow.name), "C"))),
    "login_id": UserRow.login_id == bindparam("login_id"),
    "created_after": UserRow.created_at > bindparam("created_after"),
    "created_before": UserRow.created_at < bindparam("created_before"),
}
