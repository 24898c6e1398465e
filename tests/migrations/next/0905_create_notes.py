# mypy: disable-error-code="attr-defined"
# env.py adds operations of our own to op.
"""Create a table that hangs on the accounts."""

import sqlalchemy as sa
from alembic import op

revision = "0905_create_notes"
down_revision = "0904_index_nickname"

phase = "expand"
locks = "users: SHARE ROW EXCLUSIVE for an instant"
lossless = True


def upgrade() -> None:
    if op.restore_table("notes"):
        return
    op.create_table(
        "notes",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_notes"),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_notes_user_id_users", ondelete="CASCADE"),
    )
    op.create_index("ix_notes_user_id", "notes", ["user_id"])


def downgrade() -> None:
    op.park_table("notes")
