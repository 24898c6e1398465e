"""Counts of failed logins, each one atomic statement: N concurrent guesses cost N."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import (
    Boolean,
    ColumnElement,
    DateTime,
    Delete,
    Float,
    Integer,
    Interval,
    Update,
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
from sqlalchemy.orm import InstrumentedAttribute

from service.db.core.statements import Statement
from service.db.repositories.base import Repository, require_row
from service.db.repositories.network_counts import HOUR, count_networks, counted_in, levels_of
from service.db.repositories.throttle_keys import keyed
from service.db.tables import LoginBucketRow, NetworkBucketRow, UserRow
from service.domain.networks import Network
from service.domain.throttle import ThrottlePolicy

_ATTEMPT_TTL = literal(timedelta(seconds=10), Interval)
"""Longer than an attempt takes; one that is older belongs to a process that died."""
_Bucket = LoginBucketRow


class Refusal(NamedTuple):
    """Why an attempt was not reserved."""

    wait: timedelta
    has_attempts: bool
    """Whether attempts are being verified, which may make room when they succeed."""


def _wait_until(failures: "ColumnElement[int] | InstrumentedAttribute[int]") -> ColumnElement[Any]:
    """Return the time before which an attempt is rejected; the doubling of `ThrottlePolicy.backoff_after`."""
    free = bindparam("free_attempts", type_=Integer)
    doubled_s = bindparam("initial_backoff_s", type_=Float) * func.power(2, func.least(failures - free, 30))
    wait_s = func.least(doubled_s, bindparam("max_backoff_s", type_=Float))
    wait = func.make_interval(0, 0, 0, 0, 0, 0, wait_s, type_=Interval)
    return case((failures < free, cast(null(), DateTime(timezone=True))), else_=func.now() + wait)


def _backoff_of(policy: ThrottlePolicy) -> dict[str, Any]:
    """Return the parameters of `_wait_until`."""
    return {
        "free_attempts": policy.free_attempts,
        "initial_backoff_s": policy.initial_backoff.total_seconds(),
        "max_backoff_s": policy.max_backoff.total_seconds(),
    }


_forgiven_after = bindparam("forgiven_after", type_=Interval)
_unused_s = func.extract("epoch", func.now() - _Bucket.updated_at)
# Not negative: a row may have been updated by a transaction that began after this one.
_unused = func.greatest(_unused_s / func.extract("epoch", _forgiven_after), 0)
_forgiven = cast(func.floor(_unused), Integer)
_failures = func.greatest(_Bucket.failures - _forgiven, 0, type_=Integer)
_most = bindparam("failures_in_a_row", type_=Integer)
_hour_is_over = _Bucket.hour_started_at <= func.now() - HOUR
_hour_is_full = and_(
    bindparam("is_unrecognised", type_=Boolean),
    not_(_hour_is_over),
    _Bucket.hour_failures >= bindparam("unrecognised_per_hour", type_=Integer),
)
_in_a_row_is_full = _failures >= _most
_is_waiting = func.coalesce(_Bucket.blocked_until > func.now(), False)
_attempts_are_over = _Bucket.updated_at <= func.now() - _ATTEMPT_TTL
_has_attempts = and_(_Bucket.attempts > 0, not_(_attempts_are_over))
_other_attempts = func.greatest(_Bucket.attempts - 1, 0)

# Null if the user was deleted since it was read. Locked here, so before the bucket.
_owner = (
    select(UserRow.id)
    .where(UserRow.id == bindparam("of_user"))
    .with_for_update(read=True, key_share=True)
    .scalar_subquery()
)
_released_at = func.greatest(
    case((_is_waiting, _Bucket.blocked_until)),
    case((_hour_is_full, _Bucket.hour_started_at + HOUR)),
    case((_in_a_row_is_full, _Bucket.updated_at + (_Bucket.failures - _most + 1) * _forgiven_after)),
)
_of_bucket = _Bucket.digest == keyed("bucket")
_wait = select(
    type_coerce(_released_at - func.now(), INTERVAL).label("wait"), _has_attempts.label("has_attempts")
).where(_of_bucket, _released_at.is_not(None))
_WAIT = Statement(_wait)


def _reserve_attempt() -> Statement:
    """Count an attempt as failed unless it has to wait; return the refusal and the count.

    The wait is read first: an upsert that changes nothing would still lock the row, and many guesses would
    queue for it. All are null if the upsert, under the lock, finds a newer row than the read.
    """
    waiting = _wait.cte("waiting")
    first: dict[str, Any] = {
        "digest": keyed("bucket"),
        "user_id": _owner,
        "failures": literal(1),
        "hour_failures": literal(1),
        "blocked_until": _wait_until(literal(1)),
        "attempts": literal(1),
    }
    new = insert(_Bucket).from_select(
        list(first), select(*first.values()).where(~exists().select_from(waiting))
    )
    reserved = (
        new.on_conflict_do_update(
            index_elements=[_Bucket.digest],
            set_={
                "user_id": new.excluded.user_id,
                "failures": _failures + 1,
                **counted_in(HOUR, _Bucket.hour_failures, _Bucket.hour_started_at),
                "blocked_until": _wait_until(_failures + 1),
                "attempts": case((_attempts_are_over, 1), else_=_Bucket.attempts + 1),
                "updated_at": func.now(),
            },
            where=not_(or_(_is_waiting, _hour_is_full, _in_a_row_is_full)),
        )
        .returning(_Bucket.failures)
        .cte("reserved")
    )
    answer = (waiting.c.wait, waiting.c.has_attempts, reserved.c.failures)
    return Statement(select(*(select(value).scalar_subquery() for value in answer)))


_RESERVE = _reserve_attempt()


def refund_attempt() -> Update:
    """End an attempt at `bucket`, and make its failures what they would be without it."""
    return (
        update(_Bucket)
        .where(_of_bucket)
        .values(
            failures=func.greatest(_Bucket.failures - 1, 0),
            hour_failures=func.greatest(_Bucket.hour_failures - 1, 0),
            blocked_until=null(),
            attempts=_other_attempts,
        )
    )


def clear_bucket() -> Delete:
    """Forget the failures of `bucket`, and the attempts at it."""
    return delete(_Bucket).where(_of_bucket)


def _count_failure() -> Statement:
    """End an attempt, count a failure of the networks, and begin the wait of the bucket.

    The wait was set by the last reservation, for others that have succeeded since too.
    """
    bucket = (
        update(_Bucket)
        .where(_of_bucket)
        .values(blocked_until=_wait_until(_Bucket.failures), attempts=_other_attempts)
        .returning(_Bucket.digest)
        .cte("bucket")
    )
    is_over = select(func.count()).select_from(bucket).scalar_subquery() >= 0
    counted = (NetworkBucketRow.network, NetworkBucketRow.minute_failures, NetworkBucketRow.hour_failures)
    return Statement(count_networks(is_over).returning(*counted))


_REFUND = Statement(refund_attempt())
_COUNT_FAILURE = _count_failure()
_CLEAR = Statement(clear_bucket())
_CLEAR_USER = Statement(delete(_Bucket).where(_Bucket.user_id == bindparam("of_user")))


class ThrottleRepository(Repository):
    """Counts of failed logins inside a transaction."""

    async def reserve(
        self, bucket: bytes, *, user_id: UUID | None, is_unrecognised: bool, policy: ThrottlePolicy
    ) -> Refusal | None:
        """Count an attempt as failed before it is verified, or return why it is not allowed.

        Locks: the user against deletion, then the bucket, until the transaction ends.
        """
        params = {
            "bucket": bucket,
            "is_unrecognised": is_unrecognised,
            "unrecognised_per_hour": policy.unrecognised_per_hour,
            "failures_in_a_row": policy.failures_in_a_row,
            "forgiven_after": policy.forgiven_after,
        }
        row = await self._tx.fetch_one(_RESERVE, of_user=user_id, **_backoff_of(policy), **params)
        wait, has_others, failures = require_row(row)
        if wait is None and failures is None:
            row = await self._tx.fetch_one(_WAIT, **params)
            return Refusal(*row) if row is not None else Refusal(policy.initial_backoff, True)
        return Refusal(wait, has_others) if failures is None else None

    async def refund(self, bucket: bytes) -> None:
        """Take back a reserved attempt that was not verified."""
        await self._tx.execute(_REFUND, bucket=bucket)

    async def clear(self, bucket: bytes) -> None:
        """Forget the failures of a bucket, after a success."""
        await self._tx.execute(_CLEAR, bucket=bucket)

    async def clear_user(self, user_id: UUID) -> None:
        """Delete all failures from the user's devices, networks and sessions, after a new password."""
        await self._tx.execute(_CLEAR_USER, of_user=user_id)

    async def count_failure(self, bucket: bytes, networks: Sequence[Network], policy: ThrottlePolicy) -> bool:
        """Count a verified attempt as a failure of its networks; return False if that exceeds a limit.

        Locks: the bucket, then the networks' counts, until the transaction ends.
        """
        rows = await self._tx.fetch_all(
            _COUNT_FAILURE, bucket=bucket, **levels_of(networks), **_backoff_of(policy)
        )
        shares = dict(networks)
        return all(
            in_minute <= policy.network_per_minute * shares[name]
            and in_hour <= policy.network_per_hour * shares[name]
            for name, in_minute, in_hour in rows
        )
