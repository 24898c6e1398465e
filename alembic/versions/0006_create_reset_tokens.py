# mypy: disable-error-code="attr-defined"
# env.py adds operations of our own to op.
"""Create the password reset tokens."""

import sqlalchemy as sa
from alembic import op

revision = "0006_create_reset_tokens"
down_revision = "0005_create_api_keys"

phase = "expand"
locks = "users: SHARE ROW EXCLUSIVE for an instant, ACCESS EXCLUSIVE when the table comes back"
lossless = True


def upgrade() -> None:
    if op.restore_table("reset_tokens"):
        return
    op.create_table(
        "reset_tokens",
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("token_digest", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("user_id", name="pk_reset_tokens"),
        sa.ForeignKeyConstraint(
            ["user_id"], ["users.id"], name="fk_reset_tokens_user_id_users", ondelete="CASCADE"
        ),
        sa.UniqueConstraint("token_digest", name="uq_reset_tokens_token_digest"),
    )


def downgrade() -> None:
    op.park_table("reset_tokens", credentials_of="user_id", expired="expires_at < now()")
