"""The processes that serve from this database."""

from sqlalchemy import Index
from sqlalchemy.orm import Mapped

from service.db.tables.base import AtNow, Base, Id


class InstanceRow(Base):
    """The heartbeat of a process, and the schema revisions that it can serve."""

    __tablename__ = "instances"
    __table_args__ = (Index("ix_instances_seen_at", "seen_at"),)

    id: Mapped[Id]
    host: Mapped[str]
    pid: Mapped[int]
    release: Mapped[str]
    oldest_revision: Mapped[int]
    newest_revision: Mapped[int]
    started_at: Mapped[AtNow]
    seen_at: Mapped[AtNow]
