"""Log-in sessions, and the devices that logged in before, in SQL."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    ColumnElement,
    Delete,
    Insert,
    Integer,
    Interval,
    LargeBinary,
    Update,
    any_,
    bindparam,
    case,
    delete,
    func,
    insert,
    literal_column,
    select,
    type_coerce,
    update,
)
from sqlalchemy.dialects.postgresql import INTERVAL

from service.db.core.batch_loader import BatchLoader
from service.db.core.read_pool import ReadPool
from service.db.core.statements import ReadQuery, Statement
from service.db.core.wal_position import WAL_POSITION_COLUMNS, WAL_POSITION_WIDTH, wal_position_from
from service.db.repositories.base import ReadExecutor, Repository, page_of, require_row
from service.db.repositories.users import USER_COLUMNS, USER_WIDTH, user_from
from service.db.tables import DeviceRow, SessionRow, UserRow
from service.domain.pages import Keyset, Page
from service.domain.sessions import AuthenticatedSession, Lifetime, Session

SESSION_COLUMNS: tuple[Any, ...] = (
    SessionRow.id,
    SessionRow.user_id,
    SessionRow.created_at,
    SessionRow.last_used_at,
    SessionRow.expires_at,
    SessionRow.idle_expires_at,
    SessionRow.user_agent,
    SessionRow.ip,
)
SESSION_WIDTH = len(SESSION_COLUMNS)
DEVICES_PER_USER = 20
_SENT = ("token_digest", "user_agent", "ip")


@dataclass(frozen=True, slots=True)
class NewSession:
    """A session to be opened; its times are the database's."""

    id: UUID
    user_id: UUID
    token_digest: bytes
    lifetime: Lifetime
    user_agent: str | None
    ip: str | None


def session_from(values: Iterable[Any]) -> Session:
    """Make the entity from the values of `SESSION_COLUMNS`."""
    return Session(*values)


def open_session_from(values: Sequence[Any]) -> AuthenticatedSession:
    """Make the entity from the values of `OPEN_SESSION_COLUMNS`."""
    age, idle_for = values[SESSION_WIDTH + USER_WIDTH :]
    return AuthenticatedSession(
        session_from(values[:SESSION_WIDTH]),
        user_from(values[SESSION_WIDTH : SESSION_WIDTH + USER_WIDTH]),
        age,
        idle_for,
    )


def open_session_as_of_from(values: Sequence[Any]) -> AuthenticatedSession:
    """Make the entity from the values of `OPEN_SESSION_COLUMNS` and `WAL_POSITION_COLUMNS`."""
    return replace(
        open_session_from(values[:-WAL_POSITION_WIDTH]),
        wal_position=wal_position_from(values[-WAL_POSITION_WIDTH:]),
    )


OPEN_SESSION_COLUMNS: tuple[Any, ...] = (
    *SESSION_COLUMNS,
    *USER_COLUMNS,
    type_coerce(func.now() - SessionRow.created_at, INTERVAL).label("age"),
    type_coerce(func.now() - SessionRow.last_used_at, INTERVAL).label("idle_for"),
)


def is_live() -> ColumnElement[bool]:
    """Say when a session counts, by the database's clock. Source: OWASP ASVS 5.0 7.3.1, 7.3.2."""
    return (SessionRow.expires_at > func.now()) & (SessionRow.idle_expires_at > func.now())


_OPEN_BY_DIGESTS = (
    select(*OPEN_SESSION_COLUMNS)
    .join(UserRow, UserRow.id == SessionRow.user_id)
    .where(
        SessionRow.token_digest == any_(bindparam("keys", type_=ARRAY(LargeBinary))),
        is_live(),
        UserRow.state == literal_column("'active'"),
    )
)
_OF_USER = (
    select(*SESSION_COLUMNS)
    .where(SessionRow.user_id == bindparam("user_id"), is_live())
    .order_by(SessionRow.created_at, SessionRow.id)
    .limit(bindparam("row_limit"))
)
_OF_USER_CONTINUED = _OF_USER.where(
    (SessionRow.created_at > bindparam("after_at"))
    | ((SessionRow.created_at == bindparam("after_at")) & (SessionRow.id > bindparam("after_id")))
)
_GET = Statement(select(*SESSION_COLUMNS).where(SessionRow.id == bindparam("id"), is_live()))


