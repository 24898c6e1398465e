"""The outbox: mails to be sent, each by one process at a time."""

from datetime import datetime, timedelta
from functools import cache
from typing import Any, Final, NamedTuple
from uuid import UUID

from sqlalchemy import (
    CTE,
    Boolean,
    ColumnElement,
    Float,
    Integer,
    Interval,
    SQLColumnExpression,
    Text,
    bindparam,
    case,
    cast,
    func,
    insert,
    literal,
    not_,
    null,
    or_,
    select,
    union_all,
    update,
)

from service.db.core.columns import columns_of
from service.db.core.statements import Statement
from service.db.repositories.base import ReadRepository, Repository, from_now, is_one_of, require_row
from service.db.repositories.listings import Listing, keyset_page
from service.db.tables import OutboxRow
from service.domain.mail import (
    HEAD_START,
    KEEP_TRYING_FOR,
    MailState,
    MailStatus,
    NewMail,
    QueuedMail,
    head_start_of,
)
from service.domain.pages import Keyset, Page
from service.security.ids import new_id

_BACKLOG_MAX: Final = 10_000
_HEAD_START = literal(HEAD_START, Interval)


def _has_head_start(place: SQLColumnExpression[datetime]) -> ColumnElement[bool]:
    """Return whether a place in the queue is ahead of its mail's creation, by more than clocks differ."""
    return place < OutboxRow.created_at - literal(HEAD_START / 2, Interval)


_place = OutboxRow.next_attempt_at
_due_at = case((_has_head_start(_place), _place + _HEAD_START), else_=_place)
_MAIL = columns_of(QueuedMail, OutboxRow)
_STATUS = columns_of(MailStatus, OutboxRow, next_attempt_at=_due_at)


class ClaimedMails(NamedTuple):
    """The mails of one batch: those to be sent now, and those that it is too late to send."""

    leased: list[QueuedMail]
    late: list[QueuedMail]


_is_pending = OutboxRow.sent_at.is_(None) & OutboxRow.dead_at.is_(None)
_is_due = (
    _is_pending
    & (_place <= func.now())
    & (_due_at <= func.now())
    & or_(OutboxRow.locked_until.is_(None), OutboxRow.locked_until <= func.now())
)
_IN_STATE = {
    MailState.PENDING: _is_pending,
    MailState.SENT: OutboxRow.sent_at.is_not(None),
    MailState.DEAD: OutboxRow.dead_at.is_not(None),
}
_ADD = Statement(
    insert(OutboxRow).values(
        give_up_at=from_now("ttl"), next_attempt_at=func.now() - bindparam("head_start", type_=Interval)
    ),
    "id", "user_id", "kind", "recipient", "locale", "params", "token_seed", "token_digest",
)  # fmt: skip


def _first(condition: ColumnElement[bool], limit: Any, name: str) -> CTE:
    """Return the mails that are due and next in the queue, locked.

    A CTE runs once: as a subquery it might run per row, and lease more than a batch.
    """
    return (
        select(OutboxRow.id)
        .where(_is_due, condition)
        .order_by(_place)
        .limit(limit)
        .with_for_update(skip_locked=True)
        .cte(name)
    )


_is_ahead = _place <= func.now() - _HEAD_START
_ahead = _first(_is_ahead, bindparam("urgent"), "ahead")
_others = _first(
    ~_is_ahead,
    bindparam("batch", type_=Integer) - select(func.count()).select_from(_ahead).scalar_subquery(),
    "others",
)
_is_late = OutboxRow.give_up_at <= func.now()
_CLAIM = Statement(
    update(OutboxRow)
    .where(is_one_of(OutboxRow.id, union_all(select(_ahead.c.id), select(_others.c.id))))
    .values(
        attempts=case((_is_late, OutboxRow.attempts), else_=OutboxRow.attempts + 1),
        locked_until=case((~_is_late, from_now("lease"))),
        message_id=func.coalesce(
            OutboxRow.message_id, cast(OutboxRow.id, Text).op("||")("@").op("||")(bindparam("domain"))
        ),
        dead_at=case((_is_late, func.now())),
        token_seed=case((~_is_late, OutboxRow.token_seed)),
        last_error=case(
            (_is_late, func.coalesce(OutboxRow.last_error, "expired")), else_=OutboxRow.last_error
        ),
    )
    .returning(*_MAIL, OutboxRow.dead_at.is_not(None))
)
_is_leased = (
    (OutboxRow.id == bindparam("mail_id")) & (OutboxRow.attempts == bindparam("attempt")) & _is_pending
)
_SENT = Statement(
    update(OutboxRow)
    .where(_is_leased)
    .values(sent_at=func.now(), locked_until=null(), last_error=null(), token_seed=null(), params={})
)
_next_due_at = from_now("wait")
_next_place = _next_due_at - bindparam("head_start", type_=Interval)
_is_over = or_(bindparam("is_permanent", type_=Boolean), _next_due_at >= OutboxRow.give_up_at)
_FAILED = Statement(
    update(OutboxRow)
    .where(_is_leased)
    .values(
        next_attempt_at=case((_has_head_start(_next_place), _next_place), else_=_next_due_at),
        locked_until=null(),
        last_error=bindparam("reason"),
        dead_at=case((_is_over, func.now())),
        token_seed=case((_is_over, null()), else_=OutboxRow.token_seed),
    )
    .returning(OutboxRow.dead_at.is_not(None))
)
_has_lost_token = OutboxRow.token_digest.is_not(None) & OutboxRow.token_seed.is_(None)
_RETRY = Statement(
    update(OutboxRow)
    .where(OutboxRow.id == bindparam("mail_id"), OutboxRow.sent_at.is_(None), not_(_has_lost_token))
    .values(
        next_attempt_at=func.now() - _HEAD_START,
        dead_at=null(),
        give_up_at=case((OutboxRow.token_digest.is_(None), from_now("ttl")), else_=OutboxRow.give_up_at),
    )
)
_next = select(OutboxRow.created_at).where(_is_pending).order_by(_place).limit(_BACKLOG_MAX).subquery()
_BACKLOG = Statement(
    select(
        func.count(),
        func.coalesce(
            cast(func.extract("epoch", func.now() - func.min(_next.c.created_at)), Float), literal(0.0)
        ),
    )
)


