"""Settings of reset tokens, API keys and access tokens."""

from typing import Annotated, Literal

from pydantic import Field

from settings.section import Section
from settings.values import Audiences, Duration, LowerCase, duration


class TokenSettings(Section):
    """Lifetimes of reset tokens and API keys, and the access tokens that other services verify.

    Access tokens are issued if there are audiences, and `ROLLCALL_PUBLIC_URL` and `ROLLCALL_SECRETS__KEY` are
    set. Source: OWASP ASVS 5.0 6.4.1, 9.1.2, 9.2.3, 13.2.1.
    """

    reset_ttl: Duration = duration("1h", "1s", "24h", "Lifetime of a password reset token.")
    key_ttl: Duration = duration(
        "730d",
        "1d",
        "3650d",
        "Longest lifetime of an API key that is created over HTTP, and that of one without `expires_at`.",
    )
    audiences: Audiences = Field(
        default=(),
        description="Services for which access tokens are issued: what they accept as `aud`.",
    )
    access_ttl: Duration = duration(
        "5m",
        "30s",
        "15m",
        "Lifetime of an access token, and the longest time for which one outlives its session.",
    )
    algorithm: Annotated[Literal["es256", "eddsa"], LowerCase] = Field(
        default="es256",
        description="Signature of access tokens. ES256 is in every JWT library, EdDSA is faster to verify.",
    )
