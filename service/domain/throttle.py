"""Limits on failed logins: free attempts, exponential backoff, limits per network.

Source: NIST SP 800-63B-4 3.2.2 (at most 100 failures in a row); OWASP ASVS 5.0 6.1.1, 6.3.1 (other people do
not lock the owner out).
"""

from dataclasses import dataclass
from datetime import timedelta
from math import ceil


def retry_after_seconds(wait: timedelta) -> int:
    """Return a wait in whole seconds, at least one, as `Retry-After` has it. Source: RFC 9110 10.2.3."""
    return max(1, ceil(wait.total_seconds()))


@dataclass(frozen=True, slots=True)
class ThrottlePolicy:
    """The limits on failed logins, per user and per network."""

    free_attempts: int = 5
    initial_backoff: timedelta = timedelta(seconds=1)
    max_backoff: timedelta = timedelta(minutes=15)
    unrecognised_per_hour: int = 30
    failures_in_a_row: int = 100
    network_per_minute: int = 20
    network_per_hour: int = 200
    memory_ttl: timedelta = timedelta(days=30)
    registrations_per_hour: int = 20
    passkey_challenges_per_hour: int = 1000

    @property
    def forgiven_after(self) -> timedelta:
        """The time after which one failure is forgotten, if there was none since."""
        return self.memory_ttl / self.failures_in_a_row

    def backoff_after(self, failures: int) -> timedelta:
        """Return the wait before the next attempt after that many failures in a row."""
        if failures < self.free_attempts:
            return timedelta(0)
        doublings = min(failures - self.free_attempts, 30)
        return min(self.initial_backoff * (1 << doublings), self.max_backoff)
