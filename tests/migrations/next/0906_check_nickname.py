# mypy: disable-error-code="attr-defined"
# env.py adds operations of our own to op.
"""Check the values."""

from alembic import op

revision = "0906_check_nickname"
down_revision = "0905_create_notes"

phase = "expand"
locks = "users: ACCESS EXCLUSIVE for an instant; then SHARE UPDATE EXCLUSIVE"
lossless = True


def upgrade() -> None:
    op.refuse_rows("users", "length(nickname) > 200", shown=("login_id",))
    op.add_check("ck_users_nickname", "users", "length(nickname) <= 200")


def downgrade() -> None:
    op.drop_constraint("ck_users_nickname", "users")
