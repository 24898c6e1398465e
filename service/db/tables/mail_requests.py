"""Requests for mails, and the one-time tokens in them."""

from datetime import datetime

from sqlalchemy import Index, text
from sqlalchemy.orm import Mapped, mapped_column

from service.db.tables.base import AtNow, Base, Count, Id, OfUser


class MailRequestRow(Base):
    """A request of somebody unknown, kept for a moment: whether it has an account is found out later.

    So a request takes the same time with and without one.
    """

    __tablename__ = "mail_requests"

    id: Mapped[Id]
    kind: Mapped[str]
    login_id: Mapped[str | None]
    email: Mapped[str | None]
    code_token_digest: Mapped[bytes | None]
    ip: Mapped[str | None]
    request_id: Mapped[str | None]
    created_at: Mapped[AtNow]


class MailCountRow(Base):
    """The mails that were asked for in the current hour: by a network, for a name, to an address."""

    __tablename__ = "mail_counts"
    __table_args__ = (Index("ix_mail_counts_hour_started_at", "hour_started_at"),)

    digest: Mapped[bytes] = mapped_column(primary_key=True)
    requests: Mapped[int] = mapped_column(server_default=text("1"))
    hour_started_at: Mapped[AtNow]


class EmailVerificationRow(Base):
    """The only verification token of a user, stored as its SHA-256 digest, and the address it verifies."""

    __tablename__ = "email_verifications"

    user_id: Mapped[OfUser] = mapped_column(primary_key=True)
    email: Mapped[str]
    token_digest: Mapped[bytes] = mapped_column(unique=True)
    created_at: Mapped[AtNow]
    expires_at: Mapped[datetime]


class LoginCodeRow(Base):
    """A code to log in with, bound to the token of the browser that asked for it.

    Without a user, no code matches: trying one takes as long as for an account.
    """

    __tablename__ = "login_codes"
    __table_args__ = (Index("ix_login_codes_user_id", "user_id"),)

    token_digest: Mapped[bytes] = mapped_column(primary_key=True)
    user_id: Mapped[OfUser | None]
    code_digest: Mapped[bytes]
    tries: Mapped[Count]
    created_at: Mapped[AtNow]
    expires_at: Mapped[datetime]
