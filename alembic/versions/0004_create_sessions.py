# mypy: disable-error-code="attr-defined"
# env.py adds operations of our own to op.
"""Create the log-in sessions and the devices known to their owners."""

import sqlalchemy as sa
from alembic import op

revision = "0004_create_sessions"
down_revision = "0003_add_roles_and_states"

phase = "expand"
locks = "users: SHARE ROW EXCLUSIVE for an instant, ACCESS EXCLUSIVE when the tables come back"
lossless = True


def upgrade() -> None:
    if not op.restore_table("sessions"):
        _create_sessions()
    if not op.restore_table("devices"):
        _create_devices()


def _create_sessions() -> None:
    op.create_table(
        "sessions",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("token_digest", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False),
        sa.Column("last_used_at", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("idle_expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("user_agent", sa.Text(), nullable=True),
        sa.Column("ip", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_sessions"),
        sa.ForeignKeyConstraint(
            ["user_id"], ["users.id"], name="fk_sessions_user_id_users", ondelete="CASCADE"
        ),
        sa.UniqueConstraint("token_digest", name="uq_sessions_token_digest"),
    )
    op.create_index("ix_sessions_user_id_created_at_id", "sessions", ["user_id", "created_at", "id"])
    op.create_index("ix_sessions_ends_at", "sessions", [sa.text("LEAST(expires_at, idle_expires_at)")])


def _create_devices() -> None:
    op.create_table(
        "devices",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("token_digest", sa.LargeBinary(), nullable=False),
        sa.Column("network", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False),
        sa.Column("last_seen_at", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_devices"),
        sa.ForeignKeyConstraint(
            ["user_id"], ["users.id"], name="fk_devices_user_id_users", ondelete="CASCADE"
        ),
        sa.UniqueConstraint("token_digest", name="uq_devices_token_digest"),
    )
    op.create_index("ix_devices_user_id_network", "devices", ["user_id", "network"])


def downgrade() -> None:
    op.park_table("devices", credentials_of="user_id")
    op.park_table("sessions", credentials_of="user_id", expired="LEAST(expires_at, idle_expires_at) < now()")
