"""Removal of what has expired, in batches that lock little and never wait for others."""

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Interval, bindparam, delete, func, select
from sqlalchemy.orm import InstrumentedAttribute

from service.db.core.statements import Statement
from service.db.repositories.base import Repository
from service.db.tables import (
    EventRow,
    IdempotencyKeyRow,
    LoginBucketRow,
    NetworkBucketRow,
    ResetTokenRow,
    SessionRow,
)


def _batch(table: Any, key: Any, ends_at: Any, is_over: ColumnElement[bool]) -> Statement:
    """Delete the rows that ended first.

    Not out of fairness: without an order, many ended rows make the planner read the table from its front, for
    each batch anew, past all the rows that stay.
    """
    doomed = select(key).where(is_over).order_by(ends_at).limit(bindparam("batch"))
    return Statement(delete(table).where(key.in_(doomed.with_for_update(skip_locked=True))))


def _older_than(column: InstrumentedAttribute[datetime], name: str) -> ColumnElement[bool]:
    return column < func.now() - bindparam(name, type_=Interval)


def _session_ends_at() -> ColumnElement[datetime]:
    return func.least(SessionRow.expires_at, SessionRow.idle_expires_at)


_SESSIONS = _batch(SessionRow, SessionRow.id, _session_ends_at(), _session_ends_at() <= func.now())
_RESET_TOKENS = _batch(
    ResetTokenRow, ResetTokenRow.user_id, ResetTokenRow.expires_at, ResetTokenRow.expires_at <= func.now()
)
_IDEMPOTENCY = _batch(
    IdempotencyKeyRow,
    IdempotencyKeyRow.digest,
    IdempotencyKeyRow.created_at,
    _older_than(IdempotencyKeyRow.created_at, "age"),
)
_EVENTS = _batch(EventRow, EventRow.id, EventRow.at, _older_than(EventRow.at, "age"))
_LOGIN_BUCKETS = _batch(
    LoginBucketRow,
    LoginBucketRow.digest,
    LoginBucketRow.updated_at,
    LoginBucketRow.user_id.is_(None) & _older_than(LoginBucketRow.updated_at, "age"),
)
_NETWORK_BUCKETS = _batch(
    NetworkBucketRow,
    NetworkBucketRow.network,
    NetworkBucketRow.hour_started_at,
    _older_than(NetworkBucketRow.hour_started_at, "age"),
)


class Cleanup(Repository):
    """Deletes at most one batch of each kind; several replicas may do so at once."""

    async def purge_sessions(self, batch: int) -> int:
        """Remove ended sessions; give their number."""
        return await self._db.execute(_SESSIONS, {"batch": batch})

    async def purge_reset_tokens(self, batch: int) -> int:
        """Remove expired reset tokens; give their number."""
        return await self._db.execute(_RESET_TOKENS, {"batch": batch})

    async def purge_idempotency_keys(self, batch: int, *, age: timedelta) -> int:
        """Remove answers older than `age`; give their number."""
        return await self._db.execute(_IDEMPOTENCY, {"batch": batch, "age": age})

    async def purge_events(self, batch: int, *, age: timedelta) -> int:
        """Remove events older than `age`; give their number."""
        return await self._db.execute(_EVENTS, {"batch": batch, "age": age})

    async def purge_throttle(self, batch: int, *, age: timedelta) -> int:
        """Remove counts of names without an account unchanged for `age`, and of networks quiet for a day."""
        removed = await self._db.execute(_LOGIN_BUCKETS, {"batch": batch, "age": age})
        return removed + await self._db.execute(_NETWORK_BUCKETS, {"batch": batch, "age": timedelta(days=1)})
