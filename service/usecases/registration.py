"""Creating one's own user, where registration is open."""

import structlog

from service.db.core.database import Database
from service.db.repositories.network_counts import NetworkCountRepository
from service.db.repositories.users import NewUser
from service.domain.errors import RegistrationThrottled
from service.domain.events import AuditContext
from service.domain.throttle import retry_after_seconds
from service.security.hashing.hasher import PasswordHasher
from service.usecases.policies import Policies
from service.usecases.users import Registration, prepare_user

_log = structlog.get_logger(__name__)


async def prepare_own_user(
    database: Database,
    request: Registration,
    *,
    hasher: PasswordHasher,
    context: AuditContext,
    policies: Policies,
) -> NewUser:
    """Check the registration of a caller without authority, count it, and hash its password.

    It is counted before anything is looked up, so that nobody can try login ids without a limit. Without a
    password it would cost nothing, so there has to be one. Source: OWASP ASVS 5.0 2.4.1, 6.3.8.

    Raises:
        ValidationFailed: with every error at once; not counted.
        RegistrationThrottled: a network of the caller has had its number of registrations in this hour.
        HashingBusy: too many passwords wait to be hashed; not counted.
    """

    async def admit() -> None:
        most = policies.throttle.registrations_per_hour
        wait = await database.run(
            lambda tx: NetworkCountRepository(tx).count("registration", context.networks, most),
            caller=context.caller,
        )
        if wait is not None:
            _log.info("registration.throttled", network=context.network, request_id=context.request_id)
            raise RegistrationThrottled(retry_after=retry_after_seconds(wait))

    return await prepare_user(request, hasher=hasher, context=context, policies=policies, admit=admit)
