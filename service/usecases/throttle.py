"""Which failures are counted together, and letting an attempt at a password through."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from hashlib import sha256
from math import ceil
from uuid import UUID

import structlog

from service.db.transaction import Tx
from service.db.unit_of_work import UnitOfWork
from service.domain.errors import HashingBusy, LoginThrottled
from service.domain.events import Origin
from service.usecases.rules import Rules

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Admitted:
    """An attempt that may be verified. It is counted as failed until a success clears the bucket."""

    bucket: bytes


def bucket_of(*parts: str) -> bytes:
    """Give the digest under which failures of one class are counted: no name stands in the table."""
    return sha256("\0".join(parts).encode("utf-8", "surrogatepass")).digest()


async def admit_attempt(
    tx: Tx, bucket: bytes, user_id: UUID | None, *, is_stranger: bool, origin: Origin, rules: Rules
) -> Admitted | LoginThrottled:
    """Count an attempt before it is verified, or refuse it without counting.

    The count is durable before the password is looked at, so N guesses at once cost N, and a crash forgets
    none. Source: NIST SP 800-63B-4 3.2.2; CVE-2023-47111, CVE-2026-35597.

    Locks: the bucket.
    """
    wait = await tx.throttle.network_wait(origin.network, rules.throttle)
    if wait is None:
        wait = await tx.throttle.reserve(
            bucket, user_id=user_id, is_stranger=is_stranger, policy=rules.throttle
        )
    if wait is None:
        return Admitted(bucket)
    _log.info("login_throttled", user_id=str(user_id) if user_id else None, request_id=origin.request_id)
    return LoginThrottled(retry_after=_whole_seconds(wait))


@asynccontextmanager
async def give_back(uow: UnitOfWork, bucket: bytes) -> AsyncIterator[None]:
    """Take the count of an attempt back when its password was not verified after all, for want of room."""
    try:
        yield
    except HashingBusy:
        await uow.run(lambda tx: tx.throttle.refund(bucket))
        raise


def _whole_seconds(wait: timedelta) -> int:
    return max(1, ceil(wait.total_seconds()))
