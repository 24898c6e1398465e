"""Users."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import cache
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    Boolean,
    Text,
    Uuid,
    any_,
    bindparam,
    case,
    column,
    delete,
    func,
    insert,
    literal_column,
    null,
    or_,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import insert as pg_insert

from service.db.core.statements import Statement
from service.db.repositories.base import ReadRepository, Repository, require_row
from service.db.repositories.user_columns import USER, USER_WITH_HASH, usable_hash
from service.db.repositories.user_listings import list_users
from service.db.tables import UserRow
from service.domain.details import NO_METADATA
from service.domain.pages import Keyset, Page, UserFilter, UserSort
from service.domain.users import User, UserPatch, UserRole, UserState


class NewUser(NamedTuple):
    """A user to add; its timestamps are set by the database."""

    id: UUID
    login_id: str
    name: str
    password_hash: str | None
    role: UserRole = UserRole.USER
    state: UserState = UserState.ACTIVE
    must_change: bool = False
    email: str | None = None
    email_verified: bool = False
    locale: str | None = None
    external_id: str | None = None
    metadata: Mapping[str, Any] = NO_METADATA


class ImportedUser(NamedTuple):
    """A user of another system, with its timestamps there; without `created_at` it begins here."""

    user: NewUser
    created_at: datetime | None = None
    last_login_at: datetime | None = None


_ANY = Statement(select(UserRow.id).limit(1))
_by_id = select(*USER).where(UserRow.id == bindparam("id"))
_GET = Statement(_by_id)
_GET_MANY = Statement(select(*USER).where(UserRow.id == any_(bindparam("ids", type_=ARRAY(Uuid)))))
_GET_FOR_UPDATE = Statement(_by_id.with_for_update(key_share=True))
_GET_HASH_FOR_UPDATE = Statement(_by_id.add_columns(usable_hash()).with_for_update(key_share=True))
_GET_BY_LOGIN_ID = Statement(select(*USER).where(UserRow.login_id == bindparam("login_id")))
_LIST_CREDENTIALS = Statement(
    select(*USER_WITH_HASH)
    .where(UserRow.id > bindparam("after_id"))
    .order_by(UserRow.id)
    .limit(bindparam("row_limit"))
)
_can_log_in = (UserRow.password_hash.is_not(None) & ~UserRow.must_change).label("can_log_in")
_LOCK_ACTIVE_ADMINS = Statement(
    select(UserRow.id, _can_log_in)
    .where(UserRow.role == literal_column("'admin'"), UserRow.state == literal_column("'active'"))
    .order_by(UserRow.id)
    .with_for_update(key_share=True)
)
_NEW = (
    "id",
    "login_id",
    "name",
    "password_hash",
    "role",
    "state",
    "must_change",
    "email",
    "locale",
    "external_id",
    "metadata",
)
_columns = UserRow.__table__.c
_password_changed_at = case((bindparam("has_password", type_=Boolean), func.now()))
_ADD = Statement(
    insert(UserRow)
    .values(
        {name: bindparam(name, type_=_columns[name].type) for name in _NEW}
        | {
            "password_changed_at": _password_changed_at,
            "email_verified_at": case((bindparam("email_verified", type_=Boolean), func.now())),
        }
    )
    .returning(*USER)
)
_IMPORTED = (*_NEW, "created_at", "last_login_at")
_line_types = {name: _columns[name].type for name in _IMPORTED} | {"email_verified": Boolean()}
_lines = (
    func.unnest(*(bindparam(name, type_=ARRAY(type_)) for name, type_ in _line_types.items()))
    .table_valued(*(column(name, type_) for name, type_ in _line_types.items()), name="lines")
    .render_derived()
)
_ADD_MANY = Statement(
    pg_insert(UserRow)
    .from_select(
        (*_IMPORTED, "email_verified_at"),
        select(
            *(_lines.c[name] for name in _NEW),
            func.coalesce(_lines.c.created_at, func.now()),
            _lines.c.last_login_at,
            case((_lines.c.email_verified, func.now())),
        ),
    )
    .on_conflict_do_nothing()
    .returning(UserRow.id, UserRow.login_id)
)
_FIND_OWNERS = Statement(
    select(UserRow.id, UserRow.login_id).where(
        or_(
            UserRow.id == any_(bindparam("ids", type_=ARRAY(Uuid))),
            UserRow.login_id == any_(bindparam("login_ids", type_=ARRAY(Text))),
        )
    )
)
_DELETE = Statement(delete(UserRow).where(UserRow.id == bindparam("user_id")))
_SET_PASSWORD = Statement(
    update(UserRow)
    .where(UserRow.id == bindparam("user_id"))
    .values(
        password_hash=bindparam("new_hash"),
        must_change=bindparam("new_must_change"),
        password_changed_at=func.now(),
        pending_email=null(),
    )
)
_REHASH = Statement(
    update(UserRow)
    .where(UserRow.id == bindparam("user_id"), UserRow.password_hash == bindparam("verified_hash"))
    .values(password_hash=bindparam("new_hash"))
)
_CHANGEABLE = ("name", "login_id", "role", "state")


@cache
def _change(names: tuple[str, ...]) -> Statement:
    """Build the update of some columns, once per combination."""
    changed = update(UserRow).where(UserRow.id == bindparam("user_id")).returning(*USER)
    return Statement(changed, *names)


class UserReads(ReadRepository):
    """Reads of users."""

    async def get(self, user_id: UUID) -> User | None:
        """Return a user."""
        return USER.decode_optional(await self._executor.fetch_one(_GET, id=user_id))

    async def get_many(self, user_ids: Iterable[UUID]) -> list[User]:
        """Return the users with these ids in their order, each once; unknown ids are left out."""
        ids = list(dict.fromkeys(user_ids))
        users = map(USER.decode, await self._executor.fetch_all(_GET_MANY, ids=ids))
        by_id = {user.id: user for user in users}
        return [by_id[user_id] for user_id in ids if user_id in by_id]

    async def get_by_login_id(self, login_id: str) -> User | None:
        """Return the user with a canonical login id."""
        return USER.decode_optional(await self._executor.fetch_one(_GET_BY_LOGIN_ID, login_id=login_id))

    async def is_empty(self) -> bool:
        """Return whether there is no user at all."""
        return await self._executor.fetch_one(_ANY) is None

    async def list_credentials(self, *, after_id: UUID, limit: int) -> list[tuple[User, str | None]]:
        """List users with their password hashes in the order of their ids, starting after one."""
        rows = await self._executor.fetch_all(_LIST_CREDENTIALS, after_id=after_id, row_limit=limit)
        return [USER_WITH_HASH.decode(row) for row in rows]

    async def list_page(
        self, wanted: UserFilter, *, sort: UserSort, after: Keyset | None, limit: int
    ) -> Page[User]:
        """List the users that match a filter."""
        return await list_users(self._executor, wanted, sort=sort, after=after, limit=limit)


class UserRepository(UserReads, Repository):
    """Users inside a transaction."""

    async def add(self, user: NewUser) -> User:
        """Insert a user.

        Raises:
            LoginIdTaken: another user has the login id (raised when the transaction ends).
        """
        params = {name: getattr(user, name) for name in (*_NEW, "email_verified")}
        params |= {"role": user.role.value, "state": user.state.value}
        params["has_password"] = user.password_hash is not None
        return USER.decode(require_row(await self._tx.fetch_one(_ADD, **params)))

    async def add_many(self, imported: Sequence[ImportedUser]) -> dict[UUID, str]:
        """Insert the users whose id and login id are free; return their login ids by their ids."""
        params: dict[str, list[Any]] = {
            **{name: [getattr(each.user, name) for each in imported] for name in (*_NEW, "email_verified")},
            **{name: [getattr(each, name) for each in imported] for name in ("created_at", "last_login_at")},
        }
        return {row[0]: row[1] for row in await self._tx.fetch_all(_ADD_MANY, **params)}

    async def find_owners(self, users: Sequence[NewUser]) -> dict[UUID, str]:
        """Return the login ids of the users who have an id or a login id of these, by their ids."""
        ids, login_ids = [user.id for user in users], [user.login_id for user in users]
        rows = await self._tx.fetch_all(_FIND_OWNERS, ids=ids, login_ids=login_ids)
        return {row[0]: row[1] for row in rows}

    async def get_for_update(self, user_id: UUID) -> User | None:
        """Return a user and lock it.

        Locks: the user, until the transaction ends.
        """
        return USER.decode_optional(await self._tx.fetch_one(_GET_FOR_UPDATE, id=user_id))

    async def get_hash_for_update(
        self, user_id: UUID, *, temporary_ttl: timedelta
    ) -> tuple[User, str | None] | None:
        """Return a user with the usable password hash.

        Locks: the user, until the transaction ends.
        """
        row = await self._tx.fetch_one(_GET_HASH_FOR_UPDATE, id=user_id, temporary_ttl=temporary_ttl)
        return USER_WITH_HASH.decode_optional(row)

    async def lock_active_admins(self) -> set[UUID]:
        """Return the ids of the active administrators that can log in with a password of their own.

        Locks: all active administrators, in the order of their ids.
        """
        return {row.id for row in await self._tx.fetch_all(_LOCK_ACTIVE_ADMINS) if row.can_log_in}

    async def change(self, user_id: UUID, change: UserPatch) -> User:
        """Update the fields that a patch names; the user has to be locked.

        Raises:
            LoginIdTaken: another user has the new login id (raised when the transaction ends).
        """
        params = {name: value for name in _CHANGEABLE if (value := getattr(change, name)) is not None}
        row = await self._tx.fetch_one(_change(tuple(params)), user_id=user_id, **params)
        return USER.decode(require_row(row))

    async def set_password(self, user_id: UUID, password_hash: str, *, must_change: bool) -> None:
        """Replace the password hash, and forget an address that a session has asked for."""
        await self._tx.execute(
            _SET_PASSWORD, user_id=user_id, new_hash=password_hash, new_must_change=must_change
        )

    async def rehash(self, user_id: UUID, *, verified_hash: str, new_hash: str) -> None:
        """Replace the hash that a password was verified against, unless it has changed since."""
        await self._tx.execute(_REHASH, user_id=user_id, verified_hash=verified_hash, new_hash=new_hash)

    async def delete(self, user_id: UUID) -> bool:
        """Delete a user with everything that belongs to it; return False if there is none."""
        return await self._tx.execute(_DELETE, user_id=user_id) == 1
