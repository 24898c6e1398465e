"""The audit trail in SQL."""

from collections.abc import Iterable, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import ARRAY, Insert, Text, Uuid, bindparam, func, insert, select, tuple_

from service.db.core.statements import ReadQuery, Statement
from service.db.repositories.base import Executor, ReadExecutor, Repository, page_of
from service.db.tables import EventRow
from service.domain.callers import CallerKind
from service.domain.events import Action, AuditContext, Event
from service.domain.pages import Keyset, Page
from service.security.ids import new_id

EVENT_COLUMNS: tuple[Any, ...] = (
    EventRow.id,
    EventRow.at,
    EventRow.actor_id,
    EventRow.actor_kind,
    EventRow.action,
    EventRow.subject_id,
    EventRow.ip,
    EventRow.request_id,
)


def event_from(values: Iterable[Any]) -> Event:
    """Make the entity from the values of `EVENT_COLUMNS`."""
    id_, at, actor_id, actor_kind, action, subject_id, ip, request_id = values
    return Event(id_, at, actor_id, CallerKind(actor_kind), Action(action), subject_id, ip, request_id)


_TOLD = ("actor_id", "actor_kind", "action", "subject_id", "ip", "request_id")


def insert_event() -> Insert:
    """Tell of what `EventRepository.note` gave the values of."""
    values = {name: bindparam(name, type_=EventRow.__table__.c[name].type) for name in _TOLD}
    return insert(EventRow).values(id=bindparam("event_id", type_=EventRow.id.type), **values)


_ADD = Statement(insert_event())
_ADD_MANY = Statement(
    insert(EventRow).from_select(
        ("id", "subject_id", "actor_kind", "action"),
        select(
            *(func.unnest(bindparam(name, type_=ARRAY(Uuid()))) for name in ("ids", "subject_ids")),
            *(bindparam(name, type_=Text()) for name in ("actor_kind", "action")),
        ),
    )
)
_LATEST = (
    select(*EVENT_COLUMNS).order_by(EventRow.at.desc(), EventRow.id.desc()).limit(bindparam("row_limit"))
)
_LATEST_CONTINUED = _LATEST.where(
    tuple_(EventRow.at, EventRow.id)
    < tuple_(bindparam("after_at", type_=EventRow.at.type), bindparam("after_id", type_=EventRow.id.type))
)


class EventRepository(Repository):
    """The audit trail inside the transaction that it tells of; `told` collects what to log after it."""

    def __init__(self, executor: Executor, audit_records: list[dict[str, str]]) -> None:
        super().__init__(executor)
        self._told = audit_records

    async def add(
        self,
        context: AuditContext,
        action: Action,
        subject_id: UUID | None,
        *,
        session_id: UUID | None = None,
    ) -> None:
        """Tell what happened to whom; the session, by default the one that asks, stands in the log alone."""
        await self._db.execute(_ADD, self.audit_values(context, action, subject_id, session_id=session_id))

    def audit_values(
        self,
        context: AuditContext,
        action: Action,
        subject_id: UUID | None,
        *,
        session_id: UUID | None = None,
    ) -> dict[str, Any]:
        """Give the values of an event that another statement of the transaction tells, as `add` would."""
        event = {
            "actor_id": context.caller.id,
            "actor_kind": context.caller.kind.value,
            "subject_id": subject_id,
            "request_id": context.request_id,
        }
        session_id = session_id or context.caller.session_id
        facts = {"event": action.value, **event, "session_id": session_id, "network": context.network}
        self._told.append({name: str(value) for name, value in facts.items() if value is not None})
        return {"event_id": new_id(), "action": action.value, "ip": context.ip, **event}

    async def add_many(self, context: AuditContext, action: Action, subject_ids: Sequence[UUID]) -> None:
        """Tell that the same happened to many; the log gets their number alone."""
        ids = [new_id() for _ in subject_ids]
        audit_records = {"actor_kind": context.caller.kind.value, "action": action.value}
        await self._db.execute(_ADD_MANY, {"ids": ids, "subject_ids": list(subject_ids), **audit_records})
        self._told.append(
            {"event": action.value, "actor_kind": audit_records["actor_kind"], "count": str(len(ids))}
        )


class EventReads:
    """The audit trail, read in one statement without a transaction."""

    _FIRST_PAGE = ReadQuery(_LATEST)
    _NEXT_PAGE = ReadQuery(_LATEST_CONTINUED)

    def __init__(self, read_pool: ReadExecutor) -> None:
        self._read_pool = read_pool

    async def list_page(self, *, after: Keyset | None, limit: int) -> Page[Event]:
        """List the events, newest first."""
        values: dict[str, object] = {"row_limit": limit + 1}
        query = self._FIRST_PAGE
        if after is not None:
            values |= {"after_at": after.at, "after_id": after.id}
            query = self._NEXT_PAGE
        rows = await self._read_pool.fetch_all(query, **values)
        return page_of([event_from(row) for row in rows], limit, lambda item: Keyset(item.id, at=item.at))
