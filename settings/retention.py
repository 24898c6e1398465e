"""Settings of retention and purging."""

from datetime import timedelta

from pydantic import Field

from settings.section import Section
from settings.values import Duration


class RetentionSettings(Section):
    """How long data is kept, and how expired data is purged."""

    idempotency_ttl: Duration = Field(
        default=timedelta(hours=24),
        ge=timedelta(hours=24),
        le=timedelta(days=30),
        description="Time for which the response to an Idempotency-Key is replayed.",
    )
    events_ttl: Duration = Field(
        default=timedelta(days=365),
        ge=timedelta(days=30),
        le=timedelta(days=3650),
        description="Time for which audit events are kept; the database deletes no younger ones.",
    )
    mail_ttl: Duration = Field(
        default=timedelta(days=7),
        ge=timedelta(hours=1),
        le=timedelta(days=365),
        description="Time for which the record of a mail is kept: kind, address, times, reason of a failure.",
    )
    purge_interval: Duration = Field(
        default=timedelta(minutes=1),
        ge=timedelta(seconds=1),
        le=timedelta(days=1),
        description="Pause between two purges.",
    )
    purge_batch: int = Field(
        default=1000, ge=1, le=10000, description="Maximum number of rows that one statement deletes."
    )
