"""Log-in sessions, and the devices that logged in before, in SQL."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    Interval,
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

from service.db.read_lane import ReadLane
from service.db.repositories.base import Repository, page_of
from service.db.repositories.users import USER_COLUMNS, USER_WIDTH, user_from
from service.db.statements import ReadQuery, Statement
from service.db.tables import DeviceRow, SessionRow, UserRow
from service.domain.pages import Page, Position
from service.domain.sessions import Lifetime, OpenSession, Session

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


def open_session_from(values: Sequence[Any]) -> OpenSession:
    """Make the entity from the values of `OPEN_SESSION_COLUMNS`."""
    age, idle_for = values[SESSION_WIDTH + USER_WIDTH :]
    return OpenSession(
        session_from(values[:SESSION_WIDTH]),
        user_from(values[SESSION_WIDTH : SESSION_WIDTH + USER_WIDTH]),
        age,
        idle_for,
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


_OPEN_BY_DIGEST = (
    select(*OPEN_SESSION_COLUMNS)
    .join(UserRow, UserRow.id == SessionRow.user_id)
    .where(
        SessionRow.token_digest == bindparam("token_digest"),
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
_ADD = Statement(
    insert(SessionRow)
    .values(
        expires_at=func.now() + bindparam("absolute_ttl", type_=Interval),
        idle_expires_at=func.now() + bindparam("idle_ttl", type_=Interval),
    )
    .returning(*SESSION_COLUMNS),
    "id", "user_id", "token_digest", "user_agent", "ip",
)  # fmt: skip
_END = Statement(delete(SessionRow).where(SessionRow.id == bindparam("session_id")))
_of_user = delete(SessionRow).where(SessionRow.user_id == bindparam("of_user"))
_END_ALL = Statement(_of_user)
_END_OTHERS = Statement(_of_user.where(SessionRow.id != bindparam("kept_id")))
_EVICT = Statement(
    delete(SessionRow).where(
        SessionRow.id.in_(
            select(SessionRow.id)
            .where(SessionRow.user_id == bindparam("of_user"))
            .order_by(is_live().desc(), SessionRow.last_used_at.desc(), SessionRow.id.desc())
            .offset(bindparam("kept_count"))
        )
    )
)
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
        idle_expires_at=func.now()
        + case(
            (UserRow.role == literal_column("'admin'"), bindparam("admin_idle_ttl", type_=Interval)),
            else_=bindparam("user_idle_ttl", type_=Interval),
        ),
    )
)


class SessionRepository(Repository):
    """Sessions inside a transaction."""

    async def add(self, session: NewSession) -> Session:
        """Open a session."""
        row = await self._db.one(
            _ADD,
            {
                "id": session.id,
                "user_id": session.user_id,
                "token_digest": session.token_digest,
                "absolute_ttl": session.lifetime.absolute_ttl,
                "idle_ttl": session.lifetime.idle_ttl,
                "user_agent": session.user_agent,
                "ip": session.ip,
            },
        )
        if row is None:
            raise RuntimeError("an insert gave no row")
        return session_from(row)

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

    async def evict(self, user_id: UUID, *, kept_count: int) -> int:
        """End the longest unused sessions beyond `kept_count`; the account has to be locked."""
        return await self._db.execute(_EVICT, {"of_user": user_id, "kept_count": kept_count})

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

    _OPEN = ReadQuery(_OPEN_BY_DIGEST)
    _FIRST_PAGE = ReadQuery(_OF_USER)
    _NEXT_PAGE = ReadQuery(_OF_USER_CONTINUED)

    def __init__(self, lane: ReadLane) -> None:
        self._lane = lane

    async def find_open(self, token_digest: bytes) -> OpenSession | None:
        """Find the live session of a token, with its active account."""
        row = await self._lane.fetch_one(self._OPEN, token_digest=token_digest)
        return open_session_from(tuple(row)) if row is not None else None

    async def list_page(self, user_id: UUID, *, after: Position | None, limit: int) -> Page[Session]:
        """List the live sessions of an account, oldest first."""
        values: dict[str, object] = {"user_id": user_id, "row_limit": limit + 1}
        query = self._FIRST_PAGE
        if after is not None:
            values |= {"after_at": after.at, "after_id": after.id}
            query = self._NEXT_PAGE
        rows = await self._lane.fetch_all(query, **values)
        return page_of(
            [session_from(row) for row in rows],
            limit,
            lambda item: Position(item.id, at=item.created_at),
        )


_REMEMBER = Statement(insert(DeviceRow), "id", "user_id", "token_digest", "network")
_SEE_AGAIN = Statement(
    update(DeviceRow)
    .where(DeviceRow.id == bindparam("device_id"))
    .values(network=bindparam("seen_in"), last_seen_at=func.now())
)
_FORGET_OLDEST = Statement(
    delete(DeviceRow).where(
        DeviceRow.id.in_(
            select(DeviceRow.id)
            .where(DeviceRow.user_id == bindparam("of_user"))
            .order_by(DeviceRow.last_seen_at.desc(), DeviceRow.id.desc())
            .offset(DEVICES_PER_USER)
        )
    )
)
_FORGET_ALL = Statement(delete(DeviceRow).where(DeviceRow.user_id == bindparam("of_user")))


class DeviceRepository(Repository):
    """Known devices inside a transaction."""

    async def add(self, device_id: UUID, *, user_id: UUID, token_digest: bytes, network: str) -> None:
        """Remember a device of an account; beyond twenty, the longest unseen is forgotten."""
        await self._db.execute(
            _REMEMBER,
            {"id": device_id, "user_id": user_id, "token_digest": token_digest, "network": network},
        )
        await self._db.execute(_FORGET_OLDEST, {"of_user": user_id})

    async def see_again(self, device_id: UUID, *, network: str) -> None:
        """Note that a device logged in again, and from where."""
        await self._db.execute(_SEE_AGAIN, {"device_id": device_id, "seen_in": network})

    async def forget_all(self, user_id: UUID) -> None:
        """Forget the devices of an account."""
        await self._db.execute(_FORGET_ALL, {"of_user": user_id})
