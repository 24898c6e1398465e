# mypy: disable-error-code="attr-defined"
# env.py adds operations of our own to op.
"""Add second factors, passkeys and recovery codes; note how strongly each session was authenticated."""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0018_add_factors"
down_revision = "0017_create_mail_requests"

phase = "expand"
locks = (
    "users and sessions: ACCESS EXCLUSIVE for an instant each; "
    "users: SHARE ROW EXCLUSIVE for an instant, for the foreign keys"
)
lossless = True

TABLES = ("totp_secrets", "passkeys", "recovery_codes", "login_challenges", "passkey_challenges")
COLUMNS = {"sessions": ("authenticated_at", "amr"), "users": ("factors",)}


def upgrade() -> None:
    op.lock_tables(*COLUMNS)  # most requests lock a session before a user
    op.restore_columns("users", _texts("factors", "{}"))
    op.restore_columns("sessions", _texts("amr", "{pwd}"), _at("authenticated_at", nullable=True))
    made = (
        _create_totp_secrets,
        _create_passkeys,
        _create_recovery_codes,
        _create_login_challenges,
        _create_passkey_challenges,
    )
    for table, create in zip(TABLES, made, strict=True):
        if not op.restore_table(table):
            create(table)


def _create_totp_secrets(table: str) -> None:
    op.create_table(
        table,
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("secret", sa.LargeBinary(), nullable=False),
        _at("created_at", server_default=sa.func.now()),
        _at("confirmed_at", nullable=True),
        sa.Column("last_step", sa.BigInteger(), nullable=True),
        _at("last_used_at", nullable=True),
        sa.PrimaryKeyConstraint("id", name=f"pk_{table}"),
        _of_user(table),
    )
    # A user may set up another app while the confirmed one still works: at most one of each.
    for name, where in (("confirmed", "confirmed_at IS NOT NULL"), ("pending", "confirmed_at IS NULL")):
        index, only = f"uq_{table}_{name}", sa.text(where)
        op.create_index(index, table, ["user_id"], unique=True, postgresql_where=only)


def _create_passkeys(table: str) -> None:
    op.create_table(
        table,
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("credential_id", sa.LargeBinary(), nullable=False),
        sa.Column("public_key", sa.LargeBinary(), nullable=False),
        sa.Column("sign_count", sa.BigInteger(), nullable=False),
        sa.Column("aaguid", sa.Uuid(), nullable=False),
        sa.Column("transports", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("is_backup_eligible", sa.Boolean(), nullable=False),
        sa.Column("is_backed_up", sa.Boolean(), nullable=False),
        _at("created_at", server_default=sa.func.now()),
        _at("last_used_at", nullable=True),
        sa.PrimaryKeyConstraint("id", name=f"pk_{table}"),
        _of_user(table),
        sa.UniqueConstraint("credential_id", name=f"uq_{table}_credential_id"),
    )
    op.create_index(f"ix_{table}_user_id", table, ["user_id"])


def _create_recovery_codes(table: str) -> None:
    op.create_table(
        table,
        sa.Column("code_digest", sa.LargeBinary(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        _at("created_at", server_default=sa.func.now()),
        sa.PrimaryKeyConstraint("code_digest", name=f"pk_{table}"),
        _of_user(table),
    )
    op.create_index(f"ix_{table}_user_id", table, ["user_id"])


def _create_login_challenges(table: str) -> None:
    op.create_table(
        table,
        sa.Column("token_digest", sa.LargeBinary(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        _texts("amr", "{pwd}"),
        sa.Column("tries", sa.Integer(), server_default=sa.text("0"), nullable=False),
        _at("created_at", server_default=sa.func.now()),
        _at("expires_at"),
        sa.PrimaryKeyConstraint("token_digest", name=f"pk_{table}"),
        _of_user(table),
    )
    op.create_index(f"ix_{table}_user_id", table, ["user_id"])


def _create_passkey_challenges(table: str) -> None:
    op.create_table(
        table,
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=True),
        sa.Column("challenge", sa.LargeBinary(), nullable=False),
        _at("created_at", server_default=sa.func.now()),
        _at("expires_at"),
        sa.PrimaryKeyConstraint("id", name=f"pk_{table}"),
        _of_user(table),
    )
    op.create_index(f"ix_{table}_user_id", table, ["user_id"])
    op.create_index(f"ix_{table}_expires_at", table, ["expires_at"])


def _texts(name: str, default: str) -> sa.Column[Any]:
    return sa.Column(
        name, postgresql.ARRAY(sa.Text()), server_default=sa.text(f"'{default}'::text[]"), nullable=False
    )


def _at(name: str, *, nullable: bool = False, **options: Any) -> sa.Column[Any]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=nullable, **options)


def _of_user(table: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(
        ["user_id"], ["users.id"], name=f"fk_{table}_user_id_users", ondelete="CASCADE"
    )


def downgrade() -> None:
    for table, columns in COLUMNS.items():
        op.keep_columns(table, *columns)
    op.lock_tables(*COLUMNS)
    for table in reversed(TABLES):
        expired = "expires_at <= now()" if table.endswith("_challenges") else None
        # A new password removes no factor; it ends a login that waits for one.
        owner = "user_id" if table == "login_challenges" else None
        op.park_table(table, credentials_of=owner, expired=expired)
    for table, columns in COLUMNS.items():
        op.drop_kept_columns(table, *columns)
