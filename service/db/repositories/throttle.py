"""Counts of failed logins, each one atomic statement: N concurrent guesses cost N."""

from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import (
    Boolean,
    ColumnElement,
    DateTime,
    Float,
    Integer,
    Interval,
    Select,
    and_,
    bindparam,
    case,
    cast,
    delete,
    exists,
    func,
    literal,
    not_,
    null,
    or_,
    select,
    type_coerce,
    update,
)
from sqlalchemy.dialects.postgresql import INTERVAL, insert

from service.db.core.statements import Statement
from service.db.repositories.base import Repository, require_row
from service.db.tables import LoginBucketRow, NetworkBucketRow, UserRow
from service.domain.throttle import ThrottlePolicy

_MINUTE = literal(timedelta(minutes=1), Interval)
_HOUR = literal(timedelta(hours=1), Interval)
_Bucket = LoginBucketRow


def _wait_until(failures: ColumnElement[int]) -> ColumnElement[Any]:
    """The time before which the next attempt is refused; the doubling of `ThrottlePolicy.backoff_after`."""
    free = bindparam("free_attempts", type_=Integer)
    doubled_s = bindparam("initial_backoff_s", type_=Float) * func.power(2, func.least(failures - free, 30))
    wait_s = func.least(doubled_s, bindparam("max_backoff_s", type_=Float))
    wait = func.make_interval(0, 0, 0, 0, 0, 0, wait_s, type_=Interval)
    return case((failures < free, cast(null(), DateTime(timezone=True))), else_=func.now() + wait)


_hour_is_over = _Bucket.hour_started_at <= func.now() - _HOUR
_hour_is_full = and_(
    bindparam("is_unrecognised", type_=Boolean),
    not_(_hour_is_over),
    _Bucket.hour_failures >= bindparam("unrecognised_per_hour", type_=Integer),
)
_in_a_row_is_full = _Bucket.failures >= bindparam("failures_in_a_row", type_=Integer)
_is_waiting = func.coalesce(_Bucket.blocked_until > func.now(), False)

# Null if the user was deleted since it was read. Locked here, so before the bucket.
_owner = (
    select(UserRow.id)
    .where(UserRow.id == bindparam("of_user"))
    .with_for_update(read=True, key_share=True)
    .scalar_subquery()
)
_released_at = func.greatest(
    case((_is_waiting, _Bucket.blocked_until)),
    case((_hour_is_full, _Bucket.hour_started_at + _HOUR)),
    case((_in_a_row_is_full, func.now() + _HOUR)),
)
_wait = select(type_coerce(_released_at - func.now(), INTERVAL).label("wait")).where(
    _Bucket.digest == bindparam("bucket"), _released_at.is_not(None)
)
_WAIT = Statement(_wait)


def _reserve_attempt() -> Statement:
    """Count an attempt as failed unless it has to wait; return the wait and the count.

    The wait is read first: an upsert that changes nothing would still lock the row, and many guesses would
    queue for it. Both are null if the upsert, under the lock, finds a newer row than the read.
    """
    waiting = _wait.cte("waiting")
    first = {
        "digest": bindparam("bucket", type_=_Bucket.digest.type),
        "user_id": _owner,
        "failures": literal(1),
        "hour_failures": literal(1),
        "blocked_until": _wait_until(literal(1)),
    }
    new = insert(_Bucket).from_select(
        list(first), select(*first.values()).where(~exists().select_from(waiting))
    )
    reserved = (
        new.on_conflict_do_update(
            index_elements=[_Bucket.digest],
            set_={
                "user_id": new.excluded.user_id,
                "failures": _Bucket.failures + 1,
                "hour_failures": case((_hour_is_over, 1), else_=_Bucket.hour_failures + 1),
                "hour_started_at": case((_hour_is_over, func.now()), else_=_Bucket.hour_started_at),
                "blocked_until": _wait_until(_Bucket.failures + 1),
                "updated_at": func.now(),
            },
            where=not_(or_(_is_waiting, _hour_is_full, _in_a_row_is_full)),
        )
        .returning(_Bucket.failures)
        .cte("reserved")
    )
    return Statement(
        select(select(waiting.c.wait).scalar_subquery(), select(reserved.c.failures).scalar_subquery())
    )