def insert_session() -> Insert:
    """Open a session of `values_of`."""
    ttls = (bindparam(name, type_=Interval) for name in ("absolute_ttl", "idle_ttl"))
    expires_at, idle_expires_at = (func.now() + ttl for ttl in ttls)
    values = {name: bindparam(name, type_=SessionRow.__table__.c[name].type) for name in _SENT}
    return (
        insert(SessionRow)
        .values(
            id=bindparam("session_id", type_=SessionRow.id.type),
            user_id=bindparam("of_user", type_=SessionRow.user_id.type),
            expires_at=expires_at,
            idle_expires_at=idle_expires_at,
            **values,
        )
        .returning(*SESSION_COLUMNS)
    )


def values_of(session: NewSession) -> dict[str, Any]:
    """Give what `opening` takes."""
    return {
        "session_id": session.id,
        "of_user": session.user_id,
        "token_digest": session.token_digest,
        "absolute_ttl": session.lifetime.absolute_ttl,
        "idle_ttl": session.lifetime.idle_ttl,
        "user_agent": session.user_agent,
        "ip": session.ip,
    }


def delete_excess_sessions(kept_others: int) -> Delete:
    """End the longest unused sessions of an account beyond `kept_others`; one opened beside is not seen."""
    kept_first = (is_live().desc(), SessionRow.last_used_at.desc(), SessionRow.id.desc())
    others = select(SessionRow.id).where(SessionRow.user_id == bindparam("of_user")).order_by(*kept_first)
    return delete(SessionRow).where(SessionRow.id.in_(others.offset(_literal(kept_others))))


_ADD = Statement(insert_session())
_END = Statement(delete(SessionRow).where(SessionRow.id == bindparam("session_id")))
_of_user = delete(SessionRow).where(SessionRow.user_id == bindparam("of_user"))
_END_ALL = Statement(_of_user)
_END_OTHERS = Statement(_of_user.where(SessionRow.id != bindparam("kept_id")))
_SHORTEN = Statement(
    update(SessionRow)
    .where(SessionRow.user_id == bindparam("of_user"))
    .values(
        expires_at=func.least(
            SessionRow.expires_at, SessionRow.created_at + bindparam("absolute_ttl", type_=Interval)
        ),
        idle_expires_at=func.least(
            SessionRow.idle_expires_at, SessionRow.last_used_at + bindparam("idle_ttl", type_=Interval)
        ),
    )
)
_IDLE_TTL = case(
    (UserRow.role == literal_column("'admin'"), bindparam("admin_idle_ttl", type_=Interval)),
    else_=bindparam("user_idle_ttl", type_=Interval),
)
# The idle end moves by a hundredth of the idle lifetime, or not at all: it is in an index, and an update of
# what is in none (HOT) costs a third. So a session may lie unused for a hundredth less than its lifetime.
_skip_index_update = SessionRow.idle_expires_at.between(
    func.now() + _IDLE_TTL.op("*", return_type=Interval())(literal_column("0.99")), func.now() + _IDLE_TTL
)
_TOUCH = Statement(
    update(SessionRow)
    .where(
        SessionRow.id == func.any(bindparam("ids")),
        SessionRow.user_id == UserRow.id,
        SessionRow.last_used_at < func.now() - bindparam("touch_interval", type_=Interval),
        is_live(),
    )
    .values(
        last_used_at=func.now(),
        idle_expires_at=case((_skip_index_update, SessionRow.idle_expires_at), else_=func.now() + _IDLE_TTL),
    )
)


class SessionRepository(Repository):
    """Sessions inside a transaction."""

    async def add(self, session: NewSession) -> Session:
        """Open a session."""
        return session_from(require_row(await self._db.one(_ADD, values_of(session))))

    async def get(self, session_id: UUID) -> Session | None:
        """Get a live session."""
        row = await self._db.one(_GET, {"id": session_id})
        return session_from(row) if row is not None else None

    async def end(self, session_id: UUID) -> bool:
        """End one session; False when there is none."""
        return await self._db.execute(_END, {"session_id": session_id}) == 1

    async def end_all(self, user_id: UUID, *, kept_id: UUID | None = None) -> int:
        """End the sessions of an account, but for one to be kept; give their number."""
        if kept_id is None:
            return await self._db.execute(_END_ALL, {"of_user": user_id})
        return await self._db.execute(_END_OTHERS, {"of_user": user_id, "kept_id": kept_id})

    async def shorten(self, user_id: UUID, lifetime: Lifetime) -> None:
        """Hold the sessions of an account to a lifetime, as if they had been opened under it."""
        await self._db.execute(
            _SHORTEN,
            {"of_user": user_id, "absolute_ttl": lifetime.absolute_ttl, "idle_ttl": lifetime.idle_ttl},
        )

    async def touch(
        self,
        session_ids: Iterable[UUID],
        *,
        interval: timedelta,
        user_idle_ttl: timedelta,
        admin_idle_ttl: timedelta,
    ) -> int:
        """Note the use of sessions, each at most once an interval. An ended session stays ended."""
        return await self._db.execute(
            _TOUCH,
            {
                "ids": list(session_ids),
                "touch_interval": interval,
                "user_idle_ttl": user_idle_ttl,
                "admin_idle_ttl": admin_idle_ttl,
            },
        )


