"""Which failures are counted together, and letting an attempt at a password through."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from hashlib import sha256
from math import ceil
from uuid import UUID

import structlog

from service.db.core.database import Database
from service.db.transaction import Tx
from service.domain.errors import HashingBusy, LoginThrottled
from service.domain.events import AuditContext
from service.usecases.policies import Policies

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Bucket:
    """What counts together: its digest, so that no name stands in the table, and the limits that hold for it.

    `is_unrecognised`: the hourly limit for unrecognised devices applies. `network_limited`: the limit of the
    client's network applies; not to a device or session of the owner, or a client of the same network could
    lock the owner out.
    Source: OWASP ASVS 5.0 6.1.1.
    """

    digest: bytes
    user_id: UUID | None
    is_unrecognised: bool = False
    network_limited: bool = False


def bucket_for_unknown_device(login_id: str, user_id: UUID | None) -> Bucket:
    """Count all strangers to a login id together, whether or not it has an account."""
    return Bucket(_digest("stranger", login_id), user_id, is_unrecognised=True, network_limited=True)


def bucket_of_network(network: str, user_id: UUID) -> Bucket:
    """Count apart who comes from a network that the owner logged in from."""
    return Bucket(_digest("network", network, str(user_id)), user_id, network_limited=True)


def bucket_of_device(device_id: UUID, user_id: UUID) -> Bucket:
    """Count apart who holds a device token of the owner."""
    return Bucket(_digest("device", str(device_id)), user_id)


def bucket_of_sessions(user_id: UUID) -> Bucket:
    """Count apart who holds a live session of the owner."""
    return Bucket(_digest("session", str(user_id)), user_id)


async def reserve_attempt(
    tx: Tx, bucket: Bucket, *, context: AuditContext, policies: Policies
) -> LoginThrottled | None:
    """Count an attempt as failed before it is verified, or give the refusal without counting it.

    The count is durable before the password is looked at, so N guesses at once cost N, and a crash forgets
    none. Source: NIST SP 800-63B-4 3.2.2; CVE-2023-47111, CVE-2026-35597.

    Locks: the account against deletion, then the bucket.
    """
    wait = await tx.throttle.reserve(
        bucket.digest,
        user_id=bucket.user_id,
        is_unrecognised=bucket.is_unrecognised,
        policy=policies.throttle,
    )
    return throttled(wait, bucket, context) if wait is not None else None


async def count_failure(
    tx: Tx, bucket: Bucket, *, context: AuditContext, policies: Policies
) -> LoginThrottled | None:
    """Count a verified attempt as a failure of its network; its bucket counted it before.

    Gives the refusal when others have used up the network's limit since the attempt was let through: what its
    verification found is not told then, so guesses at once tell no more than guesses in a row.

    Locks: the network's count.
    """
    is_within = await tx.throttle.count_network(context.network, policies.throttle)
    if is_within or not bucket.network_limited:
        return None
    wait = await tx.throttle.network_wait(context.network, policies.throttle)
    return throttled(wait, bucket, context) if wait is not None else None


@asynccontextmanager
async def refund_unverified(uow: Database, bucket: Bucket) -> AsyncIterator[None]:
    """Take the count of an attempt back when its password was not verified after all, for want of room."""
    try:
        yield
    except HashingBusy:
        await uow.run(lambda tx: tx.throttle.refund(bucket.digest))
        raise


def _digest(*parts: str) -> bytes:
    return sha256("\0".join(parts).encode("utf-8", "surrogatepass")).digest()


def throttled(wait: timedelta, bucket: Bucket, context: AuditContext) -> LoginThrottled:
    """Refuse an attempt for as long as it has to wait."""
    _log.info(
        "login.throttled",
        subject_id=str(bucket.user_id) if bucket.user_id else None,
        network=context.network,
        request_id=context.request_id,
    )
    return LoginThrottled(retry_after=max(1, ceil(wait.total_seconds())))
