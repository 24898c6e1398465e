"""SQLAlchemy declarative classes of the columns that a read returns."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import DateTime, ForeignKey, LargeBinary
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from bench.peers.serving import DSN

URL = DSN.replace("postgresql://", "postgresql+asyncpg://", 1)


class Base(DeclarativeBase):
    type_annotation_map = {datetime: DateTime(timezone=True), bytes: LargeBinary}  # noqa: RUF012


class User(Base):
    __tablename__ = "users"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    login_id: Mapped[str]
    name: Mapped[str]
    role: Mapped[str]
    state: Mapped[str]
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]
    last_login_at: Mapped[datetime | None]


class Session(Base):
    __tablename__ = "sessions"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id"))
    token_digest: Mapped[bytes]
    created_at: Mapped[datetime]
    last_used_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    idle_expires_at: Mapped[datetime]
    user_agent: Mapped[str | None]
    ip: Mapped[str | None]
