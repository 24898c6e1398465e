# mypy: disable-error-code="attr-defined"
# env.py adds operations of our own to op.
"""Create the key of the digests under which failed logins and mails are counted.

PostgreSQL makes the key, so it is in no script and in no log: two random UUIDs have 244 random bits.
"""

import sqlalchemy as sa
from alembic import op

revision = "0019_throttle_keys"
down_revision = "0018_add_factors"

phase = "expand"
locks = "nothing that is in use"
lossless = True

TABLE = "throttle_keys"
NEW_KEY = "sha256(uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()))"


def upgrade() -> None:
    if op.restore_table(TABLE):
        return
    op.create_table(
        TABLE,
        sa.Column("is_only_row", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("key", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("is_only_row", name=f"pk_{TABLE}"),
        sa.CheckConstraint("is_only_row", name="is_only_row"),
    )
    op.execute(f"INSERT INTO {TABLE} (key) VALUES ({NEW_KEY})")


def downgrade() -> None:
    op.park_table(TABLE)
