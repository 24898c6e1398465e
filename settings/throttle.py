"""How failed log-ins slow down the next ones."""

from collections.abc import Iterator
from datetime import timedelta

from pydantic import Field

from settings.section import Section
from settings.values import Duration


class ThrottleSettings(Section):
    """The limits on failed log-ins, per account and per network.

    Source: NIST SP 800-63B-4 3.2.2 (at most 100 failures in a row); OWASP ASVS 5.0 6.3.1.
    """

    free_attempts: int = Field(
        default=5, ge=0, le=20, description="Failures per account before the first wait."
    )
    initial_backoff: Duration = Field(
        default=timedelta(seconds=1),
        ge=timedelta(milliseconds=100),
        le=timedelta(minutes=1),
        description="The first wait; each further failure doubles it.",
    )
    max_backoff: Duration = Field(
        default=timedelta(minutes=15),
        ge=timedelta(seconds=1),
        le=timedelta(days=1),
        description="The wait that doubling stops at.",
    )
    unrecognised_per_hour: int = Field(
        default=30, ge=1, le=1000, description="Failures per account and hour from devices it does not know."
    )
    failures_in_a_row: int = Field(
        default=100, ge=1, le=100, description="Failures in a row after which only known devices may try."
    )
    network_per_minute: int = Field(
        default=20, ge=1, le=10000, description="Failures per network and minute."
    )
    network_per_hour: int = Field(default=200, ge=1, le=100000, description="Failures per network and hour.")
    memory_ttl: Duration = Field(
        default=timedelta(days=30),
        ge=timedelta(days=1),
        le=timedelta(days=365),
        description="How long failures are remembered after the last one.",
    )

    def conflicts(self) -> Iterator[str]:
        """Tell which limits could never be reached."""
        if self.initial_backoff > self.max_backoff:
            yield "ROLLCALL_THROTTLE__INITIAL_BACKOFF: may not exceed ROLLCALL_THROTTLE__MAX_BACKOFF"
        if self.free_attempts > self.failures_in_a_row:
            yield ("ROLLCALL_THROTTLE__FREE_ATTEMPTS: may not exceed ROLLCALL_THROTTLE__FAILURES_IN_A_ROW")
