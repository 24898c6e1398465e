# mypy: disable-error-code="attr-defined"
# env.py adds operations of our own to op.
"""Add roles, states and the last log-in, and the indexes that listing needs."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0003_add_roles_and_states"
down_revision = "0002_add_timestamps"

phase = "expand"
locks = "users: ACCESS EXCLUSIVE for an instant; the indexes are built while the table stays in use"
lossless = True

CHECKS = {"role": "role IN ('user', 'admin')", "state": "state IN ('active', 'disabled')"}
PARTS = {"admins": "role = 'admin'", "disabled": "state = 'disabled'"}

TOUCH = """
CREATE OR REPLACE FUNCTION touch_user() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    but_for_login users := NEW;
BEGIN
    but_for_login.last_login_at := OLD.last_login_at;
    -- What a migration fills in is no change, and a log-in is none that a client's copy could miss.
    IF but_for_login IS DISTINCT FROM OLD
        AND current_setting('rollcall.migrating', true) IS DISTINCT FROM 'on' THEN
        NEW.updated_at := greatest(now(), OLD.updated_at + interval '1 microsecond');
    END IF;
    RETURN NEW;
END
$$
"""

TOUCH_BEFORE = """
CREATE OR REPLACE FUNCTION touch_user() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    -- What a migration fills in is no change.
    IF current_setting('rollcall.migrating', true) IS DISTINCT FROM 'on' THEN
        NEW.updated_at := greatest(now(), OLD.updated_at + interval '1 microsecond');
    END IF;
    RETURN NEW;
END
$$
"""


def columns() -> tuple[sa.Column[Any], ...]:
    # Text, not enumeration types: another value is then another check, which locks for an instant.
    return (
        sa.Column("role", sa.Text(), server_default="user", nullable=False),
        sa.Column("state", sa.Text(), server_default="active", nullable=False),
        sa.Column("must_change", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("last_login_at", sa.DateTime(timezone=True), nullable=True),
    )


def upgrade() -> None:
    op.restore_columns("users", *columns())
    op.build_index("ix_users_created_at_id", "users", ["created_at", "id"])
    op.build_index("ix_users_name_prefix", "users", [sa.text('lower(name) COLLATE "C"')])
    for name, condition in PARTS.items():
        op.build_index(f"ix_users_{name}", "users", ["created_at", "id"], postgresql_where=sa.text(condition))
    for name, condition in CHECKS.items():
        op.add_check(f"ck_users_{name}", "users", condition)
    op.execute(TOUCH)


def downgrade() -> None:
    op.park_columns("users", *(column.name for column in reversed(columns())))
    op.drop_index("ix_users_name_prefix", "users")
    op.drop_index("ix_users_created_at_id", "users")
    op.execute(TOUCH_BEFORE)
