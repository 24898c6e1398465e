"""The audit trail."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import ARRAY, Text, Uuid, bindparam, func, insert, select

from service.db.core.columns import columns_of
from service.db.core.statements import Statement
from service.db.repositories.base import ReadRepository, Repository
from service.db.repositories.listings import Listing, keyset_page
from service.db.tables import EventRow
from service.domain.events import Action, AuditContext, Event
from service.domain.pages import Keyset, Page
from service.security.ids import new_id

EVENT_FIELDS = ("id", "actor_id", "actor_kind", "action", "subject_id", "ip", "request_id")
"""The columns of an event that the database does not fill in itself."""

EVENT = columns_of(Event, EventRow)
_ADD = Statement(insert(EventRow), *EVENT_FIELDS)
_ADD_MANY = Statement(
    insert(EventRow).from_select(
        ("id", "subject_id", "actor_kind", "action"),
        select(
            *(func.unnest(bindparam(name, type_=ARRAY(Uuid()))) for name in ("ids", "subject_ids")),
            *(bindparam(name, type_=Text()) for name in ("actor_kind", "action")),
        ),
    )
)
_LISTING = Listing(EVENT, select(*EVENT), descending=True, at=EventRow.at, id=EventRow.id)


class EventReads(ReadRepository):
    """Reads of the audit trail."""

    async def list_page(self, *, after: Keyset | None, limit: int) -> Page[Event]:
        """List the events, newest first."""
        return await keyset_page(self._executor, _LISTING, after=after, limit=limit)


class EventRepository(EventReads, Repository):
    """Records events in the transaction that they describe; they are logged after its commit."""

    async def add(
        self,
        context: AuditContext,
        action: Action,
        subject_id: UUID | None,
        *,
        session_id: UUID | None = None,
    ) -> None:
        """Insert an event. The session id, by default the caller's, is only logged."""
        await self._tx.execute(_ADD, **self.record(context, action, subject_id, session_id=session_id))

    def record(
        self,
        context: AuditContext,
        action: Action,
        subject_id: UUID | None,
        *,
        session_id: UUID | None = None,
    ) -> dict[str, Any]:
        """Log an event after the commit and return its `EVENT_FIELDS`, for another statement to insert."""
        event = {
            "actor_id": context.caller.id,
            "actor_kind": context.caller.kind.value,
            "subject_id": subject_id,
            "request_id": context.request_id,
        }
        session_id = session_id or context.caller.session_id
        record = {"event": action.value, **event, "session_id": session_id, "network": context.network}
        self._tx.audit_records.append(
            {name: str(value) for name, value in record.items() if value is not None}
        )
        return {"id": new_id(), "action": action.value, "ip": context.ip, **event}

    async def add_many(self, context: AuditContext, action: Action, subject_ids: Sequence[UUID]) -> None:
        """Insert the same event for many subjects; only their number is logged."""
        ids = [new_id() for _ in subject_ids]
        kind = context.caller.kind.value
        await self._tx.execute(
            _ADD_MANY, ids=ids, subject_ids=list(subject_ids), actor_kind=kind, action=action.value
        )
        self._tx.audit_records.append({"event": action.value, "actor_kind": kind, "count": str(len(ids))})
