# mypy: disable-error-code="attr-defined"
# env.py adds operations of our own to op.
"""Create the counters of failed log-ins."""

import sqlalchemy as sa
from alembic import op

revision = "0007_create_login_buckets"
down_revision = "0006_create_reset_tokens"

phase = "expand"
locks = "users: SHARE ROW EXCLUSIVE for an instant, for the foreign key"
lossless = True


def upgrade() -> None:
    if not op.restore_table("login_buckets"):
        _create_login_buckets()
    if not op.restore_table("network_buckets"):
        _create_network_buckets()


def _create_login_buckets() -> None:
    op.create_table(
        "login_buckets",
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=True),
        sa.Column("failures", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("hour_failures", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column(
            "hour_started_at", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False
        ),
        sa.Column("blocked_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False),
        sa.PrimaryKeyConstraint("digest", name="pk_login_buckets"),
        sa.ForeignKeyConstraint(
            ["user_id"], ["users.id"], name="fk_login_buckets_user_id_users", ondelete="CASCADE"
        ),
    )
    op.create_index("ix_login_buckets_user_id", "login_buckets", ["user_id"])
    op.create_index(
        "ix_login_buckets_updated_at",
        "login_buckets",
        ["updated_at"],
        postgresql_where=sa.text("user_id IS NULL"),
    )


def _create_network_buckets() -> None:
    op.create_table(
        "network_buckets",
        sa.Column("network", sa.Text(), nullable=False),
        sa.Column("minute_failures", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column(
            "minute_started_at", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False
        ),
        sa.Column("hour_failures", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column(
            "hour_started_at", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False
        ),
        sa.PrimaryKeyConstraint("network", name="pk_network_buckets"),
    )
    op.create_index("ix_network_buckets_hour_started_at", "network_buckets", ["hour_started_at"])


def downgrade() -> None:
    op.park_table("network_buckets", expired="hour_started_at < now() - interval '1 day'")
    op.park_table("login_buckets", expired="user_id IS NULL AND updated_at < now() - interval '365 days'")
