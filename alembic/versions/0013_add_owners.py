# mypy: disable-error-code="attr-defined"
# env.py adds operations of our own to op.
"""Add who made a key, whom a stored response tells of, the device of a session, and a password's age."""

import sqlalchemy as sa
from alembic import op

revision = "0013_add_owners"
down_revision = "0012_add_serves_from"

phase = "expand"
locks = (
    "api_keys, idempotency_keys, sessions, users: ACCESS EXCLUSIVE for an instant; "
    "users: SHARE ROW EXCLUSIVE for an instant, for the foreign keys"
)
lossless = True

# Table, column and key.
OWNED = (("api_keys", "created_by", "id"), ("idempotency_keys", "user_id", "digest"))
ADDED = (("users", "password_changed_at", "id"), ("sessions", "device_id", "id"), *OWNED)
GONE = "NOT EXISTS (SELECT FROM users WHERE users.id = {column})"
NO_ADMIN = "NOT EXISTS (SELECT FROM users WHERE users.id = {column} AND role = 'admin' AND state = 'active')"


# Most requests lock a session or a key before a user.
TABLES = ("idempotency_keys", "api_keys", "sessions", "users")


def upgrade() -> None:
    op.lock_tables(*TABLES)
    op.restore_columns("users", sa.Column("password_changed_at", sa.DateTime(timezone=True), nullable=True))
    op.restore_columns("sessions", sa.Column("device_id", sa.Uuid(), nullable=True))
    for table, column, key in OWNED:
        was_parked = op.is_parked(f"{table}.{column}")
        op.restore_columns(table, sa.Column(column, sa.Uuid(), nullable=True), key=(key,))
        if was_parked:
            # What its user took along while the column was away does not come back.
            condition = (NO_ADMIN if table == "api_keys" else GONE).format(column=column)
            op.execute(f"DELETE FROM {table} WHERE {column} IS NOT NULL AND {condition}")
        op.add_foreign_key(table, column, "users")
        op.build_index(f"ix_{table}_{column}", table, [column])


def downgrade() -> None:
    for table, column, key in ADDED:
        op.keep_columns(table, column, key=(key,))
    op.lock_tables(*TABLES)
    for table, column, _ in reversed(ADDED):
        op.drop_kept_columns(table, column)
