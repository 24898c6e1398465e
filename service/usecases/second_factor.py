"""The second step of a login: a challenge after the first factor, and its answer."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from uuid import UUID

from service.db.core.transaction import Transaction
from service.db.repositories.events import EventRepository
from service.db.repositories.login import LoginRepository
from service.db.repositories.login_challenges import ChallengedUser, LoginChallengeRepository
from service.db.repositories.network_counts import NetworkCountRepository
from service.db.repositories.throttle import Refusal, ThrottleRepository
from service.db.repositories.users import UserRepository
from service.domain.callers import ANONYMOUS
from service.domain.errors import InvalidCredentials, LoginThrottled
from service.domain.events import Action
from service.domain.factors import LoginChallenge, combined_amr
from service.domain.users import User, UserState
from service.security.tokens import CHALLENGE_PREFIX, digest_of, new_token
from service.usecases.attempts import bucket_of, record_failure, reserve_in_turn
from service.usecases.factor_proofs import FactorResponse, Proof, passkey_challenge_of
from service.usecases.open_session import Client, LoggedIn, LoginParts, ProvenUser, open_session
from service.usecases.throttle import Bucket, bucket_for_unknown_challenge, throttled, try_reserve


@dataclass(frozen=True, slots=True)
class SecondFactorLogin:
    """The answer to a challenge as it was sent."""

    challenge: str
    answer: FactorResponse


async def require_second_factor(
    tx: Transaction,
    user: User,
    amr: Sequence[str],
    client: Client,
    parts: LoginParts,
    *,
    bucket: Bucket | None = None,
) -> LoginChallenge:
    """Let the login of a locked user wait for a second factor; return the challenge for the client.

    The attempt at the first factor, if it was counted, was no failure. It is no success either: the failures
    before it stay, or a password would buy tries at the second factor.
    """
    token = new_token(CHALLENGE_PREFIX)
    await LoginChallengeRepository(tx).add(token.digest, user.id, amr)
    await EventRepository(tx).add(client.context, Action.LOGIN_CHALLENGED, user.id)
    challenge = await parts.factors.challenge_of(tx, user, token.value)
    if bucket is not None:
        await ThrottleRepository(tx).refund(bucket.digest)
    return challenge


async def log_in_by_second_factor(parts: LoginParts, request: SecondFactorLogin, client: Client) -> LoggedIn:
    """Open a session for a challenge and a second factor of its user.

    A try is counted, at the challenge and in the bucket of a first step from the same client, and committed,
    before the factor is verified. The last transaction locks the user and uses up the challenge and the
    factor with the session that they open. Source: OWASP ASVS 5.0 6.3.3, 6.5.1, 6.6.3; NIST SP 800-63B-4
    3.2.2.

    Raises:
        InvalidCredentials: for every reason: wrong, expired, used, or another user's.
        LoginThrottled: too many failures before; the result of the verification is withheld.
        HashingBusy: too many attempts wait for others.
    """
    step = await _step_of(parts, request, client)
    has_try = await reserve_in_turn(parts.turns, step.bucket, partial(_reserve, step, parts))
    proof = await _verify(step, request, parts) if has_try else None
    result = await parts.database.run(
        partial(_complete, step=step, proof=proof, parts=parts), caller=ANONYMOUS
    )
    if isinstance(result, LoggedIn):
        return result
    raise result


@dataclass(frozen=True, slots=True)
class _Step:
    """A try at a challenge: who has it, if it is open, and where the try is counted."""

    client: Client
    digest: bytes | None
    challenged: ChallengedUser | None
    bucket: Bucket

    @property
    def user_id(self) -> UUID | None:
        return self.challenged.user.id if self.challenged is not None else None


async def _step_of(parts: LoginParts, request: SecondFactorLogin, client: Client) -> _Step:
    """Return the try that a request makes, which is not counted yet.

    Raises:
        LoginThrottled: a network of the client is at its limit.
    """
    context, digests = client.context, parts.policies.digests
    digest = digest_of(request.challenge, CHALLENGE_PREFIX)
    challenged, wait = await parts.reads.challenges.find(
        digest, device_digest=client.device_digest, networks=context.networks, policy=parts.policies.throttle
    )
    if challenged is None:
        bucket = bucket_for_unknown_challenge(digests, context.network)
    else:
        bucket = bucket_of(digests, challenged.user, challenged.recognition, context)
    if wait is not None and bucket.network_limited:
        raise throttled(wait, bucket, context)
    return _Step(client, digest, challenged, bucket)


async def _reserve(step: _Step, parts: LoginParts) -> bool | None:
    """Count the try; return whether the challenge had one left, or None without room in the bucket.

    Raises:
        LoginThrottled: failures leave no room.
    """

    async def reserve(tx: Transaction) -> bool | Refusal:
        has_try = await LoginChallengeRepository(tx).begin_try(step.digest)
        refusal = await try_reserve(tx, step.bucket, policies=parts.policies)
        if refusal is None:
            return has_try
        tx.abandon()  # the try was not made
        return refusal

    result = await parts.database.run(reserve, caller=ANONYMOUS)
    if isinstance(result, bool):
        return result
    if not result.has_attempts:
        raise throttled(result.wait, step.bucket, step.client.context)
    return None


async def _verify(step: _Step, request: SecondFactorLogin, parts: LoginParts) -> Proof | None:
    if step.user_id is None:
        return None
    challenge = passkey_challenge_of(request.challenge)
    return await parts.factors.verify(step.user_id, request.answer, challenge)


async def _complete(
    tx: Transaction, *, step: _Step, proof: Proof | None, parts: LoginParts
) -> LoggedIn | LoginThrottled | InvalidCredentials:
    """Use up challenge and factor, and open the session; record a failure if one of them is not there.

    Locks: the user, then the challenge, the factor and the sessions.
    """
    context, policies, bucket = step.client.context, parts.policies, step.bucket
    networks = context.networks if bucket.network_limited else ()
    wait = await NetworkCountRepository(tx).failure_wait(networks, policies.throttle)
    proven = await _prove(tx, step, proof) if proof is not None and wait is None else None
    if proven is not None:
        return await open_session(tx, proven, step.client, parts)
    error = await record_failure(tx, step.user_id, bucket, context=context, policies=policies)
    return error or (InvalidCredentials() if wait is None else throttled(wait, bucket, context))


async def _prove(tx: Transaction, step: _Step, proof: Proof) -> ProvenUser | None:
    """Return the locked user if the challenge and the factor were still there."""
    if step.digest is None or step.challenged is None:
        return None
    user = await UserRepository(tx).get_for_update(step.challenged.user.id)
    if user is None or user.state is not UserState.ACTIVE or not user.factors:
        return None
    challenges = LoginChallengeRepository(tx)
    first = await challenges.lock(step.digest, user.id)
    if first is None or not await proof.spend(tx, user, step.client.context):
        return None
    await challenges.use(step.digest)
    await LoginRepository(tx).record_proven(user.id)
    device_id, amr = step.challenged.recognition.device_id, combined_amr(first, proof.amr)
    return ProvenUser(user, amr, device_id, step.bucket, user.last_login_at)
