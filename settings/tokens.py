"""Settings of reset tokens and API keys."""

from datetime import timedelta

from pydantic import Field

from settings.section import Section
from settings.values import Duration


class TokenSettings(Section):
    """Lifetimes of reset tokens and API keys. Source: OWASP ASVS 5.0 6.4.1, 13.2.1."""

    reset_ttl: Duration = Field(
        default=timedelta(hours=1),
        ge=timedelta(seconds=1),
        le=timedelta(hours=24),
        description="Lifetime of a password reset token.",
    )
    key_ttl: Duration = Field(
        default=timedelta(days=730),
        ge=timedelta(days=1),
        le=timedelta(days=3650),
        description="Longest lifetime of an API key that is created over HTTP, and that of one without "
        "`expires_at`.",
    )
