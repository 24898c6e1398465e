"""Mails to be sent."""

from datetime import datetime

from sqlalchemy import Index, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from service.db.tables.base import AtNow, Base, Count, Id, OfUser


class OutboxRow(Base):
    """A mail, written in the transaction that makes it necessary.

    It holds no token: `token_seed` becomes one with the key of the settings, and is deleted when the mail is
    sent or given up. `locked_until` is the lease of the process that is sending it.
    """

    __tablename__ = "outbox"
    __table_args__ = (
        Index(
            "ix_outbox_next_attempt_at",
            "next_attempt_at",
            postgresql_where=text("sent_at IS NULL AND dead_at IS NULL"),
        ),
        Index("ix_outbox_created_at_id", "created_at", "id"),
        Index("ix_outbox_user_id", "user_id"),
        {"postgresql_with": {"fillfactor": 80}},
    )

    id: Mapped[Id]
    user_id: Mapped[OfUser | None]
    kind: Mapped[str]
    recipient: Mapped[str]
    locale: Mapped[str | None]
    params: Mapped[dict[str, str]] = mapped_column(JSONB)
    message_id: Mapped[str | None]
    """Set by the first attempt and the same in all later ones."""
    token_seed: Mapped[bytes | None]
    token_digest: Mapped[bytes | None]
    attempts: Mapped[Count]
    created_at: Mapped[AtNow]
    next_attempt_at: Mapped[AtNow]
    """The place in the queue: when the mail is due, minus the head start of its kind."""
    give_up_at: Mapped[datetime]
    locked_until: Mapped[datetime | None]
    sent_at: Mapped[datetime | None]
    dead_at: Mapped[datetime | None]
    last_error: Mapped[str | None]
