"""The devices that users have logged in from."""

from sqlalchemy import Index
from sqlalchemy.orm import Mapped, mapped_column

from service.db.tables.base import AtNow, Base, Id, OfUser


class DeviceRow(Base):
    """A device that a user has logged in from, and the network where it was last seen."""

    __tablename__ = "devices"
    __table_args__ = (Index("ix_devices_user_id_network", "user_id", "network"),)

    id: Mapped[Id]
    user_id: Mapped[OfUser]
    token_digest: Mapped[bytes] = mapped_column(unique=True)
    network: Mapped[str]
    created_at: Mapped[AtNow]
    last_seen_at: Mapped[AtNow]
