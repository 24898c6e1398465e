# mypy: disable-error-code="attr-defined"
# env.py adds operations of our own to op.
"""Create the answers kept for repetition."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0008_create_idempotency_keys"
down_revision = "0007_create_login_buckets"

phase = "expand"
locks = "none: the table is new; users: ACCESS EXCLUSIVE for an instant when it comes back"
lossless = True


def upgrade() -> None:
    if op.restore_table("idempotency_keys"):
        return
    op.create_table(
        "idempotency_keys",
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("request_digest", sa.LargeBinary(), nullable=False),
        sa.Column("status", sa.Integer(), nullable=False),
        sa.Column("headers", postgresql.JSONB(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False),
        sa.PrimaryKeyConstraint("digest", name="pk_idempotency_keys"),
    )
    op.create_index("ix_idempotency_keys_created_at", "idempotency_keys", ["created_at"])


def downgrade() -> None:
    op.park_table(
        "idempotency_keys",
        mentions="headers::text || encode(body, 'escape')",
        expired="created_at < now() - interval '30 days'",
    )
