# mypy: disable-error-code="attr-defined"
# env.py adds operations of our own to op.
"""Create the keys that sign access tokens."""

import sqlalchemy as sa
from alembic import op

revision = "0014_create_signing_keys"
down_revision = "0013_add_owners"

phase = "expand"
locks = "none that others wait for"
lossless = True


def upgrade() -> None:
    if op.restore_table("signing_keys"):
        return
    op.create_table(
        "signing_keys",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("algorithm", sa.Text(), nullable=False),
        sa.Column("public_jwk", sa.Text(), nullable=False),
        sa.Column("private_key", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False),
        sa.Column("signs_from", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ends_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_signing_keys"),
    )


def downgrade() -> None:
    op.park_table("signing_keys", expired="ends_at < now()")
