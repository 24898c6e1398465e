"""Second factors and passkeys, and the challenges of logins that are under way."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import BigInteger, Index, Text, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column

from service.db.tables.base import AtNow, Base, Count, Id, OfUser


class TotpSecretRow(Base):
    """The encrypted secret of an authenticator app: one in use, and one that waits for its first code.

    `last_step` is the time step of the last code that was accepted; no code up to it is accepted again.
    """

    __tablename__ = "totp_secrets"
    __table_args__ = (
        Index(
            "uq_totp_secrets_confirmed",
            "user_id",
            unique=True,
            postgresql_where=text("confirmed_at IS NOT NULL"),
        ),
        Index(
            "uq_totp_secrets_pending", "user_id", unique=True, postgresql_where=text("confirmed_at IS NULL")
        ),
        Index("ix_totp_secrets_user_id", "user_id"),  # of the foreign key, which uses no partial index
    )

    id: Mapped[Id]
    user_id: Mapped[OfUser]
    secret: Mapped[bytes]
    created_at: Mapped[AtNow]
    confirmed_at: Mapped[datetime | None]
    last_step: Mapped[int | None] = mapped_column(BigInteger)
    last_used_at: Mapped[datetime | None]


class PasskeyRow(Base):
    """A WebAuthn credential: its public key in COSE form, and what its authenticator reported."""

    __tablename__ = "passkeys"
    __table_args__ = (Index("ix_passkeys_user_id", "user_id"),)

    id: Mapped[Id]
    user_id: Mapped[OfUser]
    name: Mapped[str]
    credential_id: Mapped[bytes] = mapped_column(unique=True)
    public_key: Mapped[bytes]
    sign_count: Mapped[int] = mapped_column(BigInteger)
    aaguid: Mapped[UUID]
    transports: Mapped[list[str]] = mapped_column(ARRAY(Text))
    is_backup_eligible: Mapped[bool]
    is_backed_up: Mapped[bool]
    created_at: Mapped[AtNow]
    last_used_at: Mapped[datetime | None]


class RecoveryCodeRow(Base):
    """A recovery code that is not used yet, stored as its SHA-256 digest."""

    __tablename__ = "recovery_codes"
    __table_args__ = (Index("ix_recovery_codes_user_id", "user_id"),)

    code_digest: Mapped[bytes] = mapped_column(primary_key=True)
    user_id: Mapped[OfUser]
    created_at: Mapped[AtNow]


class LoginChallengeRow(Base):
    """A login that has passed its first factor, and how (`amr`); the client holds its token."""

    __tablename__ = "login_challenges"
    __table_args__ = (Index("ix_login_challenges_user_id", "user_id"),)

    token_digest: Mapped[bytes] = mapped_column(primary_key=True)
    user_id: Mapped[OfUser]
    amr: Mapped[list[str]] = mapped_column(ARRAY(Text), server_default=text("'{pwd}'::text[]"))
    tries: Mapped[Count]
    created_at: Mapped[AtNow]
    expires_at: Mapped[datetime]


class PasskeyChallengeRow(Base):
    """A WebAuthn challenge, deleted when it is answered: of the user who adds a passkey, or of a login."""

    __tablename__ = "passkey_challenges"
    __table_args__ = (
        Index("ix_passkey_challenges_user_id", "user_id"),
        Index("ix_passkey_challenges_expires_at", "expires_at"),
    )

    id: Mapped[Id]
    user_id: Mapped[OfUser | None]
    challenge: Mapped[bytes]
    created_at: Mapped[AtNow]
    expires_at: Mapped[datetime]