class SessionReads:
    """Sessions, read in one statement without a transaction."""

    _FIRST_PAGE = ReadQuery(_OF_USER)
    _NEXT_PAGE = ReadQuery(_OF_USER_CONTINUED)

    def __init__(self, read_pool: ReadExecutor) -> None:
        self._read_pool = read_pool

    async def list_page(self, user_id: UUID, *, after: Keyset | None, limit: int) -> Page[Session]:
        """List the live sessions of an account, oldest first."""
        values: dict[str, object] = {"user_id": user_id, "row_limit": limit + 1}
        query = self._FIRST_PAGE
        if after is not None:
            values |= {"after_at": after.at, "after_id": after.id}
            query = self._NEXT_PAGE
        rows = await self._read_pool.fetch_all(query, **values)
        return page_of(
            [session_from(row) for row in rows],
            limit,
            lambda item: Keyset(item.id, at=item.created_at),
        )


class SessionTokenReads(SessionReads):
    """The same, and sessions by their token: from the primary alone, as a log-out has to show at once."""

    _OPEN = ReadQuery(_OPEN_BY_DIGESTS.add_columns(SessionRow.token_digest))
    _OPEN_AS_OF = ReadQuery(_OPEN_BY_DIGESTS.add_columns(*WAL_POSITION_COLUMNS, SessionRow.token_digest))

    def __init__(self, read_pool: ReadPool, *, with_wal_position: bool) -> None:
        super().__init__(read_pool)
        query, self._entity_from = (
            (self._OPEN_AS_OF, open_session_as_of_from)
            if with_wal_position
            else (self._OPEN, open_session_from)
        )
        self._open: BatchLoader[bytes] = BatchLoader(read_pool, query)

    async def find_open(self, token_digest: bytes) -> AuthenticatedSession | None:
        """Find the live session of a token, with its active account."""
        values = await self._open.get(token_digest)
        return self._entity_from(values) if values is not None else None


@dataclass(frozen=True, slots=True)
class Device:
    """A device that somebody logs in from, and its network; without a digest when it is known already."""

    id: UUID
    network: str
    token_digest: bytes | None = None


def insert_device() -> Insert:
    """Remember a device of an account."""
    return insert(DeviceRow).values(
        id=bindparam("device_id", type_=DeviceRow.id.type),
        user_id=bindparam("of_user", type_=DeviceRow.user_id.type),
        token_digest=bindparam("device_digest", type_=DeviceRow.token_digest.type),
        network=bindparam("seen_in", type_=DeviceRow.network.type),
    )


def touch_device() -> Update:
    """Note that a device logged in again, and from where."""
    seen = update(DeviceRow).where(DeviceRow.id == bindparam("device_id"))
    return seen.values(network=bindparam("seen_in"), last_seen_at=func.now())


def delete_excess_devices() -> Delete:
    """Forget the longest unseen devices of an account beyond its limit; one remembered beside is not seen."""
    of_user = select(DeviceRow.id).where(DeviceRow.user_id == bindparam("of_user"))
    kept_first = of_user.order_by(DeviceRow.last_seen_at.desc(), DeviceRow.id.desc())
    return delete(DeviceRow).where(DeviceRow.id.in_(kept_first.offset(_literal(DEVICES_PER_USER - 1))))


def _literal(number: int) -> ColumnElement[int]:
    """Write a number into the statement, where it is an offset.

    PostgreSQL takes a parameter for a tenth of the rows, holds the plan for dear that would serve every
    value, and makes a new one each time: more than half of what a log-in costs there.
    """
    return literal_column(str(number), Integer)


_FORGET_ALL = Statement(delete(DeviceRow).where(DeviceRow.user_id == bindparam("of_user")))


class DeviceRepository(Repository):
    """Known devices inside a transaction."""

    async def forget_all(self, user_id: UUID) -> None:
        """Forget the devices of an account."""
        await self._db.execute(_FORGET_ALL, {"of_user": user_id})
