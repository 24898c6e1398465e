# mypy: disable-error-code="attr-defined"
# env.py adds operations of our own to op.
"""Create the audit trail."""

import sqlalchemy as sa
from alembic import op

revision = "0009_create_events"
down_revision = "0008_create_idempotency_keys"

phase = "expand"
locks = "none: the table is new"
lossless = True


def upgrade() -> None:
    if op.restore_table("events"):
        return
    op.create_table(
        "events",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False),
        sa.Column("actor_id", sa.Uuid(), nullable=True),
        sa.Column("actor_kind", sa.Text(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("subject_id", sa.Uuid(), nullable=True),
        sa.Column("ip", sa.Text(), nullable=True),
        sa.Column("request_id", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_events"),
    )
    op.create_index("ix_events_at_id", "events", ["at", "id"])


def downgrade() -> None:
    op.park_table("events")
