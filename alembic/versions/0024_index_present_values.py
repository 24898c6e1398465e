# mypy: disable-error-code="attr-defined"
# env.py adds operations of our own to op.
"""Index only addresses and external ids that are there: most users have neither, and inserts paid for it."""

import sqlalchemy as sa
from alembic import op

revision = "0024_index_present_values"
down_revision = "0023_index_totp_secrets"

phase = "expand"
locks = "users: SHARE UPDATE EXCLUSIVE while indexes are built, which no reader or writer waits for"
lossless = True

UNVERIFIED = "email_verified_at IS NULL"
OF_ADDRESS = ["email", "created_at", "id"]


def upgrade() -> None:
    build("uq_users_external_id_present", ["external_id"], "external_id IS NOT NULL", unique=True)
    build("ix_users_email_unverified", OF_ADDRESS, f"email IS NOT NULL AND {UNVERIFIED}")
    op.remove_index("uq_users_external_id")
    op.remove_index("ix_users_unverified_email")


def downgrade() -> None:
    op.build_index("uq_users_external_id", "users", ["external_id"], unique=True)
    build("ix_users_unverified_email", OF_ADDRESS, UNVERIFIED)
    op.drop_index("uq_users_external_id_present", "users")
    op.drop_index("ix_users_email_unverified", "users")


def build(name: str, columns: list[str], condition: str, *, unique: bool = False) -> None:
    op.build_index(name, "users", columns, unique=unique, postgresql_where=sa.text(condition))
