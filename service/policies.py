"""The policies of the use cases, as the settings choose them."""

from service.domain.factors import FactorPolicy, FactorsRequired
from service.domain.passwords import PasswordPolicy
from service.domain.sessions import Lifetime, SessionPolicy
from service.domain.signing import AccessTokenPolicy, SignatureAlgorithm
from service.domain.throttle import ThrottlePolicy
from service.domain.users import LoginIdCharset
from service.security.digests import CountDigests
from service.usecases.policies import Policies, Retention
from settings import Settings


def policies_from(settings: Settings) -> Policies:
    """Return the policies that the settings choose."""
    sessions, throttle, retention = settings.sessions, settings.throttle, settings.retention
    return Policies(
        service_name=settings.service_name,
        registration_is_open=settings.registration == "open",
        login_ids=LoginIdCharset(settings.login_ids),
        passwords=PasswordPolicy(min_length=settings.passwords.min_length),
        sessions=SessionPolicy(
            user=Lifetime(sessions.idle_ttl, sessions.absolute_ttl),
            admin=Lifetime(sessions.admin_idle_ttl, sessions.admin_absolute_ttl),
            step_up_ttl=sessions.step_up_ttl,
            per_user=sessions.per_user,
            touch_interval=sessions.touch_interval,
        ),
        throttle=ThrottlePolicy(**dict(throttle)),  # a setting for each field, of the same name
        digests=CountDigests(settings.secrets.keys),
        factors=_factor_policy(settings),
        access_tokens=_access_token_policy(settings),
        issuer=settings.public_url,
        introspection_max_age=settings.introspection.max_age,
        key_ttl=settings.tokens.key_ttl,
        reset_ttl=settings.tokens.reset_ttl,
        new_device_is_told=settings.mail.new_device,
        temporary_password_ttl=settings.passwords.temporary_ttl,
        retention=Retention(
            idempotency_ttl=retention.idempotency_ttl,
            events_ttl=retention.events_ttl,
            mail_ttl=retention.mail_ttl,
            throttle_ttl=throttle.memory_ttl,
            batch=retention.purge_batch,
        ),
    )


def _factor_policy(settings: Settings) -> FactorPolicy:
    """Return which second factors can be enrolled, and who needs one."""
    factors = settings.factors
    return FactorPolicy(
        required=FactorsRequired(factors.required),
        issuer=factors.issuer or settings.service_name,
        totp_is_enabled=bool(settings.secrets.keys),
        rp_id=factors.rp_id,
        origins=tuple(factors.origins),
    )


def _access_token_policy(settings: Settings) -> AccessTokenPolicy | None:
    """Return which access tokens are issued: none unless issuer, audiences and encryption are configured."""
    tokens = settings.tokens
    if settings.public_url is None or not tokens.audiences or not settings.secrets.keys:
        return None
    return AccessTokenPolicy(
        issuer=settings.public_url,
        client_id=settings.service_name,
        audiences=frozenset(tokens.audiences),
        ttl=tokens.access_ttl,
        algorithm=signature_algorithm(settings),
    )


def signature_algorithm(settings: Settings) -> SignatureAlgorithm:
    """Return the algorithm of new signing keys."""
    return {"eddsa": SignatureAlgorithm.EDDSA, "es256": SignatureAlgorithm.ES256}[settings.tokens.algorithm]
