"""Logging in: several tables in as few statements as the locks allow."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from typing import Any, Generic, TypeVar
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    ColumnElement,
    Delete,
    Insert,
    Integer,
    Update,
    Uuid,
    any_,
    bindparam,
    case,
    delete,
    exists,
    func,
    insert,
    literal_column,
    select,
    update,
)

from service.db.core.columns import Columns
from service.db.core.statements import Executor, Statement
from service.db.repositories.base import ReadRepository, Repository, binds, is_one_of, prefixed, require_row
from service.db.repositories.devices import LoginDevice
from service.db.repositories.events import EVENT_FIELDS
from service.db.repositories.network_counts import ONE_ROW, limits_of, network_wait
from service.db.repositories.sessions import SESSION, NewSession, insert_session, is_live
from service.db.repositories.throttle import clear_bucket, refund_attempt
from service.db.repositories.user_columns import USER, usable_hash
from service.db.tables import DeviceRow, EventRow, SessionRow, UserRow
from service.domain.networks import Networks
from service.domain.sessions import Session
from service.domain.throttle import ThrottlePolicy
from service.domain.users import User

FoundT = TypeVar("FoundT")

DEVICES_PER_USER = 20


@dataclass(frozen=True, slots=True)
class Recognition:
    """How a login recognizes its user's device and network: from earlier logins of the same user."""

    device_id: UUID | None
    network_is_known: bool


@dataclass(frozen=True, slots=True)
class Credential:
    """What a login attempt is verified against, and how its device and network are recognized."""

    user: User
    password_hash: str | None
    recognition: Recognition


_device_id = (
    select(DeviceRow.id)
    .where(DeviceRow.user_id == UserRow.id, DeviceRow.token_digest == bindparam("device_digest"))
    .scalar_subquery()
)
_network_is_known = exists().where(
    DeviceRow.user_id == UserRow.id, DeviceRow.network == bindparam("of_network")
)
RECOGNITION = Columns(Recognition, _device_id, _network_is_known)
"""Of the user in the statement, for the parameters `device_digest` and `of_network`."""
_CREDENTIAL = Columns(Credential, USER, usable_hash(), RECOGNITION)


class AttemptLookup(Generic[FoundT]):
    """A read of what an attempt is verified against, and of the wait of its networks, in one statement."""

    def __init__(self, columns: Columns[FoundT], *joins: tuple[Any, ColumnElement[bool]]) -> None:
        self._columns = columns
        source: Any = ONE_ROW
        for table, condition in joins:
            source = source.outerjoin(table, condition)
        self._statement = Statement(select(network_wait().scalar_subquery(), *columns).select_from(source))

    async def run(
        self, executor: Executor, networks: Networks, policy: ThrottlePolicy, **params: Any
    ) -> tuple[FoundT | None, timedelta | None]:
        """Return what was found, and the wait of networks with too many failures."""
        limits = limits_of(networks, policy)
        row = await executor.fetch_one(self._statement, of_network=networks[0].name, **limits, **params)
        wait, *values = require_row(row)
        return (self._columns.decode(values) if values[0] is not None else None), wait


_FIND = AttemptLookup(_CREDENTIAL, (UserRow, UserRow.login_id == bindparam("login_id")))


class LoginReads(ReadRepository):
    """The read before a login."""

    async def find(
        self,
        login_id: str,
        *,
        device_digest: bytes | None,
        networks: Networks,
        policy: ThrottlePolicy,
        temporary_ttl: timedelta,
    ) -> tuple[Credential | None, timedelta | None]:
        """Return the credential of a canonical login id, and the wait of networks with too many failures."""
        params = {"login_id": login_id, "device_digest": device_digest, "temporary_ttl": temporary_ttl}
        return await _FIND.run(self._executor, networks, policy, **params)


def login_time() -> ColumnElement[Any]:
    """Return when the user last logged in: now, unless a second factor is still to come."""
    has_factors = func.cardinality(UserRow.factors) > 0
    return case((has_factors, UserRow.last_login_at), else_=func.now())


def _record_login() -> Statement:
    """Record a login, unless its network is at its limit or the user is no longer what was verified.

    Takes the lock under which `_begin_session` counts. It is a statement of its own because a statement sees
    what was committed before it began, not before it got the lock.
    """
    wait = network_wait().cte("network")
    recorded = (
        update(UserRow)
        .where(
            UserRow.id == bindparam("user_id"),
            UserRow.password_hash == bindparam("verified_hash"),
            UserRow.state == literal_column("'active'"),
            select(wait.c.wait).scalar_subquery().is_(None),
        )
        .values(last_login_at=login_time())
        .returning(*USER)
        .cte("recorded")
    )
    waits = select(wait.c.wait).scalar_subquery()
    return Statement(
        select(waits, *recorded.c).select_from(ONE_ROW.outerjoin(recorded, literal_column("true")))
    )


