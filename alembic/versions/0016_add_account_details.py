# mypy: disable-error-code="attr-defined"
# env.py adds operations of our own to op.
"""Add e-mail, locale, external id and metadata of users."""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0016_add_account_details"
down_revision = "0015_create_outbox"

phase = "expand"
locks = "users: ACCESS EXCLUSIVE for an instant; the indexes are built while the table stays in use"
lossless = True

VERIFIED = "email_verified_at IS NOT NULL"


def columns() -> tuple[sa.Column[Any], ...]:
    return (
        sa.Column("email", sa.Text(), nullable=True),
        sa.Column("email_verified_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("pending_email", sa.Text(), nullable=True),
        sa.Column("locale", sa.Text(), nullable=True),
        sa.Column("external_id", sa.Text(), nullable=True),
        sa.Column("metadata", postgresql.JSONB(), server_default=sa.text("'{}'::jsonb"), nullable=False),
    )


def upgrade() -> None:
    op.restore_columns("users", *columns())
    # Whoever has verified an address has it; others may claim it, and cannot keep it from its owner.
    op.build_index("uq_users_email", "users", ["email"], unique=True, postgresql_where=sa.text(VERIFIED))
    op.build_index("ix_users_email", "users", ["email", "id"])
    op.build_index("uq_users_external_id", "users", ["external_id"], unique=True)


def downgrade() -> None:
    op.park_columns("users", *(column.name for column in reversed(columns())))
