"""Login sessions."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import Index, Text, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column

from service.db.tables.base import AtNow, Base, Id, OfUser


class SessionRow(Base):
    """A login. Only the SHA-256 digest of its token is stored. Source: OWASP ASVS 5.0 6.5.2, 14.2.6."""

    __tablename__ = "sessions"
    __table_args__ = (
        Index("ix_sessions_user_id_created_at_id", "user_id", "created_at", "id"),
        Index("ix_sessions_ends_at", text("LEAST(expires_at, idle_expires_at)")),
        {"postgresql_with": {"fillfactor": 90, "autovacuum_vacuum_scale_factor": 0.02}},
    )

    id: Mapped[Id]
    user_id: Mapped[OfUser]
    token_digest: Mapped[bytes] = mapped_column(unique=True)
    created_at: Mapped[AtNow]
    last_used_at: Mapped[AtNow]
    expires_at: Mapped[datetime]
    idle_expires_at: Mapped[datetime]
    user_agent: Mapped[str | None]
    ip: Mapped[str | None]
    device_id: Mapped[UUID | None]
    """No foreign key: a forgotten device ends no session."""
    amr: Mapped[list[str]] = mapped_column(ARRAY(Text), server_default=text("'{pwd}'::text[]"))
    authenticated_at: Mapped[datetime | None]
    """When its user last proved who they are, if that was after the login."""
