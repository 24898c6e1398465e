"""Recovery and login codes by mail, for people who are not logged in.

A request is counted and stored; whether it has an account is found out in the background, so neither the
response nor its time reveals it. Source: OWASP ASVS 5.0 6.3.8; CWE-204, CWE-208.
"""

import hmac
from datetime import timedelta
from functools import partial
from hashlib import sha256
from typing import Final

from service.db.core.transaction import Transaction
from service.db.repositories.emails import EmailRepository
from service.db.repositories.events import EventRepository
from service.db.repositories.login_codes import LoginCodeRepository
from service.db.repositories.mail_requests import MailRequest, MailRequestRepository
from service.db.repositories.user_tokens import ResetTokenRepository
from service.db.repositories.users import UserRepository
from service.domain.callers import ANONYMOUS
from service.domain.emails import canonical_email
from service.domain.events import Action, AuditContext
from service.domain.mail import MailKind
from service.domain.users import User, UserState, canonical_login_id
from service.security.mail_tokens import MailTokens
from service.security.tokens import CODE_PREFIX, Token, new_token
from service.usecases.mail_throttle import count_mail
from service.usecases.notices import queue_mail
from service.usecases.policies import Policies

RECOVERY_TTL: Final = timedelta(minutes=20)
INVITATION_TTL: Final = timedelta(days=7)
CODE_TTL: Final = timedelta(minutes=10)
_TTLS: Final = {MailKind.RECOVERY: RECOVERY_TTL, MailKind.INVITATION: INVITATION_TTL}


async def request_login_code(
    tx: Transaction, login_id: str | None, email: str | None, *, context: AuditContext, policies: Policies
) -> Token:
    """Record a request for a code to log in with; return the token that it will be bound to.

    Raises:
        MailThrottled: too many requests of this network, or for this name.
    """
    token = new_token(CODE_PREFIX)
    kind, digest = MailKind.LOGIN_CODE, token.digest
    await request_mail(tx, kind, login_id, email, digest, context=context, policies=policies)
    return token


async def request_mail(
    tx: Transaction,
    kind: MailKind,
    login_id: str | None,
    email: str | None,
    code_token_digest: bytes | None = None,
    *,
    context: AuditContext,
    policies: Policies,
) -> None:
    """Record a request for a mail, by login id or address.

    Raises:
        MailThrottled: too many requests of this network, or for this name.
    """
    name = email if email is not None else login_id or ""
    found = canonical_email(name) if email is not None else canonical_login_id(name, policies.login_ids)
    await count_mail(tx, ("name", found or name), networks=context.networks, policies=policies)
    # What cannot be a name is stored as none: it finds nothing, and costs the same.
    login_id, email = (None, found) if email is not None else (found, None)
    await MailRequestRepository(tx).add(
        MailRequest(kind.value, login_id, email, code_token_digest, context.ip, context.request_id)
    )


request_recovery: Final = partial(request_mail, kind=MailKind.RECOVERY)
"""Record a request for a mail to set a new password."""


async def resolve_requests(tx: Transaction, *, batch: int, tokens: MailTokens) -> int:
    """Turn requests into mails where there is an account; return the number of requests.

    A mail goes to a verified address alone, as it is stored. Source: CVE-2019-19844.

    Locks: the requests, then their users.
    """
    requests = await MailRequestRepository(tx).take(batch)
    for request in requests:
        user = await _user_of(tx, request)
        if request.code_token_digest is not None:
            await _queue_code(tx, user, request.code_token_digest, tokens)
        elif user is not None and user.verified_email is not None:
            address, kind = user.verified_email, MailKind.RECOVERY
            context = AuditContext(ANONYMOUS, ip=request.ip, request_id=request.request_id)
            await queue_reset_token(tx, user, address, kind, context=context, tokens=tokens)
    return len(requests)


async def queue_reset_token(
    tx: Transaction, user: User, address: str, kind: MailKind, *, context: AuditContext, tokens: MailTokens
) -> None:
    """Queue a mail with a reset token: a recovery or an invitation. An earlier token stops working.

    Whoever redeems it has shown that the address is theirs.
    """
    token, ttl = tokens.new(kind), _TTLS[kind]
    await ResetTokenRepository(tx).put(user.id, token_digest=token.digest, ttl=ttl, address=address)
    await EventRepository(tx).add(context, Action.RESET_TOKEN_CREATED, user.id)
    span = {"minutes": "20"} if kind is MailKind.RECOVERY else {"days": "7"}
    await queue_mail(tx, user, kind, address, span, seed=token.seed, ttl=ttl)


async def invite(tx: Transaction, user: User, *, context: AuditContext, tokens: MailTokens) -> None:
    """Queue an invitation to the address of a new user, verified or not."""
    if user.email is not None:
        await queue_reset_token(tx, user, user.email, MailKind.INVITATION, context=context, tokens=tokens)


def digest_of_code(token_digest: bytes, code: str) -> bytes:
    """Return the digest of a code, which is of no use without the token that it is bound to."""
    return hmac.digest(token_digest, code.encode("utf-8", "surrogatepass"), sha256)


async def _user_of(tx: Transaction, request: MailRequest) -> User | None:
    """Return the user whom a request means, locked, if mails may go to it."""
    found = None
    if request.email is not None:
        found = await EmailRepository(tx).get_by_verified(request.email)
    elif request.login_id is not None:
        found = await UserRepository(tx).get_by_login_id(request.login_id)
    user = await UserRepository(tx).get_for_update(found.id) if found is not None else None
    may_get_mail = user is not None and user.verified_email is not None and user.state is UserState.ACTIVE
    return user if may_get_mail else None


async def _queue_code(tx: Transaction, user: User | None, token_digest: bytes, tokens: MailTokens) -> None:
    """Store a code, and queue its mail; without a user, a code that nobody gets."""
    code = tokens.new(MailKind.LOGIN_CODE)
    await LoginCodeRepository(tx).add(
        token_digest,
        user.id if user is not None else None,
        code_digest=digest_of_code(token_digest, code.value),
        ttl=CODE_TTL,
    )
    if user is None or user.verified_email is None:
        return
    address, params = user.verified_email, {"minutes": "10"}
    await queue_mail(tx, user, MailKind.LOGIN_CODE, address, params, seed=code.seed, ttl=CODE_TTL)
