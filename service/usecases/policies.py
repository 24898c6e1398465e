"""The policies of the use cases, as plain values."""

from dataclasses import dataclass, field
from datetime import timedelta

from service.domain.factors import FactorPolicy
from service.domain.mail_throttle import MailLimits
from service.domain.passwords import PasswordPolicy
from service.domain.sessions import Lifetime, SessionPolicy
from service.domain.signing import AccessTokenPolicy
from service.domain.throttle import ThrottlePolicy
from service.domain.users import LoginIdCharset
from service.security.digests import CountDigests

_SESSIONS = SessionPolicy(
    user=Lifetime(timedelta(days=7), timedelta(days=30)),
    admin=Lifetime(timedelta(minutes=30), timedelta(hours=12)),
    step_up_ttl=timedelta(minutes=10),
    per_user=200,
    touch_interval=timedelta(minutes=1),
)


@dataclass(frozen=True, slots=True)
class Retention:
    """How long temporary rows are kept, and how many are deleted at once."""

    idempotency_ttl: timedelta = timedelta(hours=24)
    events_ttl: timedelta = timedelta(days=365)
    mail_ttl: timedelta = timedelta(days=7)
    throttle_ttl: timedelta = timedelta(days=30)
    batch: int = 1000


@dataclass(frozen=True, slots=True)
class Policies:
    """All policies of a running service."""

    service_name: str = "rollcall"
    registration_is_open: bool = False
    login_ids: LoginIdCharset = LoginIdCharset.ASCII
    passwords: PasswordPolicy = field(default_factory=PasswordPolicy)
    sessions: SessionPolicy = _SESSIONS
    throttle: ThrottlePolicy = field(default_factory=ThrottlePolicy)
    digests: CountDigests = field(default_factory=CountDigests)
    factors: FactorPolicy = field(default_factory=FactorPolicy)
    access_tokens: AccessTokenPolicy | None = None
    """Which access tokens are issued; None: none."""
    issuer: str | None = None
    """The address of the service, which names it to other services."""
    introspection_max_age: timedelta | None = None
    """The latest expiry that introspection reports, from now."""
    key_ttl: timedelta = timedelta(days=730)
    """The longest lifetime of an API key, and that of one without `expires_at`."""
    reset_ttl: timedelta = timedelta(hours=1)
    mail: MailLimits = field(default_factory=MailLimits)
    new_device_is_told: bool = True
    temporary_password_ttl: timedelta = timedelta(hours=24)
    """How long a password that has to be changed can be used."""
    retention: Retention = field(default_factory=Retention)
