"""Responses stored for `Idempotency-Key`."""

from sqlalchemy import Index
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from service.db.tables.base import AtNow, Base, OfUser


class IdempotencyKeyRow(Base):
    """The response to one caller's idempotency key.

    `digest` is of caller and key; `request_digest` of the request without any password. The row is deleted
    with the user whom the response describes.
    """

    __tablename__ = "idempotency_keys"
    __table_args__ = (
        Index("ix_idempotency_keys_created_at", "created_at"),
        Index("ix_idempotency_keys_user_id", "user_id"),
    )

    digest: Mapped[bytes] = mapped_column(primary_key=True)
    request_digest: Mapped[bytes]
    status: Mapped[int]
    headers: Mapped[dict[str, str]] = mapped_column(JSONB)
    body: Mapped[bytes]
    created_at: Mapped[AtNow]
    user_id: Mapped[OfUser | None]
