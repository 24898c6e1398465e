# mypy: disable-error-code="attr-defined"
# env.py adds operations of our own to op.
"""Create the accounts."""

import sqlalchemy as sa
from alembic import op

revision = "0001_create_users"
down_revision = None

phase = "expand"
locks = "none: the table is new"
lossless = True


def upgrade() -> None:
    if op.restore_table("users"):
        return
    op.create_table(
        "users",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("login_id", sa.Text(collation="C"), nullable=False),
        sa.Column("password_hash", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_users"),
    )


def downgrade() -> None:
    op.park_table("users")
