# mypy: disable-error-code="attr-defined"
# env.py adds operations of our own to op.
"""Add the timestamps, and let a login id belong to one account."""

from datetime import datetime

import sqlalchemy as sa
from alembic import op

revision = "0002_add_timestamps"
down_revision = "0001_create_users"

phase = "expand"
locks = "users: ACCESS EXCLUSIVE for an instant; the index is built while the table stays in use"
lossless = True

TOUCH = """
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


def upgrade() -> None:
    op.refuse_duplicates("users", "login_id")
    op.build_index("uq_users_login_id", "users", ["login_id"], unique=True)
    op.restore_columns("users", _timestamp("created_at"), _timestamp("updated_at"))
    op.execute("ALTER TABLE users ADD CONSTRAINT uq_users_login_id UNIQUE USING INDEX uq_users_login_id")
    op.execute(TOUCH)
    op.execute("CREATE TRIGGER touch_user BEFORE UPDATE ON users FOR EACH ROW EXECUTE FUNCTION touch_user()")


def _timestamp(name: str) -> "sa.Column[datetime]":
    return sa.Column(name, sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False)


def downgrade() -> None:
    op.park_columns("users", "updated_at", "created_at")
    op.execute("DROP TRIGGER touch_user ON users")
    op.execute("DROP FUNCTION touch_user()")
    op.drop_constraint("uq_users_login_id", "users")
