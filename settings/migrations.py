"""How the schema is changed."""

from datetime import timedelta

from pydantic import Field

from settings.section import Section
from settings.values import Dsn, Duration


class MigrationSettings(Section):
    """Schema migrations: as whom, how patiently, and whether at start."""

    database_url: Dsn | None = Field(
        default=None,
        description="The database as the role that owns the schema, past any pooler. Unset: `DATABASE_URL`.",
    )
    lock_timeout: Duration = Field(
        default=timedelta(milliseconds=300),
        ge=timedelta(milliseconds=10),
        le=timedelta(seconds=30),
        description="How long a change waits for a lock before it steps back and tries again.",
    )
    deadline: Duration = Field(
        default=timedelta(minutes=5),
        ge=timedelta(seconds=1),
        le=timedelta(days=1),
        description="When it gives up trying.",
    )
    on_start: bool | None = Field(
        default=None,
        description="Whether the service migrates before it serves; unset: on the embedded database only.",
    )
