"""Settings of schema migrations."""

from typing import Annotated

from pydantic import Field

from settings.section import Section
from settings.values import Constraint, Duration, WritableDsn, duration

Role = Annotated[
    str,
    Field(pattern=r"^[A-Za-z_][A-Za-z0-9_-]{0,62}$"),
    Constraint("the name of a role: letters, digits, dashes and underscores"),
]


class MigrationSettings(Section):
    """Schema migrations: role, retries for locks, and whether they run at start."""

    database_url: WritableDsn | None = Field(
        default=None,
        description="URL for the role that owns the schema, without a pooler. Unset: `DATABASE_URL`.",
    )
    serving_role: Role | None = Field(
        default=None,
        description="Role of `DATABASE_URL`, if another one owns the schema: each migration gives it the "
        "rights that serving needs and no others. Unset: rights are not changed.",
    )
    lock_timeout: Duration = duration(
        "300ms", "10ms", "30s", "Time to wait for a lock before the statement is cancelled and retried."
    )
    deadline: Duration = duration(
        "5m", "1s", "1d", "Time to retry for the locks of one revision before the migration fails."
    )
    on_start: bool | None = Field(
        default=None,
        description="Migrate before serving. Unset: only on the embedded database.",
    )
