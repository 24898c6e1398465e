"""Deletion of expired rows, in batches that lock little and never wait for a lock."""

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Integer, Interval, and_, bindparam, delete, func, or_, select, text
from sqlalchemy.orm import InstrumentedAttribute

from service.db.core.statements import Statement
from service.db.repositories.base import Repository, is_one_of, require_row
from service.db.tables import (
    EmailVerificationRow,
    EventRow,
    IdempotencyKeyRow,
    LoginBucketRow,
    LoginChallengeRow,
    LoginCodeRow,
    MailCountRow,
    NetworkBucketRow,
    OutboxRow,
    PasskeyChallengeRow,
    ResetTokenRow,
    SessionRow,
)


def _batch(table: Any, ends_at: Any, is_over: ColumnElement[bool]) -> Statement:
    """Delete the rows that ended first.

    Without an order, many ended rows make the planner scan the table from its start for each batch, past all
    the rows that stay.
    """
    (key,) = table.__table__.primary_key
    expired = select(key).where(is_over).order_by(ends_at).limit(bindparam("batch"))
    return Statement(delete(table).where(is_one_of(key, expired.with_for_update(skip_locked=True))))


def _expired(table: Any) -> Statement:
    return _batch(table, table.expires_at, table.expires_at <= func.now())


def _older(column: InstrumentedAttribute[datetime], *conditions: ColumnElement[bool]) -> Statement:
    is_old = column < func.now() - bindparam("age", type_=Interval)
    return _batch(column.class_, column, and_(*conditions, is_old))


_session_ends_at = func.least(SessionRow.expires_at, SessionRow.idle_expires_at)
_SESSIONS = _batch(SessionRow, _session_ends_at, _session_ends_at <= func.now())
_RESET_TOKENS = _expired(ResetTokenRow)
_IDEMPOTENCY = _older(IdempotencyKeyRow.created_at)
_EVENTS = _older(EventRow.at)
_MAY_PURGE_EVENTS = Statement(
    text("""
        SELECT has_function_privilege(to_regprocedure('purge_events(interval, integer)'), 'EXECUTE')
                   AS by_function, -- NULL without the function
               has_table_privilege('events', 'DELETE') AS by_statement
    """)
)
_PURGE_EVENTS = Statement(
    select(func.purge_events(bindparam("age", type_=Interval), bindparam("batch", type_=Integer)))
)
# Two statements: only the buckets of unknown devices, which are most of them, have an index by age.
_BUCKETS_OF_UNKNOWN_DEVICES, _BUCKETS_OF_USERS = (
    _older(LoginBucketRow.updated_at, is_one)
    for is_one in (LoginBucketRow.user_id.is_(None), LoginBucketRow.user_id.is_not(None))
)
_NETWORK_BUCKETS = _older(NetworkBucketRow.hour_started_at)
_VERIFICATIONS = _expired(EmailVerificationRow)
_LOGIN_CODES = _expired(LoginCodeRow)
_LOGIN_CHALLENGES = _expired(LoginChallengeRow)
_PASSKEY_CHALLENGES = _expired(PasskeyChallengeRow)
_MAIL_COUNTS = _older(MailCountRow.hour_started_at)
_MAILS = _older(OutboxRow.created_at, or_(OutboxRow.sent_at.is_not(None), OutboxRow.dead_at.is_not(None)))
_EXPIRE_PARKED = Statement(
    text(
        "DO $$ DECLARE guard text; BEGIN FOR guard IN SELECT proname FROM pg_proc"
        " JOIN pg_namespace ON pg_namespace.oid = pronamespace"
        " WHERE nspname = 'rollcall_parked' AND proname LIKE 'expire %'"
        " LOOP EXECUTE format('SELECT rollcall_parked.%I()', guard); END LOOP; END $$"
    )
)


class Cleanup(Repository):
    """Deletes at most one batch of a kind and returns the number of rows. Several processes may run it."""

    async def purge_sessions(self, batch: int) -> int:
        """Delete ended sessions."""
        return await self._tx.execute(_SESSIONS, batch=batch)

    async def purge_challenges(self, batch: int) -> int:
        """Delete expired challenges of logins and for passkeys."""
        removed = await self._tx.execute(_LOGIN_CHALLENGES, batch=batch)
        return removed + await self._tx.execute(_PASSKEY_CHALLENGES, batch=batch)

    async def purge_reset_tokens(self, batch: int) -> int:
        """Delete expired reset tokens."""
        return await self._tx.execute(_RESET_TOKENS, batch=batch)

    async def purge_idempotency_keys(self, batch: int, *, age: timedelta) -> int:
        """Delete stored responses older than `age`."""
        return await self._tx.execute(_IDEMPOTENCY, batch=batch, age=age)

    async def purge_events(self, batch: int, *, age: timedelta) -> int:
        """Delete events older than `age`: by the function of their owner, if this role may call it.

        A role that may neither call it nor delete deletes none; `doctor` says so.
        """
        may_purge = require_row(await self._tx.fetch_one(_MAY_PURGE_EVENTS))
        if may_purge["by_function"]:
            return int(require_row(await self._tx.fetch_one(_PURGE_EVENTS, age=age, batch=batch))[0])
        return await self._tx.execute(_EVENTS, batch=batch, age=age) if may_purge["by_statement"] else 0

    async def purge_mails(self, batch: int, *, age: timedelta) -> int:
        """Delete mails that were sent or given up, older than `age`; counts, tokens and codes that ended."""
        removed = await self._tx.execute(_MAILS, batch=batch, age=age)
        removed += await self._tx.execute(_MAIL_COUNTS, batch=batch, age=timedelta(hours=1))
        removed += await self._tx.execute(_VERIFICATIONS, batch=batch)
        return removed + await self._tx.execute(_LOGIN_CODES, batch=batch)

    async def purge_throttle(self, batch: int, *, age: timedelta) -> int:
        """Delete buckets unchanged for `age`, in which their failures are forgotten; of networks after a day.

        Nothing else decides: what is kept longer for login ids that have a user would tell which have one.
        """
        removed = await self._tx.execute(_BUCKETS_OF_UNKNOWN_DEVICES, batch=batch, age=age)
        removed += await self._tx.execute(_BUCKETS_OF_USERS, batch=batch, age=age)
        return removed + await self._tx.execute(_NETWORK_BUCKETS, batch=batch, age=timedelta(days=1))

    async def purge_parked(self) -> int:
        """Delete a batch of expired rows of each table that a rollback has parked; they are not counted.

        The parked schema names its own expired rows, because this release may not know the tables.
        """
        await self._tx.fetch_all(_EXPIRE_PARKED)
        return 0
