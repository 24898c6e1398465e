"""Users."""

from datetime import datetime
from typing import Any

from sqlalchemy import CheckConstraint, Index, Text, text
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.orm import Mapped, mapped_column

from service.db.tables.base import AtNow, Base, Id


class UserRow(Base):
    """A user. A trigger sets `updated_at` on every change except one of only `last_login_at`."""

    __tablename__ = "users"
    __table_args__ = (
        CheckConstraint("role IN ('user', 'admin')", name="role"),
        CheckConstraint("state IN ('active', 'disabled')", name="state"),
        Index("ix_users_created_at_id", "created_at", "id"),
        Index("ix_users_folded_name", text('fold_name(name) COLLATE "C"')),
        Index("ix_users_name_prefix", text('lower(name) COLLATE "C"')),  # the previous release reads it
        Index("ix_users_admins", "created_at", "id", postgresql_where=text("role = 'admin'")),
        Index("uq_users_email", "email", unique=True, postgresql_where=text("email_verified_at IS NOT NULL")),
        Index(
            "ix_users_email_unverified",
            "email",
            "created_at",
            "id",
            postgresql_where=text("email IS NOT NULL AND email_verified_at IS NULL"),
        ),
        Index(
            "uq_users_external_id_present",
            "external_id",
            unique=True,
            postgresql_where=text("external_id IS NOT NULL"),
        ),
        Index("ix_users_disabled", "created_at", "id", postgresql_where=text("state = 'disabled'")),
    )

    id: Mapped[Id]
    name: Mapped[str]
    login_id: Mapped[str] = mapped_column(Text(collation="C"), unique=True)
    password_hash: Mapped[str | None]
    created_at: Mapped[AtNow]
    updated_at: Mapped[AtNow]
    role: Mapped[str] = mapped_column(server_default="user")
    state: Mapped[str] = mapped_column(server_default="active")
    must_change: Mapped[bool] = mapped_column(server_default=text("false"))
    last_login_at: Mapped[datetime | None]
    password_changed_at: Mapped[datetime | None]
    email: Mapped[str | None]
    email_verified_at: Mapped[datetime | None]
    pending_email: Mapped[str | None]
    locale: Mapped[str | None]
    external_id: Mapped[str | None]
    metadata_: Mapped[dict[str, Any]] = mapped_column("metadata", JSONB, server_default=text("'{}'::jsonb"))
    factors: Mapped[list[str]] = mapped_column(ARRAY(Text), server_default=text("'{}'::text[]"))
    """The second factors that are enrolled; written together with them."""
