"""Logging in, in SQL: what it takes from several tables, in as few statements as the locks allow.

Hashing needs every processor there is, so each round trip that is saved here is a log-in more.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from typing import Any
from uuid import UUID

from sqlalchemy import bindparam, exists, func, literal_column, select, update

from service.db.core.read_pool import ReadPool
from service.db.core.statements import ReadQuery, Statement
from service.db.repositories.base import Repository, require_row
from service.db.repositories.events import insert_event
from service.db.repositories.sessions import (
    Device,
    NewSession,
    delete_excess_devices,
    delete_excess_sessions,
    insert_device,
    insert_session,
    session_from,
    touch_device,
    values_of,
)
from service.db.repositories.throttle import delete_bucket, limits_of, network_wait
from service.db.repositories.users import USER_COLUMNS, user_from
from service.db.tables import DeviceRow, UserRow
from service.domain.sessions import Session
from service.domain.throttle import ThrottlePolicy
from service.domain.users import User


@dataclass(frozen=True, slots=True)
class Credential:
    """What a log-in is checked against, and whether its origin is known to the account."""

    user: User
    password_hash: str | None
    device_id: UUID | None
    network_is_known: bool


_ONE_ROW = select(literal_column("1")).subquery("one_row")
_device = (
    select(DeviceRow.id)
    .where(DeviceRow.user_id == UserRow.id, DeviceRow.token_digest == bindparam("device_digest"))
    .scalar_subquery()
)
_network_is_known = exists().where(
    DeviceRow.user_id == UserRow.id, DeviceRow.network == bindparam("of_network")
)
_FIND = ReadQuery(
    select(
        network_wait().scalar_subquery(), _device, _network_is_known, UserRow.password_hash, *USER_COLUMNS
    ).select_from(_ONE_ROW.outerjoin(UserRow, UserRow.login_id == bindparam("login_id")))
)


class LoginReads:
    """What is read before a log-in, in one statement without a transaction."""

    def __init__(self, read_pool: ReadPool) -> None:
        self._read_pool = read_pool

    async def find(
        self, login_id: str, *, device_digest: bytes | None, network: str, policy: ThrottlePolicy
    ) -> tuple[Credential | None, timedelta | None]:
        """Find the credential of a canonical login id, and the wait of a network with too many failures."""
        row: Any = await self._read_pool.fetch_one(
            _FIND, login_id=login_id, device_digest=device_digest, of_network=network, **limits_of(policy)
        )
        wait, device_id, network_is_known, password_hash, *user = row
        if user[0] is None:
            return None, wait
        return Credential(user_from(user), password_hash, device_id, network_is_known), wait


def _record_login() -> Statement:
    """Note a log-in, unless its network is at its limit or the account no longer is what was verified.

    Takes the lock under which `_begin_session` counts, in a statement of its own: a statement sees what
    was committed before it began, not what it waited for.
    """
    wait = network_wait().cte("network")
    recorded = (
        update(UserRow)
        .where(
            UserRow.id == bindparam("user_id"),
            UserRow.password_hash == bindparam("verified_hash"),
            UserRow.state == literal_column("'active'"),
            ~exists().select_from(wait),
        )
        .values(last_login_at=func.now())
        .returning(*USER_COLUMNS)
        .cte("recorded")
    )
    waits = select(wait.c.wait).scalar_subquery()
    return Statement(
        select(waits, *recorded.c).select_from(_ONE_ROW.outerjoin(recorded, literal_column("true")))
    )


@cache
def _begin_session(kept_others: int, *, on_known_device: bool) -> Statement:
    """Open a session, remember the device, clear the bucket and tell of it, all at once.

    No part sees what another one does: what counts, counts without the new row.
    """
    opened = insert_session().cte("opened")
    others = {
        "evicted": delete_excess_sessions(kept_others),
        "cleared": delete_bucket(),
        "told": insert_event(),
    }
    if on_known_device:
        others["seen_again"] = touch_device()
    else:
        others |= {"remembered": insert_device(), "forgotten": delete_excess_devices()}
    return Statement(select(*opened.c).add_cte(*(change.cte(name) for name, change in others.items())))


_RECORD = _record_login()


class LoginRepository(Repository):
    """The second half of a log-in, inside a transaction."""

    async def record(
        self, user_id: UUID, *, verified_hash: str, network: str | None, policy: ThrottlePolicy
    ) -> User | timedelta | None:
        """Note a log-in; None when the account changed since its hash was read.

        Gives the wait instead when the network, if one is named, has too many failures.

        Locks: the account, until the transaction ends.
        """
        asked = {"user_id": user_id, "verified_hash": verified_hash, "of_network": network}
        row: Any = await self._db.one(_RECORD, {**asked, **limits_of(policy)})
        wait: timedelta | None = row[0]
        if wait is not None:
            return wait
        return user_from(row[1:]) if row[1] is not None else None

    async def begin(
        self, session: NewSession, device: Device, *, kept_count: int, bucket: bytes, event: Mapping[str, Any]
    ) -> Session:
        """Open a session and remember its device; clear a bucket, and tell of it by what `events.note` gave.

        Beyond `kept_count`, the longest unused sessions end; beyond twenty, the longest unseen device is
        forgotten. The account has to be locked.
        """
        values = {**values_of(session), **event, "bucket": bucket}
        values |= {"device_id": device.id, "seen_in": device.network}
        if is_new := device.token_digest is not None:
            values["device_digest"] = device.token_digest
        beginning = _begin_session(kept_count - 1, on_known_device=not is_new)
        return session_from(require_row(await self._db.one(beginning, values)))
