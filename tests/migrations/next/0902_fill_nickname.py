# mypy: disable-error-code="attr-defined"
# env.py adds operations of our own to op.
"""Fill the column, batch by batch."""

from alembic import op

revision = "0902_fill_nickname"
down_revision = "0901_add_nickname"

phase = "data"
locks = "rows of users, batch by batch"
lossless = True


def upgrade() -> None:
    op.update_in_batches("users", "nickname = home.name", "home.nickname IS NULL")


def downgrade() -> None:
    pass
