# mypy: disable-error-code="attr-defined"
# env.py adds operations of our own to op.
"""Rename by contracting: drop the old name, which no live release touches."""

import sqlalchemy as sa
from alembic import op

revision = "0909_drop_nickname"
down_revision = "0908_fill_alias"

phase = "contract"
serves_from = "0907_add_alias"
locks = "users: ACCESS EXCLUSIVE for an instant"
lossless = True


FOLLOW_NAME = """
CREATE OR REPLACE FUNCTION follow_name() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.alias := coalesce(NEW.alias, NEW.name);
    RETURN NEW;
END
$$
"""
FOLLOW_NAME_BEFORE = FOLLOW_NAME.replace("alias", "nickname")
FOLLOW_NICKNAME = """
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
    op.park_columns("users", "nickname")
    op.execute(FOLLOW_NAME)
    op.execute("DROP TRIGGER follow_nickname ON users")
    op.execute("DROP FUNCTION follow_nickname()")


def downgrade() -> None:
    op.restore_columns("users", sa.Column("nickname", sa.Text(), nullable=True))
    # First let writers write both, then fill in what they wrote before.
    op.execute(FOLLOW_NAME_BEFORE)
    op.execute(FOLLOW_NICKNAME)
    op.execute(
        "CREATE OR REPLACE TRIGGER follow_nickname BEFORE INSERT OR UPDATE ON users"
        " FOR EACH ROW EXECUTE FUNCTION follow_nickname()"
    )
    op.update_in_batches("users", "nickname = home.alias", "home.nickname IS DISTINCT FROM home.alias")
    op.build_index("ix_users_nickname", "users", [sa.text("lower(nickname)")])
    op.add_check("ck_users_nickname", "users", "length(nickname) <= 200")
    op.set_not_null("users", "nickname")
