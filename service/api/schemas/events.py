"""Schemas of the audit trail."""

from typing import Annotated, Self

from service.api.schemas.common import Id, Output, PageView, Timestamp, extensible, timestamp
from service.domain.callers import CallerKind
from service.domain.events import Action, Event


class EventView(Output, frozen=True):
    """An event of the audit trail. It holds ids only."""

    id: Id
    at: Timestamp
    actor_id: Id | None
    actor_kind: Annotated[str, extensible(CallerKind)]
    action: Annotated[str, extensible(Action)]
    subject_id: Id | None
    ip: str | None
    request_id: str | None

    @classmethod
    def of(cls, event: Event) -> Self:
        """Return the view of an event."""
        return cls(
            event.id,
            timestamp(event.at),
            event.actor_id,
            event.actor_kind,
            event.action,
            event.subject_id,
            event.ip,
            event.request_id,
        )


class EventPage(PageView[EventView], frozen=True):
    """A page of events."""
