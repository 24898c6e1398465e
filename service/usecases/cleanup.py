"""Removing what has expired, a batch at a time."""

from collections.abc import Awaitable, Callable

from service.db.core.unit_of_work import UnitOfWork
from service.db.transaction import Tx
from service.usecases.policies import Retention

Purge = Callable[[Tx], Awaitable[int]]


async def purge_expired(uow: UnitOfWork, retention: Retention) -> int:
    """Remove everything that has expired; give the number of rows.

    Each batch is a transaction of its own, so that nobody waits long for what a batch locks.
    """
    batch = retention.batch
    purges: tuple[Purge, ...] = (
        lambda tx: tx.cleanup.purge_sessions(batch),
        lambda tx: tx.cleanup.purge_reset_tokens(batch),
        lambda tx: tx.cleanup.purge_idempotency_keys(batch, age=retention.idempotency_ttl),
        lambda tx: tx.cleanup.purge_events(batch, age=retention.events_ttl),
        lambda tx: tx.cleanup.purge_throttle(batch, age=retention.throttle_ttl),
    )
    return sum([await _drain(uow, purge, batch) for purge in purges])


async def _drain(uow: UnitOfWork, purge: Purge, batch: int) -> int:
    removed = 0
    while True:
        count = await uow.run(purge)
        removed += count
        if count < batch:
            return removed
