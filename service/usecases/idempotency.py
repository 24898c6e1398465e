"""Requests that happen once per idempotency key."""

import hmac
from dataclasses import dataclass

from service.db.core.transaction import Transaction
from service.db.repositories.idempotency import IdempotencyRepository, StoredResponse
from service.domain.errors import IdempotencyKeyReused, RequestInProgress


@dataclass(frozen=True, slots=True)
class IdempotencyKey:
    """Digests of a caller's idempotency key and of the request it came with, without any password."""

    digest: bytes
    request_digest: bytes


async def lock_key(tx: Transaction, key: IdempotencyKey) -> None:
    """Lock an idempotency key until the transaction ends.

    Locks: the key, before anything else.

    Raises:
        RequestInProgress: another transaction holds it.
    """
    if not await IdempotencyRepository(tx).claim(key.digest):
        raise RequestInProgress


async def find_response(tx: Transaction, key: IdempotencyKey) -> StoredResponse | None:
    """Return the stored response of a key, or None.

    Raises:
        IdempotencyKeyReused: the key came with another request.
    """
    stored = await IdempotencyRepository(tx).get(key.digest)
    if stored is not None and not hmac.compare_digest(stored.request_digest, key.request_digest):
        raise IdempotencyKeyReused
    return stored


async def store_response(tx: Transaction, key: IdempotencyKey, response: StoredResponse) -> None:
    """Store the response of a key in the transaction that does the work: both are committed, or neither."""
    await IdempotencyRepository(tx).add(key.digest, response)
