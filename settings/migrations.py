"""Settings of schema migrations."""

from datetime import timedelta

from pydantic import Field

from settings.section import Section
from settings.values import Duration, WritableDsn


class MigrationSettings(Section):
    """Schema migrations: role, retries for locks, and whether they run at start."""

    database_url: WritableDsn | None = Field(
        default=None,
        description="URL for the role that owns the schema, without a pooler. Unset: `DATABASE_URL`.",
    )
    lock_timeout: Duration = Field(
        default=timedelta(milliseconds=300),
        ge=timedelta(milliseconds=10),
        le=timedelta(seconds=30),
        description="Time to wait for a lock before the statement is cancelled and retried.",
    )
    deadline: Duration = Field(
        default=timedelta(minutes=5),
        ge=timedelta(seconds=1),
        le=timedelta(days=1),
        description="Total time to retry for locks before the migration fails.",
    )
    on_start: bool | None = Field(
        default=None,
        description="Migrate before serving. Unset: only on the embedded database.",
    )
