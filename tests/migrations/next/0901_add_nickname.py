# mypy: disable-error-code="attr-defined"
# env.py adds operations of our own to op.
"""Add a column, and a trigger that fills it while two releases write."""

import sqlalchemy as sa
from alembic import op

revision = "0901_add_nickname"
down_revision = "0024_index_present_values"

phase = "expand"
locks = "users: ACCESS EXCLUSIVE for an instant"
lossless = True


FOLLOW = """
CREATE OR REPLACE FUNCTION follow_name() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.nickname := coalesce(NEW.nickname, NEW.name);
    RETURN NEW;
END
$$
"""


def upgrade() -> None:
    op.restore_columns("users", sa.Column("nickname", sa.Text(), nullable=True))
    op.execute(FOLLOW)
    op.execute(
        "CREATE TRIGGER follow_name BEFORE INSERT ON users FOR EACH ROW EXECUTE FUNCTION follow_name()"
    )


def downgrade() -> None:
    op.park_columns("users", "nickname")
    op.execute("DROP TRIGGER follow_name ON users")
    op.execute("DROP FUNCTION follow_name()")
