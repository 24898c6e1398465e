"""Login sessions."""

from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Any, Final, NamedTuple
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    ColumnElement,
    Insert,
    Interval,
    LargeBinary,
    Text,
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
from service.db.core.columns import Columns, columns_of
from service.db.core.statements import Executor, Statement
from service.db.core.wal_position import WAL_POSITION
from service.db.repositories.base import (
    ReadRepository,
    Repository,
    binds,
    from_now,
    prefixed,
    require_row,
    value_of,
)
from service.db.repositories.listings import Listing, keyset_page
from service.db.repositories.user_columns import USER
from service.db.tables import LoginChallengeRow, LoginCodeRow, SessionRow, UserRow
from service.domain.factors import BY_PASSWORD
from service.domain.pages import Keyset, Page
from service.domain.sessions import AuthenticatedSession, Lifetime, Session

_auth_time = func.coalesce(SessionRow.authenticated_at, SessionRow.created_at).label("auth_time")
SESSION = columns_of(Session, SessionRow, auth_time=_auth_time)
AUTHENTICATED_SESSION = Columns(
    AuthenticatedSession,
    SESSION,
    USER,
    type_coerce(func.now() - SessionRow.created_at, INTERVAL).label("age"),
    type_coerce(func.now() - SessionRow.last_used_at, INTERVAL).label("idle_for"),
)


class NewSession(NamedTuple):
    """A session to add; its timestamps are set by the database."""

    id: UUID
    user_id: UUID
    token_digest: bytes
    lifetime: Lifetime
    user_agent: str | None
    ip: str | None
    device_id: UUID | None = None
    amr: Sequence[str] = BY_PASSWORD

    @property
    def params(self) -> dict[str, Any]:
        """The parameters of `insert_session`."""
        given = {name: getattr(self, name) for name in _GIVEN} | {"amr": list(self.amr)}
        return prefixed("session", given | self.lifetime._asdict())


_GIVEN: Final = ("id", "user_id", "token_digest", "user_agent", "ip", "device_id", "amr")


def insert_session() -> Insert:
    """Insert a `NewSession` and return its columns."""
    return (
        insert(SessionRow)
        .values(
            **binds(SessionRow, "session", *_GIVEN),
            expires_at=from_now("session_absolute_ttl"),
            idle_expires_at=from_now("session_idle_ttl"),
        )
        .returning(*SESSION)
    )


def is_live() -> ColumnElement[bool]:
    """Return whether a session is live by the database's clock. Source: OWASP ASVS 5.0 7.3.1, 7.3.2."""
    return (SessionRow.expires_at > func.now()) & (SessionRow.idle_expires_at > func.now())


def _by_digests(columns: Columns[AuthenticatedSession]) -> Statement:
    return Statement(
        select(SessionRow.token_digest, *columns)
        .join(UserRow, UserRow.id == SessionRow.user_id)
        .where(
            SessionRow.token_digest == any_(bindparam("keys", type_=ARRAY(LargeBinary))),
            is_live(),
            UserRow.state == literal_column("'active'"),
        )
    )


_LISTING = Listing(
    SESSION,
    select(*SESSION).where(SessionRow.user_id == bindparam("user_id"), is_live()),
    at=SessionRow.created_at,
    id=SessionRow.id,
)
_GET = Statement(select(*SESSION).where(SessionRow.id == bindparam("id"), is_live()))
_ADD = Statement(insert_session())
_END = Statement(delete(SessionRow).where(SessionRow.id == bindparam("session_id")))
_END_BY_TOKEN = Statement(
    delete(SessionRow)
    .where(SessionRow.token_digest == bindparam("digest"), SessionRow.user_id == bindparam("of_user"))
    .returning(SessionRow.id)
)
_REVOKE_TOKEN = Statement(
    delete(SessionRow).where(SessionRow.token_digest == bindparam("digest")).returning(*SESSION)
)
_REAUTHENTICATE = Statement(
    update(SessionRow)
    .where(SessionRow.id == bindparam("session_id"))
    .values(amr=bindparam("new_amr", type_=ARRAY(Text)), authenticated_at=func.now())
)
_RENEW_TOKEN = Statement(
    update(SessionRow)
    .where(SessionRow.id == bindparam("session_id"))
    .values(token_digest=bindparam("new_digest"))
)
_challenges = delete(LoginChallengeRow).where(LoginChallengeRow.user_id == bindparam("of_user"))
_codes = delete(LoginCodeRow).where(LoginCodeRow.user_id == bindparam("of_user"))
_under_way = (_challenges.cte("challenges"), _codes.cte("codes"))
_END_LOGINS_UNDER_WAY = Statement(select(literal_column("1")).add_cte(*_under_way))
_of_user = delete(SessionRow).where(SessionRow.user_id == bindparam("of_user")).add_cte(*_under_way)
_END_ALL = Statement(_of_user)
_END_OTHERS = Statement(_of_user.where(SessionRow.id != bindparam("kept_id")))
_END_OF_DEVICE = Statement(
    _of_user.where(SessionRow.device_id == bindparam("of_device"), SessionRow.id != bindparam("kept_id"))
)
_IDLE_TTL = case(
    (UserRow.role == literal_column("'admin'"), bindparam("admin_idle_ttl", type_=Interval)),
    else_=bindparam("user_idle_ttl", type_=Interval),
)
# The idle expiry moves by a hundredth of the idle TTL or more, or not at all: it is indexed, and an update of
# no indexed column (HOT) costs a third. A session may therefore expire a hundredth early.
_skip_index_update = SessionRow.idle_expires_at.between(
    func.now() + _IDLE_TTL.op("*", return_type=Interval())(literal_column("0.99")), func.now() + _IDLE_TTL
)
_was_never_used = SessionRow.last_used_at == SessionRow.created_at
_TOUCH = Statement(
    update(SessionRow)
    .where(
        SessionRow.id == func.any(bindparam("ids")),
        SessionRow.user_id == UserRow.id,
        _was_never_used
        | (SessionRow.last_used_at < func.now() - bindparam("touch_interval", type_=Interval)),
        is_live(),
    )
    .values(
        last_used_at=func.now(),
        idle_expires_at=case((_skip_index_update, SessionRow.idle_expires_at), else_=func.now() + _IDLE_TTL),
    )
)


