# mypy: disable-error-code="attr-defined"
# env.py adds operations of our own to op.
"""Leave room for the uses of sessions that are noted, and have them vacuumed in time when there are millions.

The service works without it.
"""

from alembic import op

revision = "0011_tune_sessions"
down_revision = "0010_create_instances"

phase = "expand"
locks = "sessions: SHARE UPDATE EXCLUSIVE for an instant, which no reader or writer waits for"
lossless = True


def upgrade() -> None:
    # A tenth of each new page stays free, so that a noted use finds room beside the row it replaces.
    op.execute("ALTER TABLE sessions SET (fillfactor = 90, autovacuum_vacuum_scale_factor = 0.02)")


def downgrade() -> None:
    op.execute("ALTER TABLE sessions RESET (fillfactor, autovacuum_vacuum_scale_factor)")
