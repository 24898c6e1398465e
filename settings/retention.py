"""Settings of retention and purging."""

from pydantic import Field

from settings.section import Section
from settings.values import Duration, duration


class RetentionSettings(Section):
    """How long data is kept, and how expired data is purged."""

    idempotency_ttl: Duration = duration(
        "24h", "24h", "30d", "Time for which the response to an Idempotency-Key is replayed."
    )
    events_ttl: Duration = duration(
        "365d", "30d", "3650d", "Time for which audit events are kept; the database deletes no younger ones."
    )
    mail_ttl: Duration = duration(
        "7d",
        "1h",
        "365d",
        "Time for which the record of a mail is kept: kind, address, times, reason of a failure.",
    )
    purge_interval: Duration = duration("1m", "1s", "1d", "Pause between two purges.")
    purge_batch: int = Field(
        default=1000, ge=1, le=10000, description="Maximum number of rows that one statement deletes."
    )