class SessionReads(ReadRepository):
    """Reads of sessions."""

    async def get(self, session_id: UUID) -> Session | None:
        """Return a live session."""
        return SESSION.decode_optional(await self._executor.fetch_one(_GET, id=session_id))

    async def list_page(self, user_id: UUID, *, after: Keyset | None, limit: int) -> Page[Session]:
        """List the live sessions of a user, oldest first."""
        return await keyset_page(self._executor, _LISTING, after=after, limit=limit, user_id=user_id)


class SessionTokenReads(SessionReads):
    """Also finds sessions by token, on the primary only: a logout takes effect at once."""

    def __init__(self, executor: Executor, *, with_wal_position: bool) -> None:
        super().__init__(executor)
        found = AUTHENTICATED_SESSION
        columns = found.extended(WAL_POSITION) if with_wal_position else found
        self._by_digest: BatchLoader[bytes, AuthenticatedSession] = BatchLoader(
            executor, _by_digests(columns), columns
        )

    async def find_live(self, token_digest: bytes) -> AuthenticatedSession | None:
        """Return the live session of a token's digest, with its active user."""
        return await self._by_digest.load(token_digest)


class SessionRepository(SessionReads, Repository):
    """Sessions inside a transaction."""

    async def add(self, session: NewSession) -> Session:
        """Insert a session."""
        return SESSION.decode(require_row(await self._tx.fetch_one(_ADD, **session.params)))

    async def end(self, session_id: UUID) -> bool:
        """Delete a session; return False if there is none."""
        return await self._tx.execute(_END, session_id=session_id) == 1

    async def end_by_token(self, token_digest: bytes, *, user_id: UUID) -> UUID | None:
        """Delete the session of a token if it is one of the user's; return its id."""
        return value_of(await self._tx.fetch_one(_END_BY_TOKEN, digest=token_digest, of_user=user_id))

    async def revoke_token(self, token_digest: bytes) -> Session | None:
        """Delete the session of a token and return it; None if there is none."""
        return SESSION.decode_optional(await self._tx.fetch_one(_REVOKE_TOKEN, digest=token_digest))

    async def end_all(self, user_id: UUID, *, kept_id: UUID | None = None) -> int:
        """Delete the sessions of a user, except the one to keep; return their number.

        Logins under way end with them: those that wait for a second factor, and codes that were mailed.
        """
        if kept_id is None:
            return await self._tx.execute(_END_ALL, of_user=user_id)
        return await self._tx.execute(_END_OTHERS, of_user=user_id, kept_id=kept_id)

    async def end_logins_under_way(self, user_id: UUID) -> None:
        """End the logins of a user that wait for a second factor, and the codes that were mailed."""
        await self._tx.fetch_one(_END_LOGINS_UNDER_WAY, of_user=user_id)

    async def end_of_device(self, device_id: UUID, *, user_id: UUID, kept_id: UUID) -> None:
        """Delete the sessions of a user that were opened from a device, except the one to keep."""
        await self._tx.execute(_END_OF_DEVICE, of_user=user_id, of_device=device_id, kept_id=kept_id)

    async def reauthenticate(self, session_id: UUID, amr: Sequence[str]) -> None:
        """Record that the user of a session has proved who they are just now, and in which ways so far."""
        await self._tx.execute(_REAUTHENTICATE, session_id=session_id, new_amr=list(amr))

    async def renew_token(self, session_id: UUID, token_digest: bytes) -> None:
        """Let a session have another token; the one before is not valid any more."""
        await self._tx.execute(_RENEW_TOKEN, session_id=session_id, new_digest=token_digest)

    async def touch(
        self,
        session_ids: Iterable[UUID],
        *,
        interval: timedelta,
        user_idle_ttl: timedelta,
        admin_idle_ttl: timedelta,
    ) -> int:
        """Record the use of sessions, after the first one at most one per interval.

        An ended session stays ended.
        """
        params = {
            "user_idle_ttl": user_idle_ttl,
            "admin_idle_ttl": admin_idle_ttl,
            "touch_interval": interval,
        }
        return await self._tx.execute(_TOUCH, ids=list(session_ids), **params)
