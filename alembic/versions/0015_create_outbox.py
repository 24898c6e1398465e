# mypy: disable-error-code="attr-defined"
# env.py adds operations of our own to op.
"""Create the outbox: mails to be sent."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0015_create_outbox"
down_revision = "0014_create_signing_keys"

phase = "expand"
locks = "users: SHARE ROW EXCLUSIVE for an instant, for the foreign key"
lossless = True

PENDING = "sent_at IS NULL AND dead_at IS NULL"


def upgrade() -> None:
    if op.restore_table("outbox"):
        return
    now = sa.func.now()
    op.create_table(
        "outbox",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=True),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("recipient", sa.Text(), nullable=False),
        sa.Column("locale", sa.Text(), nullable=True),
        sa.Column("params", postgresql.JSONB(), nullable=False),
        sa.Column("message_id", sa.Text(), nullable=True),
        sa.Column("token_seed", sa.LargeBinary(), nullable=True),
        sa.Column("token_digest", sa.LargeBinary(), nullable=True),
        sa.Column("attempts", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=now, nullable=False),
        sa.Column("next_attempt_at", sa.DateTime(timezone=True), server_default=now, nullable=False),
        sa.Column("give_up_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("locked_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("sent_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("dead_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_error", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_outbox"),
        sa.ForeignKeyConstraint(
            ["user_id"], ["users.id"], name="fk_outbox_user_id_users", ondelete="CASCADE"
        ),
        postgresql_with={"fillfactor": 80},
    )
    op.create_index(
        "ix_outbox_next_attempt_at", "outbox", ["next_attempt_at"], postgresql_where=sa.text(PENDING)
    )
    op.create_index("ix_outbox_created_at_id", "outbox", ["created_at", "id"])
    op.create_index("ix_outbox_user_id", "outbox", ["user_id"])


def downgrade() -> None:
    op.park_table("outbox", expired="GREATEST(give_up_at, created_at + interval '30 days') < now()")