_RECORD = _record_login()
_RECORD_PROVEN = Statement(
    update(UserRow)
    .where(UserRow.id == bindparam("user_id"), UserRow.state == literal_column("'active'"))
    .values(last_login_at=func.now())
)


@cache
def _begin_session(kept_others: int, *, on_known_device: bool, clears_bucket: bool) -> Statement:
    """Insert the session and its event, record the device, end the attempt: one statement.

    The parameters of each part have its prefix. No part sees the rows of another, so the counts leave out the
    new row.
    """
    session = insert_session().cte("session")
    parts: dict[str, Insert | Update | Delete] = {
        "excess_sessions": _delete_excess_sessions(kept_others),
        "event": insert(EventRow).values(**binds(EventRow, "event", *EVENT_FIELDS)),
    }
    if on_known_device:
        parts["device"] = _touch_device()
    else:
        parts["device"] = insert(DeviceRow).values(
            **binds(DeviceRow, "device", "id", "user_id", "token_digest", "network")
        )
        parts["excess_devices"] = _delete_excess_devices()
    parts["bucket"] = clear_bucket() if clears_bucket else refund_attempt()
    return Statement(select(*session.c).add_cte(*(part.cte(name) for name, part in parts.items())))


def _delete_excess_sessions(kept_others: int) -> Delete:
    """Delete all sessions but the live and most recently used; one that was never used ends before any other.

    Uses that are not written yet are those of `used_ids`.
    """
    is_used_now = SessionRow.id == any_(bindparam("used_ids", type_=ARRAY(Uuid)))
    was_used = SessionRow.last_used_at > SessionRow.created_at
    used_at = case((is_used_now, func.now()), (was_used, SessionRow.last_used_at))
    best_first = (is_live().desc(), used_at.desc().nulls_last(), SessionRow.id.desc())
    others = select(SessionRow.id).where(SessionRow.user_id == bindparam("session_user_id"))
    excess = others.order_by(*best_first).offset(_literal(kept_others))
    return delete(SessionRow).where(is_one_of(SessionRow.id, excess))


def _touch_device() -> Update:
    touched = update(DeviceRow).where(DeviceRow.id == bindparam("device_id"))
    return touched.values(network=bindparam("device_network"), last_seen_at=func.now())


def _delete_excess_devices() -> Delete:
    """Delete all devices but the most recently seen."""
    others = select(DeviceRow.id).where(DeviceRow.user_id == bindparam("device_user_id"))
    latest_first = others.order_by(DeviceRow.last_seen_at.desc(), DeviceRow.id.desc())
    excess = latest_first.offset(_literal(DEVICES_PER_USER - 1))
    return delete(DeviceRow).where(is_one_of(DeviceRow.id, excess))


def _literal(number: int) -> ColumnElement[int]:
    """Write an offset into the statement as a number.

    PostgreSQL estimates a parameter as a tenth of the rows. The generic plan then looks expensive, and the
    statement is planned again for each execution: more than half of what a login costs there.
    """
    return literal_column(str(number), Integer)


class LoginRepository(LoginReads, Repository):
    """The second half of a login, inside a transaction."""

    async def record(
        self, user_id: UUID, *, verified_hash: str, networks: Networks, policy: ThrottlePolicy
    ) -> User | timedelta | None:
        """Record a login and return the user, or None if the user changed since the hash was read.

        Of a user with second factors, nothing is recorded yet.
        Return the wait instead if one of the networks, where any are given, has too many failures.

        Locks: the user, until the transaction ends.
        """
        wait: timedelta | None
        wait, *values = require_row(
            await self._tx.fetch_one(
                _RECORD, user_id=user_id, verified_hash=verified_hash, **limits_of(networks, policy)
            )
        )
        if wait is not None:
            return wait
        return USER.decode(values) if values[0] is not None else None

    async def record_proven(self, user_id: UUID) -> bool:
        """Record the login of a locked user who has shown every factor; return False if it is not active."""
        return await self._tx.execute(_RECORD_PROVEN, user_id=user_id) == 1

    async def begin_session(
        self,
        session: NewSession,
        device: LoginDevice,
        *,
        kept_count: int,
        used_ids: Collection[UUID],
        bucket: bytes,
        clears_bucket: bool,
        event: Mapping[str, Any],
    ) -> Session:
        """Insert a session with its device and event, and end the attempt. The user has to be locked.

        `event` is what `EventRepository.record` returned. Beyond `kept_count` sessions, those never used and
        then those unused longest are deleted; `used_ids` are used now. Beyond twenty devices, the one unseen
        longest is deleted.
        """
        params = {
            **session.params,
            **prefixed("event", event),
            "bucket": bucket,
            "used_ids": list(used_ids),
            "device_id": device.id,
            "device_network": device.network,
        }
        if is_new := device.token_digest is not None:
            params |= {"device_user_id": session.user_id, "device_token_digest": device.token_digest}
        statement = _begin_session(kept_count - 1, on_known_device=not is_new, clears_bucket=clears_bucket)
        return SESSION.decode(require_row(await self._tx.fetch_one(statement, **params)))
