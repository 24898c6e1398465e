# mypy: disable-error-code="attr-defined"
# env.py adds operations of our own to op.
"""Index verified and unverified addresses apart, so that claims of an address cost its owner nothing.

Any number of users may claim an address. The planner expects one row with a verified address, because that
is unique, and takes any index on it as good as the unique one: it must have no other.
"""

import sqlalchemy as sa
from alembic import op

revision = "0021_index_unverified_emails"
down_revision = "0020_fold_names"

phase = "expand"
locks = "users: SHARE UPDATE EXCLUSIVE while the index is built, which no reader or writer waits for"
lossless = True

UNVERIFIED = "email_verified_at IS NULL"


def upgrade() -> None:
    # In the order of a page of users, which then reads no more claims than it shows.
    columns = ["email", "created_at", "id"]
    op.build_index("ix_users_unverified_email", "users", columns, postgresql_where=sa.text(UNVERIFIED))
    op.remove_index("ix_users_email")  # the previous release knows no addresses


def downgrade() -> None:
    op.build_index("ix_users_email", "users", ["email", "id"])
    op.drop_index("ix_users_unverified_email", "users")
