# mypy: disable-error-code="attr-defined"
# env.py adds operations of our own to op.
"""Index the users of secrets for authenticator apps: without it, the end of a user reads the whole table.

The foreign key looks for its rows without the condition of either partial index.
"""

from alembic import op

revision = "0023_index_totp_secrets"
down_revision = "0022_count_attempts"

phase = "expand"
locks = "totp_secrets: SHARE UPDATE EXCLUSIVE while the index is built, which no reader or writer waits for"
lossless = True


def upgrade() -> None:
    op.build_index("ix_totp_secrets_user_id", "totp_secrets", ["user_id"])


def downgrade() -> None:
    op.drop_index("ix_totp_secrets_user_id", "totp_secrets")
