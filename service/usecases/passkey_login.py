"""Logging in by a passkey alone: possession and user verification in one step."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from typing import Any
from uuid import UUID

import structlog

from service.db.core.transaction import Transaction
from service.db.repositories.login import LoginRepository
from service.db.repositories.network_counts import NetworkCountRepository
from service.db.repositories.passkey_challenges import PasskeyChallengeRepository
from service.db.repositories.second_factors import PasskeyHolder
from service.db.repositories.users import UserRepository
from service.domain.callers import ANONYMOUS
from service.domain.errors import InvalidCredentials, LoginThrottled, NotFound, RateLimited
from service.domain.events import AuditContext
from service.domain.factors import CHALLENGE_TTL, PasskeyChallenge
from service.domain.throttle import retry_after_seconds
from service.domain.users import UserState
from service.security.ids import new_id
from service.security.webauthn import new_challenge
from service.usecases.attempts import record_failure
from service.usecases.factor_proofs import PasskeyProof, claimed_credential
from service.usecases.open_session import Client, LoggedIn, LoginParts, ProvenUser, open_session
from service.usecases.throttle import bucket_for_passkeys, throttled

_NO_SUCH_CREDENTIAL = b""
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class PasskeyRequest:
    """A login by passkey as it was sent."""

    challenge_id: UUID
    passkey: Mapping[str, Any] = field(hash=False)


async def create_passkey_challenge(parts: LoginParts, *, context: AuditContext) -> PasskeyChallenge:
    """Return a new challenge. It is counted first, so that no network fills the table.

    Raises:
        NotFound: passkeys are not enabled.
        RateLimited: a network of the client has had its number of challenges in this hour.
    """
    relying_party = parts.factors.relying_party
    if relying_party is None:
        raise NotFound
    challenge_id, challenge = new_id(), new_challenge()

    async def add(tx: Transaction) -> timedelta | None:
        counts, most = NetworkCountRepository(tx), parts.policies.throttle.passkey_challenges_per_hour
        wait = await counts.count("passkey challenge", context.networks, most)
        if wait is None:
            await PasskeyChallengeRepository(tx).add(
                challenge_id, None, challenge=challenge, ttl=CHALLENGE_TTL
            )
        return wait

    if (wait := await parts.database.run(add, caller=context.caller)) is not None:
        _log.info("passkey_challenge_throttled", network=context.network, request_id=context.request_id)
        raise RateLimited(retry_after=retry_after_seconds(wait))
    return PasskeyChallenge(challenge_id, relying_party.login_options(challenge))


async def log_in_by_passkey(parts: LoginParts, request: PasskeyRequest, client: Client) -> LoggedIn:
    """Open a session of two factors for the answer of a passkey to a challenge.

    The challenge is used up, and committed, before the answer is verified: it is good for one try. A failure
    counts for the networks of the client, never for a user: who knows the id of a passkey, which is no
    secret, must not lock its owner out. Source: OWASP ASVS 5.0 6.1.1, 6.3.3; NIST SP 800-63B-4 2.2.1.

    Raises:
        InvalidCredentials: for every reason.
        LoginThrottled: a network of the client is at its limit.
    """
    claimed = claimed_credential(request.passkey)
    credential_id, user_handle = claimed or (_NO_SUCH_CREDENTIAL, None)
    holder = await _find_holder(parts, credential_id, client)
    challenge = await parts.database.run(
        lambda tx: PasskeyChallengeRepository(tx).take(request.challenge_id, None), caller=ANONYMOUS
    )
    proof = None
    # The user handle says who logs in, and has to be there (WebAuthn Level 3 7.2).
    if holder is not None and challenge is not None and user_handle == holder.passkey.user_id.bytes:
        proof = parts.factors.verify_passkey(holder.passkey, request.passkey, challenge)
    work = partial(_complete, holder=holder, proof=proof, client=client, parts=parts)
    result = await parts.database.run(work, caller=ANONYMOUS)
    if isinstance(result, LoggedIn):
        return result
    raise result


async def _find_holder(parts: LoginParts, credential_id: bytes, client: Client) -> PasskeyHolder | None:
    """Return who has the passkey that is claimed.

    Raises:
        LoginThrottled: a network is at its limit, and the client is no known device of that user.
    """
    context, policies = client.context, parts.policies
    holder, wait = await parts.reads.second_factors.find_holder(
        credential_id, device_digest=client.device_digest, networks=context.networks, policy=policies.throttle
    )
    is_known_device = holder is not None and holder.recognition.device_id is not None
    if wait is not None and not is_known_device:
        raise throttled(wait, bucket_for_passkeys(policies.digests, context.network), context)
    return holder


async def _complete(
    tx: Transaction,
    *,
    holder: PasskeyHolder | None,
    proof: PasskeyProof | None,
    client: Client,
    parts: LoginParts,
) -> LoggedIn | LoginThrottled | InvalidCredentials:
    """Record the use of the passkey and open the session, or record a failure.

    Locks: the user, then the passkey and the sessions.
    """
    if holder is not None and proof is not None:
        proven = await _prove(tx, holder, proof, client)
        if proven is not None:
            return await open_session(tx, proven, client, parts)
    context, policies = client.context, parts.policies
    bucket = bucket_for_passkeys(policies.digests, context.network)
    user_id = holder.passkey.user_id if holder is not None else None
    error = await record_failure(tx, user_id, bucket, context=context, policies=policies)
    return error or InvalidCredentials()


async def _prove(
    tx: Transaction, holder: PasskeyHolder, proof: PasskeyProof, client: Client
) -> ProvenUser | None:
    """Return the locked user if it is active and still has the passkey."""
    user = await UserRepository(tx).get_for_update(holder.passkey.user_id)
    if user is None or user.state is not UserState.ACTIVE:
        return None
    if not await proof.spend(tx, user, client.context):
        return None
    await LoginRepository(tx).record_proven(user.id)
    return ProvenUser(user, proof.amr, holder.recognition.device_id, previous_login_at=user.last_login_at)
