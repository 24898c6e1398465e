"""Attempts at the credentials of a user: which bucket counts one, its turn, and its failure."""

from collections.abc import Awaitable, Callable
from typing import TypeVar
from uuid import UUID

from service.db.core.transaction import Transaction
from service.db.repositories.events import EventRepository
from service.db.repositories.login import Recognition
from service.domain.errors import LoginThrottled
from service.domain.events import Action, AuditContext
from service.domain.users import User
from service.security.digests import CountDigests
from service.usecases.attempt_turns import AttemptTurns
from service.usecases.policies import Policies
from service.usecases.throttle import (
    Bucket,
    bucket_for_unknown_device,
    bucket_of_device,
    bucket_of_network,
    count_failure,
)

ResultT = TypeVar("ResultT")


def bucket_of(digests: CountDigests, user: User, recognition: Recognition, context: AuditContext) -> Bucket:
    """Return the bucket of attempts at a user: known devices and networks of the user have their own.

    Source: OWASP ASVS 5.0 6.1.1 (strangers do not lock the owner out).
    """
    if recognition.device_id is not None:
        return bucket_of_device(digests, recognition.device_id, user.id)
    if recognition.network_is_known:
        return bucket_of_network(digests, context.network, user.id)
    return bucket_for_unknown_device(digests, user.login_id, user.id)


async def reserve_in_turn(
    turns: AttemptTurns, bucket: Bucket, reserve: Callable[[], Awaitable[ResultT | None]]
) -> ResultT:
    """Return what `reserve` does, as soon as attempts that are being verified leave room for it.

    Raises:
        HashingBusy: they did not in time, or too many wait for them.
    """
    if not turns.has_waiters(bucket.digest) and (result := await reserve()) is not None:
        return result
    async with turns.wait(bucket.digest) as turn:
        while (result := await reserve()) is None:
            await turn.pause()
        return result


async def record_failure(
    tx: Transaction, user_id: UUID | None, bucket: Bucket, *, context: AuditContext, policies: Policies
) -> LoginThrottled | None:
    """Record the event and count the failure of the network; the bucket has counted it before."""
    await EventRepository(tx).add(context, Action.LOGIN_FAILED, user_id)
    return await count_failure(tx, bucket, context=context, policies=policies)
