"""How long a log-in lasts."""

from collections.abc import Iterator
from datetime import timedelta

from pydantic import Field

from settings.section import Section
from settings.values import Duration

_DAY = timedelta(days=1)


def _idle_within(data: dict[str, timedelta]) -> timedelta:
    return min(timedelta(days=7), data["absolute_ttl"])


def _admin_idle_within(data: dict[str, timedelta]) -> timedelta:
    return min(timedelta(minutes=30), data["admin_absolute_ttl"])


def _touch_within(data: dict[str, timedelta]) -> timedelta:
    return min(timedelta(minutes=1), data["idle_ttl"] / 10, data["admin_idle_ttl"] / 10)


class SessionSettings(Section):
    """Lifetimes of sessions, for users and for administrators.

    Source: NIST SP 800-63B-4 2.1.3 (30 days), 2.2.3 (24 hours); OWASP ASVS 5.0 7.3.1, 7.3.2.
    """

    absolute_ttl: Duration = Field(
        default=30 * _DAY,
        ge=timedelta(seconds=1),
        le=365 * _DAY,
        description="When a user's session ends, used or not.",
    )
    idle_ttl: Duration = Field(
        default_factory=_idle_within,
        ge=timedelta(seconds=1),
        le=365 * _DAY,
        description="When a user's session that lies unused ends, at most a hundredth sooner. "
        "Unset: 7d, or the absolute lifetime if shorter.",
    )
    admin_absolute_ttl: Duration = Field(
        default=timedelta(hours=12),
        ge=timedelta(seconds=1),
        le=_DAY,
        description="When an administrator's session ends, used or not.",
    )
    admin_idle_ttl: Duration = Field(
        default_factory=_admin_idle_within,
        ge=timedelta(seconds=1),
        le=_DAY,
        description="When an administrator's session that lies unused ends. "
        "Unset: 30m, or the absolute lifetime if shorter.",
    )
    step_up_ttl: Duration = Field(
        default=timedelta(minutes=10),
        ge=timedelta(seconds=1),
        le=timedelta(hours=1),
        description="How fresh a log-in must be for what asks for a fresh one.",
    )
    per_user: int = Field(
        default=50, ge=1, le=1000, description="Live sessions per account; one more ends the oldest."
    )
    touch_interval: Duration = Field(
        default_factory=_touch_within,
        ge=timedelta(0),
        le=timedelta(hours=1),
        description="How often a session in use is noted as used, at most. "
        "Unset: 1m, or a tenth of the shortest idle lifetime.",
    )

    def conflicts(self) -> Iterator[str]:
        """Tell which lifetimes do not go together."""
        if self.idle_ttl > self.absolute_ttl:
            yield ("ROLLCALL_SESSIONS__IDLE_TTL: may not exceed ROLLCALL_SESSIONS__ABSOLUTE_TTL")
        if self.admin_idle_ttl > self.admin_absolute_ttl:
            yield ("ROLLCALL_SESSIONS__ADMIN_IDLE_TTL: may not exceed ROLLCALL_SESSIONS__ADMIN_ABSOLUTE_TTL")
        if self.touch_interval >= min(self.idle_ttl, self.admin_idle_ttl):
            yield (
                "ROLLCALL_SESSIONS__TOUCH_INTERVAL: must be shorter than ROLLCALL_SESSIONS__IDLE_TTL "
                "and ROLLCALL_SESSIONS__ADMIN_IDLE_TTL, or sessions in use would end as unused"
            )
