"""Settings of single-use tokens."""

from datetime import timedelta

from pydantic import Field

from settings.section import Section
from settings.values import Duration


class TokenSettings(Section):
    """Lifetimes of single-use tokens. Source: OWASP ASVS 5.0 6.4.1 (short-lived, single use)."""

    reset_ttl: Duration = Field(
        default=timedelta(hours=1),
        ge=timedelta(seconds=1),
        le=timedelta(hours=24),
        description="Lifetime of a password reset token.",
    )