_RESERVE = _reserve_attempt()
_REFUND = Statement(
    update(_Bucket)
    .where(_Bucket.digest == bindparam("bucket"))
    .values(
        failures=func.greatest(_Bucket.failures - 1, 0),
        hour_failures=func.greatest(_Bucket.hour_failures - 1, 0),
        blocked_until=null(),
    )
)
_CLEAR_USER = Statement(delete(_Bucket).where(_Bucket.user_id == bindparam("of_user")))

_Network = NetworkBucketRow
_network_minute_is_over = _Network.minute_started_at <= func.now() - _MINUTE
_network_hour_is_over = _Network.hour_started_at <= func.now() - _HOUR
_COUNT_NETWORK = Statement(
    insert(_Network)
    .values(network=bindparam("of_network"), minute_failures=1, hour_failures=1)
    .on_conflict_do_update(
        index_elements=[_Network.network],
        set_={
            "minute_failures": case((_network_minute_is_over, 1), else_=_Network.minute_failures + 1),
            "minute_started_at": case(
                (_network_minute_is_over, func.now()), else_=_Network.minute_started_at
            ),
            "hour_failures": case((_network_hour_is_over, 1), else_=_Network.hour_failures + 1),
            "hour_started_at": case((_network_hour_is_over, func.now()), else_=_Network.hour_started_at),
        },
    )
    .returning(_Network.minute_failures, _Network.hour_failures)
)
_network_released_at = func.greatest(
    case((_Network.minute_failures >= bindparam("network_per_minute"), _Network.minute_started_at + _MINUTE)),
    case((_Network.hour_failures >= bindparam("network_per_hour"), _Network.hour_started_at + _HOUR)),
)


def network_wait() -> Select[*tuple[Any, ...]]:
    """Select the `wait` of the network `of_network`; no row if there is none or the network is null."""
    wait = type_coerce(_network_released_at - func.now(), INTERVAL).label("wait")
    return select(wait).where(_Network.network == bindparam("of_network"), _network_released_at > func.now())


def limits_of(policy: ThrottlePolicy) -> dict[str, int]:
    """Return the limits that `network_wait` takes."""
    return {"network_per_minute": policy.network_per_minute, "network_per_hour": policy.network_per_hour}


_NETWORK_WAIT = Statement(network_wait())


class ThrottleRepository(Repository):
    """Counts of failed logins inside a transaction."""

    async def reserve(
        self, bucket: bytes, *, user_id: UUID | None, is_unrecognised: bool, policy: ThrottlePolicy
    ) -> timedelta | None:
        """Count an attempt as failed before it is verified, or return the wait if it is not allowed.

        Locks: the user against deletion, then the bucket, until the transaction ends.
        """
        limits = {
            "bucket": bucket,
            "is_unrecognised": is_unrecognised,
            "unrecognised_per_hour": policy.unrecognised_per_hour,
            "failures_in_a_row": policy.failures_in_a_row,
        }
        row = await self._tx.fetch_one(
            _RESERVE,
            of_user=user_id,
            free_attempts=policy.free_attempts,
            initial_backoff_s=policy.initial_backoff.total_seconds(),
            max_backoff_s=policy.max_backoff.total_seconds(),
            **limits,
        )
        wait, failures = require_row(row)
        if wait is None and failures is None:
            row = await self._tx.fetch_one(_WAIT, **limits)
            return row[0] if row is not None else policy.initial_backoff
        return wait if failures is None else None

    async def refund(self, bucket: bytes) -> None:
        """Take back a reserved attempt that was not verified."""
        await self._tx.execute(_REFUND, bucket=bucket)

    async def clear_user(self, user_id: UUID) -> None:
        """Delete all failures of a user, after a new password."""
        await self._tx.execute(_CLEAR_USER, of_user=user_id)

    async def network_wait(self, network: str, policy: ThrottlePolicy) -> timedelta | None:
        """Return the wait of a network with too many failures, or None."""
        row = await self._tx.fetch_one(_NETWORK_WAIT, of_network=network, **limits_of(policy))
        return row[0] if row is not None else None

    async def count_network(self, network: str, policy: ThrottlePolicy) -> bool:
        """Count a failure of a network; return False if it exceeds a limit.

        Locks: the network's count, until the transaction ends.
        """
        in_minute, in_hour = require_row(await self._tx.fetch_one(_COUNT_NETWORK, of_network=network))
        return bool(in_minute <= policy.network_per_minute and in_hour <= policy.network_per_hour)
