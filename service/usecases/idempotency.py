"""Requests that happen once per idempotency key."""

import hmac
from dataclasses import dataclass

from service.db.repositories.idempotency import StoredAnswer
from service.db.transaction import Tx
from service.domain.errors import IdempotencyKeyReused, RequestInProgress


@dataclass(frozen=True, slots=True)
class IdempotencyKey:
    """Digests of a caller's idempotency key and of the request it came with."""

    digest: bytes
    request_digest: bytes


async def lock_key(tx: Tx, key: IdempotencyKey) -> None:
    """Lock an idempotency key until the transaction ends.

    Locks: the key, before anything else.

    Raises:
        RequestInProgress: another transaction holds it.
    """
    if not await tx.idempotency.claim(key.digest):
        raise RequestInProgress


async def find_response(tx: Tx, key: IdempotencyKey) -> StoredAnswer | None:
    """Return the stored response of a key, or None.

    Raises:
        IdempotencyKeyReused: the key came with another request.
    """
    stored = await tx.idempotency.get(key.digest)
    if stored is not None and not hmac.compare_digest(stored.request_digest, key.request_digest):
        raise IdempotencyKeyReused
    return stored


async def store_response(tx: Tx, key: IdempotencyKey, response: StoredAnswer) -> None:
    """Store the response of a key in the transaction that does the work: both are committed, or neither."""
    await tx.idempotency.add(key.digest, response)
