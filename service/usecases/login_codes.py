"""Logging in by a code from a mail."""

import hmac
from dataclasses import dataclass
from uuid import UUID

from service.db.core.transaction import Transaction
from service.db.repositories.code_logins import CodeLoginRepository
from service.db.repositories.devices import Device
from service.db.repositories.events import EventRepository
from service.db.repositories.login import LoginRepository
from service.db.repositories.login_codes import LoginCodeRepository
from service.db.repositories.sessions import NewSession
from service.domain.callers import ANONYMOUS
from service.domain.errors import InvalidCredentials
from service.domain.events import Action, AuditContext
from service.domain.users import User
from service.security.ids import new_id
from service.security.tokens import CODE_PREFIX, DEVICE_PREFIX, SESSION_PREFIX, digest_of, new_token
from service.usecases.login import LoggedIn, LoginParts, end_replaced_session
from service.usecases.mail_requests import digest_of_code
from service.usecases.throttle import bucket_of_device


@dataclass(frozen=True, slots=True)
class CodeLogin:
    """A login by code as it was sent. `replaced_digest` is that of a session token sent with it."""

    code_token: str
    code: str
    device_token: str | None = None
    replaced_digest: bytes | None = None


async def log_in_by_code(parts: LoginParts, request: CodeLogin, *, context: AuditContext) -> LoggedIn:
    """Open a session for a code and the token of the browser that asked for it.

    A try is counted, and committed, before it is verified: N at once cost N. A code has 10^8 values and 5
    tries, an account 5 codes an hour. Source: OWASP ASVS 5.0 6.5.4, 6.6.2, 6.6.3; NIST SP 800-63B-4 3.1.3.2.

    Raises:
        InvalidCredentials: for every reason.
    """
    database, digest = parts.database, digest_of(request.code_token, CODE_PREFIX)
    if digest is None:
        raise InvalidCredentials
    user_id = await database.run(lambda tx: _try(tx, digest, request.code, context), caller=ANONYMOUS)
    if user_id is None:
        raise InvalidCredentials

    async def open_session(tx: Transaction) -> LoggedIn:
        user = await CodeLoginRepository(tx).record(user_id)
        if user is None or not await LoginCodeRepository(tx).use(digest):
            raise InvalidCredentials
        await end_replaced_session(tx, user, request.replaced_digest, context)
        return await _insert_session(tx, user, request, context=context, parts=parts)

    return await database.run(open_session, caller=ANONYMOUS)


async def _try(tx: Transaction, digest: bytes, code: str, context: AuditContext) -> UUID | None:
    """Count a try; return the user if the code is right, and record a failure otherwise."""
    attempt = await LoginCodeRepository(tx).begin_try(digest)
    user_id = attempt.user_id if attempt is not None else None
    code_digest = attempt.code_digest if attempt is not None else b""
    if hmac.compare_digest(code_digest, digest_of_code(digest, code)) and user_id is not None:
        return user_id
    await EventRepository(tx).add(context, Action.LOGIN_FAILED, user_id)
    return None


async def _insert_session(
    tx: Transaction, user: User, request: CodeLogin, *, context: AuditContext, parts: LoginParts
) -> LoggedIn:
    token, session_id = new_token(SESSION_PREFIX), new_id()
    policy = parts.policies.sessions
    lifetime = policy.lifetime_of(user.role)
    device_token, device = await _device_of(tx, user, request.device_token, context)
    session = await LoginRepository(tx).begin_session(
        NewSession(session_id, user.id, token.digest, lifetime, context.user_agent, context.ip, device.id),
        device,
        kept_count=policy.per_user,
        used_ids=parts.last_used.recorded_sessions_of(user.id),
        bucket=bucket_of_device(parts.policies.digests, device.id, user.id).digest,
        clears_bucket=True,
        event=EventRepository(tx).record(context, Action.LOGIN_SUCCEEDED, user.id, session_id=session_id),
    )
    return LoggedIn(token.value, session, user, device_token)


async def _device_of(
    tx: Transaction, user: User, device_token: str | None, context: AuditContext
) -> tuple[str, Device]:
    """Return the known device with its token, or a new one."""
    digest = digest_of(device_token or "", DEVICE_PREFIX)
    known = await CodeLoginRepository(tx).find_device(user.id, digest) if digest is not None else None
    if known is not None and device_token is not None:
        return device_token, Device(known, context.network)
    token = new_token(DEVICE_PREFIX)
    return token.value, Device(new_id(), context.network, token.digest)
