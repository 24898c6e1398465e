"""Settings of the login throttle."""

from collections.abc import Iterator

from pydantic import Field

from settings.section import Section
from settings.values import Duration, duration


class ThrottleSettings(Section):
    """Limits on failed logins, per user and per network, on registrations and on challenges for passkeys.

    A network is an IPv4 address or an IPv6 /64. Around it, an IPv6 /56 may have 4 times as many of each, an
    IPv6 /48 and an IPv4 /24 16 times as many.

    Source: NIST SP 800-63B-4 3.2.2 (at most 100 failures in a row); OWASP ASVS 5.0 6.3.1.
    """

    free_attempts: int = Field(
        default=5, ge=0, le=20, description="Failed logins of a user before the backoff starts."
    )
    initial_backoff: Duration = duration(
        "1s", "100ms", "1m", "First backoff; each further failure doubles it."
    )
    max_backoff: Duration = duration("15m", "1s", "1d", "Maximum backoff.")
    unrecognised_per_hour: int = Field(
        default=30, ge=1, le=1000, description="Failed logins per user and hour from unknown devices."
    )
    failures_in_a_row: int = Field(
        default=100,
        ge=1,
        le=100,
        description="Consecutive failures of a user after which only known devices may log in.",
    )
    network_per_minute: int = Field(
        default=20, ge=1, le=10000, description="Failed logins per network and minute."
    )
    network_per_hour: int = Field(
        default=200, ge=1, le=100000, description="Failed logins per network and hour."
    )
    memory_ttl: Duration = duration(
        "30d", "1d", "365d", "Time in which `FAILURES_IN_A_ROW` failures are forgotten, one after the other."
    )
    registrations_per_hour: int = Field(
        default=20, ge=1, le=100000, description="New users per network and hour with open registration."
    )
    passkey_challenges_per_hour: int = Field(
        default=1000,
        ge=1,
        le=100000,
        description="Challenges for passkeys per network and hour: a login page asks for one when it opens.",
    )

    def conflicts(self) -> Iterator[str]:
        """Yield a sentence for each limit that could never be reached."""
        if self.initial_backoff > self.max_backoff:
            yield "ROLLCALL_THROTTLE__INITIAL_BACKOFF: may not exceed ROLLCALL_THROTTLE__MAX_BACKOFF"
        if self.free_attempts > self.failures_in_a_row:
            yield ("ROLLCALL_THROTTLE__FREE_ATTEMPTS: may not exceed ROLLCALL_THROTTLE__FAILURES_IN_A_ROW")
