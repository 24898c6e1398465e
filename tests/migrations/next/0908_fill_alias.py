# mypy: disable-error-code="attr-defined"
# env.py adds operations of our own to op.
"""Rename by expanding: fill the new name."""

from alembic import op

revision = "0908_fill_alias"
down_revision = "0907_add_alias"

phase = "data"
locks = "rows of users, batch by batch"
lossless = True


def upgrade() -> None:
    op.update_in_batches("users", "alias = home.nickname", "home.alias IS DISTINCT FROM home.nickname")


def downgrade() -> None:
    pass
