"""Add the oldest release that a schema serves to the row that has its revision."""

from alembic import op

revision = "0012_add_serves_from"
down_revision = "0011_tune_sessions"

phase = "expand"
locks = "alembic_version: ACCESS EXCLUSIVE for an instant"
lossless = True
# The beginning. From here on, only contract steps raise it; env.py writes it with each revision.
serves_from = "0011_tune_sessions"


def upgrade() -> None:
    op.execute("ALTER TABLE alembic_version ADD COLUMN IF NOT EXISTS serves_from text")


def downgrade() -> None:
    op.execute("ALTER TABLE alembic_version DROP COLUMN serves_from")
