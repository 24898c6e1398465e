"""Settings of sessions."""

from collections.abc import Iterator
from datetime import timedelta

from pydantic import Field

from settings.section import Section
from settings.values import Duration, duration


class SessionSettings(Section):
    """Lifetimes of sessions, for users and for administrators.

    Source: NIST SP 800-63B-4 2.1.3 (30 days), 2.2.3 (24 hours); OWASP ASVS 5.0 7.3.1, 7.3.2.
    """

    absolute_ttl: Duration = duration("30d", "1s", "365d", "Lifetime of a user's session.")
    idle_ttl: Duration = Field(
        default_factory=lambda data: min(timedelta(days=7), data["absolute_ttl"]),
        ge=timedelta(seconds=1),
        le=timedelta(days=365),
        description="Time after which an unused session of a user ends, at most a hundredth early. "
        "Unset: 7d, or the absolute lifetime if shorter.",
    )
    admin_absolute_ttl: Duration = duration("12h", "1s", "1d", "Lifetime of an administrator's session.")
    admin_idle_ttl: Duration = Field(
        default_factory=lambda data: min(timedelta(minutes=30), data["admin_absolute_ttl"]),
        ge=timedelta(seconds=1),
        le=timedelta(days=1),
        description="Time after which an unused session of an administrator ends. "
        "Unset: 30m, or the absolute lifetime if shorter.",
    )
    step_up_ttl: Duration = duration(
        "10m", "1s", "1h", "Maximum age of a login for operations that require a recent one."
    )
    per_user: int = Field(
        default=200,
        ge=1,
        le=1000,
        description="Maximum number of sessions per user. Another login ends one that was never used after "
        "its login, or else the longest unused.",
    )
    touch_interval: Duration = Field(
        default_factory=lambda data: min(
            timedelta(minutes=1), data["idle_ttl"] / 10, data["admin_idle_ttl"] / 10
        ),
        ge=timedelta(0),
        le=timedelta(hours=1),
        description="Minimum time between two updates of a session's last use. "
        "Unset: 1m, or a tenth of the shortest idle lifetime.",
    )

    def conflicts(self) -> Iterator[str]:
        """Yield a sentence for each conflict between lifetimes."""
        if self.idle_ttl > self.absolute_ttl:
            yield ("ROLLCALL_SESSIONS__IDLE_TTL: may not exceed ROLLCALL_SESSIONS__ABSOLUTE_TTL")
        if self.admin_idle_ttl > self.admin_absolute_ttl:
            yield ("ROLLCALL_SESSIONS__ADMIN_IDLE_TTL: may not exceed ROLLCALL_SESSIONS__ADMIN_ABSOLUTE_TTL")
        if self.touch_interval >= min(self.idle_ttl, self.admin_idle_ttl):
            yield (
                "ROLLCALL_SESSIONS__TOUCH_INTERVAL: must be shorter than ROLLCALL_SESSIONS__IDLE_TTL "
                "and ROLLCALL_SESSIONS__ADMIN_IDLE_TTL, or sessions in use would end as unused"
            )
