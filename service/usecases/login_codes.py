"""Logging in by a code from a mail."""

import hmac
from dataclasses import dataclass
from uuid import UUID

from service.db.core.transaction import Transaction
from service.db.repositories.login_codes import LoginCodeRepository
from service.db.repositories.network_counts import NetworkCountRepository
from service.domain.callers import ANONYMOUS
from service.domain.errors import InvalidCredentials, LoginThrottled, SecondFactorRequired
from service.domain.factors import BY_MAILED_CODE, LoginChallenge
from service.security.tokens import CODE_PREFIX, digest_of
from service.usecases.attempts import record_failure
from service.usecases.mail_requests import digest_of_code
from service.usecases.open_session import Client, LoggedIn, LoginParts, ProvenUser, open_session
from service.usecases.second_factor import require_second_factor
from service.usecases.throttle import bucket_for_codes, throttled


@dataclass(frozen=True, slots=True)
class CodeLogin:
    """A login by code as it was sent."""

    code_token: str
    code: str


async def log_in_by_code(parts: LoginParts, request: CodeLogin, client: Client) -> LoggedIn:
    """Open a session for a code and the token of the browser that asked for it.

    A try is counted, and committed, before it is verified: N at once cost N. A code has 10^8 values and 5
    tries, a name 5 codes an hour. A failure counts for the networks of the client. Source: OWASP ASVS 5.0
    2.4.1, 6.5.4, 6.6.2, 6.6.3; NIST SP 800-63B-4 3.1.3.2.

    Raises:
        SecondFactorRequired: the code is right, and the user has a second factor.
        InvalidCredentials: for every other reason.
        LoginThrottled: a network of the client is at its limit; the try is not counted.
    """
    database, digest = parts.database, digest_of(request.code_token, CODE_PREFIX)
    tried = await database.run(
        lambda tx: _try_code(tx, digest, request.code, client, parts), caller=ANONYMOUS
    )
    if not isinstance(tried, UUID):
        raise tried

    async def complete(tx: Transaction) -> LoggedIn | LoginChallenge:
        user = await LoginCodeRepository(tx).record_login(tried)
        if user is None or not await LoginCodeRepository(tx).use(digest or b""):
            raise InvalidCredentials
        if user.factors:
            return await require_second_factor(tx, user, BY_MAILED_CODE, client, parts)
        device_id = await _known_device(tx, user.id, client)
        return await open_session(tx, ProvenUser(user, BY_MAILED_CODE, device_id), client, parts)

    result = await database.run(complete, caller=ANONYMOUS)
    if isinstance(result, LoginChallenge):
        raise SecondFactorRequired(result)
    return result


async def _try_code(
    tx: Transaction, digest: bytes | None, code: str, client: Client, parts: LoginParts
) -> UUID | InvalidCredentials | LoginThrottled:
    """Count a try; return the user if the code is right, and record a failure otherwise.

    Locks: the code, then the networks' counts.

    Raises:
        LoginThrottled: a network is at its limit, and the client is no known device of the user.
    """
    context, policies = client.context, parts.policies
    bucket = bucket_for_codes(policies.digests, context.network)
    attempt = await LoginCodeRepository(tx).begin_try(digest) if digest is not None else None
    user_id, code_digest = attempt or (None, b"")
    wait = await NetworkCountRepository(tx).failure_wait(context.networks, policies.throttle)
    if wait is not None and (user_id is None or await _known_device(tx, user_id, client) is None):
        raise throttled(wait, bucket, context)
    if hmac.compare_digest(code_digest, digest_of_code(digest or b"", code)) and user_id is not None:
        return user_id
    error = await record_failure(tx, user_id, bucket, context=context, policies=policies)
    return error or InvalidCredentials()


async def _known_device(tx: Transaction, user_id: UUID, client: Client) -> UUID | None:
    """Return the device of the client if the user has logged in from it."""
    if client.device_digest is None:
        return None
    return await LoginCodeRepository(tx).find_device(user_id, client.device_digest)
