# mypy: disable-error-code="attr-defined"
# env.py adds operations of our own to op.
"""Create what recovery, verification and log-in by code need; note the address that a reset token went to."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0017_create_mail_requests"
down_revision = "0016_add_account_details"

phase = "expand"
locks = (
    "reset_tokens: ACCESS EXCLUSIVE for an instant; "
    "users: SHARE ROW EXCLUSIVE for an instant, for the foreign keys"
)
lossless = True

TABLES = ("mail_requests", "mail_counts", "email_verifications", "login_codes")
EXPIRED = {
    "mail_requests": "created_at < now() - interval '1 hour'",  # answered late, one surprises its recipient
    "mail_counts": "hour_started_at < now() - interval '1 hour'",
    "email_verifications": "expires_at <= now()",
    "login_codes": "expires_at <= now()",
}


def upgrade() -> None:
    made = (_create_mail_requests, _create_mail_counts, _create_email_verifications, _create_login_codes)
    for table, create in zip(TABLES, made, strict=True):
        if not op.restore_table(table):
            create(table)
    op.restore_columns("reset_tokens", sa.Column("mailed_to", sa.Text(), nullable=True), key=("user_id",))


def _create_mail_requests(table: str) -> None:
    op.create_table(
        table,
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("login_id", sa.Text(), nullable=True),
        sa.Column("email", sa.Text(), nullable=True),
        sa.Column("code_token_digest", sa.LargeBinary(), nullable=True),
        sa.Column("ip", sa.Text(), nullable=True),
        sa.Column("request_id", sa.Text(), nullable=True),
        _at("created_at", server_default=sa.func.now()),
        sa.PrimaryKeyConstraint("id", name=f"pk_{table}"),
    )


def _create_mail_counts(table: str) -> None:
    op.create_table(
        table,
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("requests", sa.Integer(), server_default=sa.text("1"), nullable=False),
        _at("hour_started_at", server_default=sa.func.now()),
        sa.PrimaryKeyConstraint("digest", name=f"pk_{table}"),
    )
    op.create_index(f"ix_{table}_hour_started_at", table, ["hour_started_at"])


def _create_email_verifications(table: str) -> None:
    op.create_table(
        table,
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("email", sa.Text(), nullable=False),
        sa.Column("token_digest", sa.LargeBinary(), nullable=False),
        _at("created_at", server_default=sa.func.now()),
        _at("expires_at"),
        sa.PrimaryKeyConstraint("user_id", name=f"pk_{table}"),
        _of_user(table),
        sa.UniqueConstraint("token_digest", name=f"uq_{table}_token_digest"),
    )


def _create_login_codes(table: str) -> None:
    op.create_table(
        table,
        sa.Column("token_digest", sa.LargeBinary(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=True),
        sa.Column("code_digest", sa.LargeBinary(), nullable=False),
        sa.Column("tries", sa.Integer(), server_default=sa.text("0"), nullable=False),
        _at("created_at", server_default=sa.func.now()),
        _at("expires_at"),
        sa.PrimaryKeyConstraint("token_digest", name=f"pk_{table}"),
        _of_user(table),
    )
    op.create_index(f"ix_{table}_user_id", table, ["user_id"])


def _at(name: str, **options: Any) -> sa.Column[Any]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=False, **options)


def _of_user(table: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(
        ["user_id"], ["users.id"], name=f"fk_{table}_user_id_users", ondelete="CASCADE"
    )


def downgrade() -> None:
    op.park_columns("reset_tokens", "mailed_to", key=("user_id",))
    for table in reversed(TABLES):
        owner = None if table.startswith("mail_") else "user_id"
        op.park_table(table, credentials_of=owner, expired=EXPIRED[table])
