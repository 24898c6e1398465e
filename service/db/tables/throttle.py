"""Counts of failed logins."""

from datetime import datetime

from sqlalchemy import CheckConstraint, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from service.db.tables.base import AtNow, Base, Count, OfUser


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
    user_id: Mapped[OfUser | None]
    failures: Mapped[Count]
    hour_failures: Mapped[Count]
    hour_started_at: Mapped[AtNow]
    blocked_until: Mapped[datetime | None]
    updated_at: Mapped[AtNow]
    attempts: Mapped[Count]
    """Attempts that are being verified, if `updated_at` is recent."""


class NetworkBucketRow(Base):
    """What counts for one network in the current minute and hour: failures, or what else is limited."""

    __tablename__ = "network_buckets"
    __table_args__ = (Index("ix_network_buckets_hour_started_at", "hour_started_at"),)

    network: Mapped[str] = mapped_column(primary_key=True)
    minute_failures: Mapped[Count]
    minute_started_at: Mapped[AtNow]
    hour_failures: Mapped[Count]
    hour_started_at: Mapped[AtNow]
