# mypy: disable-error-code="attr-defined"
# env.py adds operations of our own to op.
"""Count the attempts in progress in the bucket they are made at, instead of in a row of their own."""

import sqlalchemy as sa
from alembic import op

revision = "0022_count_attempts"
down_revision = "0021_index_unverified_emails"

phase = "expand"
locks = "login_buckets: ACCESS EXCLUSIVE for an instant"
lossless = True


def upgrade() -> None:
    op.remove_index("ix_users_email")  # left if a rollback of 0021 was killed
    attempts = sa.Column("attempts", sa.Integer(), server_default=sa.text("0"), nullable=False)
    op.restore_columns("login_buckets", attempts, key=("digest",))


def downgrade() -> None:
    op.park_columns("login_buckets", "attempts", key=("digest",))
