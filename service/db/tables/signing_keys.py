"""The keys that sign access tokens."""

from datetime import datetime

from sqlalchemy.orm import Mapped

from service.db.tables.base import AtNow, Base, Id


class SigningKeyRow(Base):
    """A key pair. It signs from `signs_from` until a later one does, and is published until `ends_at`.

    `public_jwk` is JSON (RFC 7517); `private_key` is encrypted.
    """

    __tablename__ = "signing_keys"

    id: Mapped[Id]
    algorithm: Mapped[str]
    public_jwk: Mapped[str]
    private_key: Mapped[bytes]
    created_at: Mapped[AtNow]
    signs_from: Mapped[datetime]
    ends_at: Mapped[datetime | None]
