"""Logging in by a code from a mail."""

import hmac
from dataclasses import dataclass
from uuid import UUID

from service.db.core.transaction import Transaction
from service.db.repositories.code_logins import CodeLoginRepository
from service.db.repositories.events import EventRepository
from service.db.repositories.login_codes import LoginCodeRepository
from service.domain.callers import ANONYMOUS
from service.domain.errors import InvalidCredentials, SecondFactorRequired
from service.domain.events import Action, AuditContext
from service.domain.factors import BY_MAILED_CODE, LoginChallenge
from service.security.tokens import CODE_PREFIX, digest_of
from service.usecases.mail_requests import digest_of_code
from service.usecases.open_session import Client, LoggedIn, LoginParts, ProvenUser, open_session
from service.usecases.second_factor import require_second_factor


@dataclass(frozen=True, slots=True)
class CodeLogin:
    """A login by code as it was sent."""

    code_token: str
    code: str


async def log_in_by_code(parts: LoginParts, request: CodeLogin, client: Client) -> LoggedIn:
    """Open a session for a code and the token of the browser that asked for it.

    A try is counted, and committed, before it is verified: N at once cost N. A code has 10^8 values and 5
    tries, an account 5 codes an hour. Source: OWASP ASVS 5.0 6.5.4, 6.6.2, 6.6.3; NIST SP 800-63B-4 3.1.3.2.

    Raises:
        SecondFactorRequired: the code is right, and the user has a second factor.
        InvalidCredentials: for every other reason.
    """
    database, digest = parts.database, digest_of(request.code_token, CODE_PREFIX)
    if digest is None:
        raise InvalidCredentials
    context = client.context
    user_id = await database.run(lambda tx: _try(tx, digest, request.code, context), caller=ANONYMOUS)
    if user_id is None:
        raise InvalidCredentials

    async def go_on(tx: Transaction) -> LoggedIn | LoginChallenge:
        logins = CodeLoginRepository(tx)
        user = await logins.record(user_id)
        if user is None or not await LoginCodeRepository(tx).use(digest):
            raise InvalidCredentials
        if user.factors:
            return await require_second_factor(tx, user, BY_MAILED_CODE, client, parts)
        device = client.device_digest
        device_id = await logins.find_device(user.id, device) if device is not None else None
        return await open_session(tx, ProvenUser(user, BY_MAILED_CODE, device_id), client, parts)

    result = await database.run(go_on, caller=ANONYMOUS)
    if isinstance(result, LoginChallenge):
        raise SecondFactorRequired(result)
    return result


async def _try(tx: Transaction, digest: bytes, code: str, context: AuditContext) -> UUID | None:
    """Count a try; return the user if the code is right, and record a failure otherwise."""
    attempt = await LoginCodeRepository(tx).begin_try(digest)
    user_id = attempt.user_id if attempt is not None else None
    code_digest = attempt.code_digest if attempt is not None else b""
    if hmac.compare_digest(code_digest, digest_of_code(digest, code)) and user_id is not None:
        return user_id
    await EventRepository(tx).add(context, Action.LOGIN_FAILED, user_id)
    return None