@cache
def _listing(state: MailState | None) -> Listing[MailStatus]:
    statement = select(*_STATUS)
    if state is not None:
        statement = statement.where(_IN_STATE[state])
    return Listing(_STATUS, statement, descending=True, at=OutboxRow.created_at, id=OutboxRow.id)


class OutboxReads(ReadRepository):
    """Reads of the outbox."""

    async def list_page(
        self, state: MailState | None, *, after: Keyset | None, limit: int
    ) -> Page[MailStatus]:
        """List mails, newest first."""
        return await keyset_page(self._executor, _listing(state), after=after, limit=limit)

    async def backlog(self) -> tuple[int, float]:
        """Return the number of pending mails, and the age of the oldest in seconds.

        Of more than 10 000, the next to be sent are looked at: counting all would take longer than sending.
        """
        count, oldest_seconds = require_row(await self._executor.fetch_one(_BACKLOG))
        return count, oldest_seconds


class OutboxRepository(OutboxReads, Repository):
    """The outbox inside a transaction."""

    async def add(self, mail: NewMail) -> None:
        """Insert a mail; it is sent once this transaction is committed.

        Locks: its user against deletion.
        """
        await self._tx.execute(
            _ADD,
            id=new_id(),
            user_id=mail.user_id,
            kind=mail.kind.value,
            recipient=mail.recipient,
            locale=mail.locale,
            params=dict(mail.params),
            token_seed=mail.token.seed if mail.token is not None else None,
            token_digest=mail.token.digest if mail.token is not None else None,
            head_start=head_start_of(mail.kind),
            ttl=min(mail.ttl, KEEP_TRYING_FOR),
        )

    async def claim(self, batch: int, *, lease: timedelta, domain: str) -> ClaimedMails:
        """Lease mails that are due, and count an attempt for each; give up those that are too late.

        Urgent ones go first, and leave a quarter of the batch to the others. The first attempt gives a mail
        its Message-ID, in `domain`.

        Locks: these mails; those that are locked are left out.
        """
        claimed = ClaimedMails([], [])
        urgent = batch - batch // 4
        rows = await self._tx.fetch_all(_CLAIM, batch=batch, urgent=urgent, lease=lease, domain=domain)
        for row in rows:
            *mail, is_late = row
            (claimed.late if is_late else claimed.leased).append(_MAIL.decode(mail))
        return claimed

    async def mark_sent(self, mail: QueuedMail) -> bool:
        """Record that a leased mail was accepted; return False if another process has leased it since."""
        return await self._tx.execute(_SENT, mail_id=mail.id, attempt=mail.attempts) == 1

    async def mark_failed(
        self, mail: QueuedMail, *, reason: str, wait: timedelta, is_permanent: bool
    ) -> bool | None:
        """Record a failed attempt; return whether the mail is given up, None if it is leased elsewhere."""
        row = await self._tx.fetch_one(
            _FAILED,
            mail_id=mail.id,
            attempt=mail.attempts,
            reason=reason,
            wait=wait,
            head_start=head_start_of(mail.kind),
            is_permanent=is_permanent,
        )
        return bool(row[0]) if row is not None else None

    async def retry(self, mail_id: UUID) -> bool:
        """Have a mail sent as soon as possible; return False if it was sent or its token is gone."""
        return await self._tx.execute(_RETRY, mail_id=mail_id, ttl=KEEP_TRYING_FOR) == 1
