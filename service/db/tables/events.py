"""The audit trail."""

from uuid import UUID

from sqlalchemy import Index
from sqlalchemy.orm import Mapped

from service.db.tables.base import AtNow, Base, Id


class EventRow(Base):
    """Who did what to whom. There are no foreign keys: events outlive their subjects."""

    __tablename__ = "events"
    __table_args__ = (Index("ix_events_at_id", "at", "id"),)

    id: Mapped[Id]
    at: Mapped[AtNow]
    actor_id: Mapped[UUID | None]
    actor_kind: Mapped[str]
    action: Mapped[str]
    subject_id: Mapped[UUID | None]
    ip: Mapped[str | None]
    request_id: Mapped[str | None]
