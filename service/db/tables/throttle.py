"""Counts of failed logins."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from service.db.tables.base import AtNow, Base
from service.db.tables.users import UserRow


class ThrottleKeyRow(Base):
    """The key of the digests in `login_buckets`, `network_buckets` and `mail_counts`: at most one row."""

    __tablename__ = "throttle_keys"
    __table_args__ = (CheckConstraint("is_only_row", name="is_only_row"),)

    is_only_row: Mapped[bool] = mapped_column(primary_key=True, server_default=text("true"))
    key: Mapped[bytes]


class LoginBucketRow(Base):
    """The failures of one login id, with or without a user: of one device or network, or of all others."""

    __tablename__ = "login_buckets"
    __table_args__ = (
        Index("ix_login_buckets_user_id", "user_id"),
        Index("ix_login_buckets_updated_at", "updated_at", postgresql_where=text("user_id IS NULL")),
    )

    digest: Mapped[bytes] = mapped_column(primary_key=True)
    user_id: Mapped[UUID | None] = mapped_column(ForeignKey(UserRow.id, ondelete="CASCADE"))
    failures: Mapped[int] = mapped_column(server_default=text("0"))
    hour_failures: Mapped[int] = mapped_column(server_default=text("0"))
    hour_started_at: Mapped[AtNow]
    blocked_until: Mapped[datetime | None]
    updated_at: Mapped[AtNow]
    attempts: Mapped[int] = mapped_column(server_default=text("0"))
    """Attempts that are being verified, if `updated_at` is recent."""


class NetworkBucketRow(Base):
    """What counts for one network in the current minute and hour: failures, or what else is limited."""

    __tablename__ = "network_buckets"
    __table_args__ = (Index("ix_network_buckets_hour_started_at", "hour_started_at"),)

    network: Mapped[str] = mapped_column(primary_key=True)
    minute_failures: Mapped[int] = mapped_column(server_default=text("0"))
    minute_started_at: Mapped[AtNow]
    hour_failures: Mapped[int] = mapped_column(server_default=text("0"))
    hour_started_at: Mapped[AtNow]
