# mypy: disable-error-code="attr-defined"
# env.py adds operations of our own to op.
"""Create the heartbeats of the serving processes, without which the service works."""

import sqlalchemy as sa
from alembic import op

revision = "0010_create_instances"
down_revision = "0009_create_events"

phase = "expand"
locks = "none: the table is new"
lossless = True


def upgrade() -> None:
    if op.restore_table("instances"):
        return
    op.create_table(
        "instances",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("host", sa.Text(), nullable=False),
        sa.Column("pid", sa.Integer(), nullable=False),
        sa.Column("release", sa.Text(), nullable=False),
        sa.Column("oldest_revision", sa.Integer(), nullable=False),
        sa.Column("newest_revision", sa.Integer(), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False),
        sa.Column("seen_at", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_instances"),
    )
    op.create_index("ix_instances_seen_at", "instances", ["seen_at"])


def downgrade() -> None:
    op.park_table("instances")
