# mypy: disable-error-code="attr-defined"
# env.py adds operations of our own to op.
"""Rename by expanding: the new name beside the old one, both written by whoever writes either."""

import sqlalchemy as sa
from alembic import op

revision = "0907_add_alias"
down_revision = "0906_check_nickname"

phase = "expand"
locks = "users: ACCESS EXCLUSIVE for an instant"
lossless = True


FOLLOW = """
CREATE OR REPLACE FUNCTION follow_nickname() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        NEW.alias := coalesce(NEW.alias, NEW.nickname);
        NEW.nickname := NEW.alias;
    ELSIF NEW.alias IS DISTINCT FROM OLD.alias THEN
        NEW.nickname := NEW.alias;
    ELSIF NEW.nickname IS DISTINCT FROM OLD.nickname THEN
        NEW.alias := NEW.nickname;
    END IF;
    RETURN NEW;
END
$$
"""


def upgrade() -> None:
    op.restore_columns("users", sa.Column("alias", sa.Text(), nullable=True))
    op.execute(FOLLOW)
    # By name after follow_name, which fills what it copies.
    op.execute(
        "CREATE TRIGGER follow_nickname BEFORE INSERT OR UPDATE ON users"
        " FOR EACH ROW EXECUTE FUNCTION follow_nickname()"
    )


def downgrade() -> None:
    op.park_columns("users", "alias")
    op.execute("DROP TRIGGER follow_nickname ON users")
    op.execute("DROP FUNCTION follow_nickname()")
