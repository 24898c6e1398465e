"""API keys."""

from datetime import datetime

from sqlalchemy import Index, Text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column

from service.db.tables.base import AtNow, Base, Id, OfUser


class ApiKeyRow(Base):
    """A service's credential, stored as the SHA-256 digest of the key."""

    __tablename__ = "api_keys"
    __table_args__ = (
        Index("ix_api_keys_created_at_id", "created_at", "id"),
        Index("ix_api_keys_created_by", "created_by"),
    )

    id: Mapped[Id]
    name: Mapped[str]
    scopes: Mapped[list[str]] = mapped_column(ARRAY(Text))
    prefix: Mapped[str]
    token_digest: Mapped[bytes] = mapped_column(unique=True)
    created_at: Mapped[AtNow]
    last_used_at: Mapped[datetime | None]
    expires_at: Mapped[datetime | None]
    created_by: Mapped[OfUser | None]
    """The administrator who made it; null if the command line did."""
