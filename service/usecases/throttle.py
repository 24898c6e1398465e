"""Which failed logins are counted together, and the reservation of an attempt at a password."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

import structlog

from service.db.core.database import Database
from service.db.core.transaction import Transaction
from service.db.repositories.network_counts import NetworkCountRepository
from service.db.repositories.throttle import Refusal, ThrottleRepository
from service.domain.callers import OPERATOR
from service.domain.errors import HashingBusy, LoginThrottled
from service.domain.events import AuditContext
from service.domain.throttle import retry_after_seconds
from service.security.digests import CountDigests
from service.usecases.policies import Policies

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Bucket:
    """A count of failures and the limits that apply to it.

    The table stores the digest in a keyed form, so it contains no login id. `is_unrecognised`: the hourly
    limit for unknown devices applies, and the table does not store the user. `network_limited`: the
    limits of the client's networks apply; they do not to the owner's devices and sessions, or a client of the
    same network could lock the owner out. Source: OWASP ASVS 5.0 6.1.1.
    """

    digest: bytes
    user_id: UUID | None
    is_unrecognised: bool = False
    network_limited: bool = False


def bucket_for_unknown_device(digests: CountDigests, login_id: str, user_id: UUID | None) -> Bucket:
    """Return the bucket of all unknown devices that use a login id, whether or not it has a user.

    Nothing that happens to a user clears it, or the throttle would tell which login ids have one.
    Source: OWASP ASVS 5.0 6.3.8.
    """
    return Bucket(digests.of("stranger", login_id), user_id, is_unrecognised=True, network_limited=True)


def bucket_for_impossible_login_id(digests: CountDigests, network: str) -> Bucket:
    """Return the bucket of everything that cannot be a login id, such as a password typed into its field."""
    return Bucket(digests.of("impossible", network), None, is_unrecognised=True, network_limited=True)


def bucket_for_unknown_challenge(digests: CountDigests, network: str) -> Bucket:
    """Return the bucket of answers to challenges that are not there: they tell nothing of a user."""
    return Bucket(digests.of("challenge", network), None, is_unrecognised=True, network_limited=True)


def bucket_for_passkeys(digests: CountDigests, network: str) -> Bucket:
    """Return the bucket of passkeys that log in alone: no attempt is reserved in it, only networks count."""
    return Bucket(digests.of("passkeys", network), None, network_limited=True)


def bucket_for_codes(digests: CountDigests, network: str) -> Bucket:
    """Return the bucket of codes from mails: a code counts its own tries, so only networks count here."""
    return Bucket(digests.of("codes", network), None, network_limited=True)


def bucket_of_network(digests: CountDigests, network: str, user_id: UUID) -> Bucket:
    """Return the bucket of a network that the user has logged in from."""
    return Bucket(digests.of("network", network, str(user_id)), user_id, network_limited=True)


def bucket_of_device(digests: CountDigests, device_id: UUID, user_id: UUID) -> Bucket:
    """Return the bucket of a device that the user has logged in from."""
    return Bucket(digests.of("device", str(device_id)), user_id)


def bucket_of_session(digests: CountDigests, session_id: UUID, user_id: UUID) -> Bucket:
    """Return the bucket of one session; a session costs a password, which bounds their number."""
    return Bucket(digests.of("session", str(session_id)), user_id)


async def try_reserve(tx: Transaction, bucket: Bucket, *, policies: Policies) -> Refusal | None:
    """Count an attempt as failed before it is verified, or return why it is not allowed.

    The count is committed before the password is checked, so N concurrent guesses cost N, and a crash forgets
    none.
    Source: NIST SP 800-63B-4 3.2.2; CVE-2023-47111, CVE-2026-35597.

    Locks: the user against deletion, then the bucket.
    """
    return await ThrottleRepository(tx).reserve(
        bucket.digest,
        user_id=None if bucket.is_unrecognised else bucket.user_id,
        is_unrecognised=bucket.is_unrecognised,
        policy=policies.throttle,
    )


async def reserve_attempt(
    tx: Transaction, bucket: Bucket, *, context: AuditContext, policies: Policies
) -> None:
    """Count an attempt as failed before it is verified; see `try_reserve`.

    Raises:
        LoginThrottled: too many failures before; the attempt is not counted.
    """
    refusal = await try_reserve(tx, bucket, policies=policies)
    if refusal is not None:
        raise throttled(refusal.wait, bucket, context)


async def count_failure(
    tx: Transaction, bucket: Bucket, *, context: AuditContext, policies: Policies
) -> LoginThrottled | None:
    """Count a verified attempt as a failure of its networks; its bucket counted it before.

    Return the error if other attempts have used up a network's limit since the reservation. The result of
    the verification is then withheld, so that concurrent guesses reveal no more than sequential ones.

    Locks: the bucket, then the networks' counts.
    """
    is_within = await ThrottleRepository(tx).count_failure(bucket.digest, context.networks, policies.throttle)
    if is_within or not bucket.network_limited:
        return None
    wait = await NetworkCountRepository(tx).failure_wait(context.networks, policies.throttle)
    return throttled(wait, bucket, context) if wait is not None else None


@asynccontextmanager
async def refund_unverified(database: Database, bucket: Bucket) -> AsyncIterator[None]:
    """Take back the count of an attempt if its password could not be verified."""
    try:
        yield
    except HashingBusy:
        await database.run(lambda tx: ThrottleRepository(tx).refund(bucket.digest), caller=OPERATOR)
        raise


def throttled(wait: timedelta, bucket: Bucket, context: AuditContext) -> LoginThrottled:
    """Log and return the error for an attempt that has to wait."""
    _log.info(
        "login.throttled",
        subject_id=str(bucket.user_id) if bucket.user_id else None,
        network=context.network,
        request_id=context.request_id,
    )
    return LoginThrottled(retry_after=retry_after_seconds(wait))
