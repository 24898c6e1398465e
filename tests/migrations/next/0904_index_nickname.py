# mypy: disable-error-code="attr-defined"
# env.py adds operations of our own to op.
"""Index the column while the table stays in use."""

import sqlalchemy as sa
from alembic import op

revision = "0904_index_nickname"
down_revision = "0903_demand_nickname"

phase = "expand"
locks = "users: SHARE UPDATE EXCLUSIVE"
lossless = True


def upgrade() -> None:
    op.build_index("ix_users_nickname", "users", [sa.text("lower(nickname)")])


def downgrade() -> None:
    op.drop_index("ix_users_nickname", "users")
