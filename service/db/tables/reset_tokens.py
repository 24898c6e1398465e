"""Password reset tokens."""

from datetime import datetime

from sqlalchemy.orm import Mapped, mapped_column

from service.db.tables.base import AtNow, Base, OfUser


class ResetTokenRow(Base):
    """The only reset token of a user, stored as its SHA-256 digest."""

    __tablename__ = "reset_tokens"

    user_id: Mapped[OfUser] = mapped_column(primary_key=True)
    token_digest: Mapped[bytes] = mapped_column(unique=True)
    created_at: Mapped[AtNow]
    expires_at: Mapped[datetime]
    mailed_to: Mapped[str | None]
    """The address that it went to, which its use verifies."""
