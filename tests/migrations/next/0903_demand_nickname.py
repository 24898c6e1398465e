# mypy: disable-error-code="attr-defined"
# env.py adds operations of our own to op.
"""Demand the value."""

from alembic import op

revision = "0903_demand_nickname"
down_revision = "0902_fill_nickname"

phase = "contract"
serves_from = "0901_add_nickname"
locks = "users: ACCESS EXCLUSIVE for an instant"
lossless = True


def upgrade() -> None:
    op.refuse_rows("users", "nickname IS NULL")
    op.set_not_null("users", "nickname")


def downgrade() -> None:
    op.alter_column("users", "nickname", nullable=True)
