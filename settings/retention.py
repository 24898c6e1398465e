"""How long finished business is kept, and how it is cleared away."""

from datetime import timedelta

from pydantic import Field

from settings.section import Section
from settings.values import Duration


class RetentionSettings(Section):
    """What is kept for how long, and how it is cleared away."""

    idempotency_ttl: Duration = Field(
        default=timedelta(hours=24),
        ge=timedelta(hours=24),
        le=timedelta(days=30),
        description="How long the answer to an Idempotency-Key is repeated.",
    )
    events_ttl: Duration = Field(
        default=timedelta(days=365),
        ge=timedelta(days=1),
        le=timedelta(days=3650),
        description="How long the events of an account can be read.",
    )
    purge_interval: Duration = Field(
        default=timedelta(minutes=1),
        ge=timedelta(seconds=1),
        le=timedelta(days=1),
        description="The pause between two rounds of clearing away.",
    )
    purge_batch: int = Field(
        default=1000, ge=1, le=10000, description="Rows that one statement clears away, at most."
    )
