"""Showing a factor again in a session, for operations that need a fresh login."""

from dataclasses import dataclass, field
from functools import partial
from typing import Final
from uuid import UUID

from service.db.core.transaction import Transaction
from service.db.repositories.events import EventRepository
from service.db.repositories.passkey_challenges import PasskeyChallengeRepository
from service.db.repositories.sessions import SessionRepository
from service.db.repositories.throttle import ThrottleRepository
from service.db.repositories.users import UserRepository
from service.domain.errors import FieldError, InvalidToken, ValidationFailed
from service.domain.events import Action, AuditContext
from service.domain.factors import combined_amr
from service.domain.sessions import AuthenticatedSession, Session
from service.security.tokens import SESSION_PREFIX, new_token
from service.usecases.factor_proofs import FactorResponse, Proof
from service.usecases.open_session import LoginParts
from service.usecases.throttle import Bucket, bucket_of_session, count_failure, reserve_attempt

_WRONG_CODE: Final = FieldError("/totp", "wrong_code", "This is not the current code.")
_REJECTED: Final = FieldError("/passkey", "invalid_value", "This is no valid response to the challenge.")


@dataclass(frozen=True, slots=True)
class SteppedUp:
    """A session that was renewed, and its new token."""

    token: str = field(repr=False)
    session: Session


async def step_up(
    parts: LoginParts,
    authenticated: AuthenticatedSession,
    answer: FactorResponse,
    challenge_id: UUID | None,
    *,
    context: AuditContext,
) -> SteppedUp:
    """Return the caller's session, which counts as authenticated now and with one factor more.

    It gets another token: whoever else has the old one is not stepped up with its owner. A try is counted in
    a bucket of the session, and a challenge used up, before the factor is verified.
    Source: OWASP ASVS 5.0 7.2.4, 7.5.1, 7.5.3; NIST SP 800-63B-4 2.2.3.

    Raises:
        ValidationFailed: the factor is wrong, or none of the user's.
        LoginThrottled: too many wrong ones before.
        InvalidToken: the session has ended.
    """
    user, session = authenticated.user, authenticated.session
    bucket = bucket_of_session(parts.policies.digests, session.id, user.id)

    async def begin(tx: Transaction) -> bytes | None:
        await reserve_attempt(tx, bucket, context=context, policies=parts.policies)
        return await PasskeyChallengeRepository(tx).take(challenge_id, None) if challenge_id else None

    challenge = await parts.database.run(begin, caller=context.caller)
    is_answerable = answer.totp is not None or challenge is not None
    proof = await parts.factors.verify(user.id, answer, challenge or b"") if is_answerable else None
    work = partial(_complete, session=session, proof=proof, bucket=bucket, context=context, parts=parts)
    result = await parts.database.run(work, caller=context.caller)
    if result is None:
        raise ValidationFailed(_WRONG_CODE if answer.totp is not None else _REJECTED)
    return result


async def _complete(
    tx: Transaction,
    *,
    session: Session,
    proof: Proof | None,
    bucket: Bucket,
    context: AuditContext,
    parts: LoginParts,
) -> SteppedUp | None:
    """Use up the factor and renew the session; record a failure, and return None, if it is not there.

    Locks: the user, then the factor, the session and the bucket.
    """
    user = await UserRepository(tx).get_for_update(session.user_id)
    if user is None:
        raise InvalidToken
    if proof is None or not await proof.spend(tx, user, context):
        await EventRepository(tx).add(context, Action.FACTOR_REJECTED, user.id)
        await count_failure(tx, bucket, context=context, policies=parts.policies)
        return None
    sessions, token = SessionRepository(tx), new_token(SESSION_PREFIX)
    await sessions.reauthenticate(session.id, combined_amr(session.amr, proof.amr))
    await sessions.renew_token(session.id, token.digest)
    await ThrottleRepository(tx).clear(bucket.digest)
    await EventRepository(tx).add(context, Action.SESSION_STEPPED_UP, user.id)
    renewed = await sessions.get(session.id)
    if renewed is None:
        raise InvalidToken
    return SteppedUp(token.value, renewed)
