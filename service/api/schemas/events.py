"""Schemas of the audit trail."""

from typing import Self

from service.api.schemas.common import Id, Output, Timestamp, timestamp
from service.domain.callers import CallerKind
from service.domain.events import Action, Event


class EventView(Output, frozen=True):
    """An event of the audit trail. It holds ids only."""

    id: Id
    at: Timestamp
    actor_id: Id | None
    actor_kind: CallerKind
    action: Action
    subject_id: Id | None
    ip: str | None
    request_id: str | None

    @classmethod
    def of(cls, event: Event) -> Self:
        """Return the view of an event."""
        return cls(
            str(event.id),
            timestamp(event.at),
            str(event.actor_id) if event.actor_id else None,
            event.actor_kind,
            event.action,
            str(event.subject_id) if event.subject_id else None,
            event.ip,
            event.request_id,
        )


class EventPage(Output, frozen=True):
    """A page of events."""

    items: list[EventView]
    next_cursor: str | None
