"""Deleting what has expired, a batch at a time."""

from collections.abc import Awaitable, Callable

from service.db.core.database import Database
from service.db.core.transaction import Transaction
from service.db.repositories.cleanup import Cleanup
from service.db.repositories.throttle_keys import ThrottleKeyRepository
from service.domain.callers import OPERATOR
from service.domain.errors import DatabaseUnavailable, OutcomeUnknown, SchemaBehind
from service.usecases.policies import Retention

Purge = Callable[[Transaction], Awaitable[int]]


async def purge_expired(database: Database, retention: Retention) -> int:
    """Delete everything that has expired; return the number of rows.

    Each batch is a transaction of its own, so that its locks are short. A purge that fails keeps none of the
    others from their rows. The key of the throttle's digests is made again if a restore left it out.

    Raises:
        DatabaseUnavailable: at once, since the others would fail too.
        Exception: what one purge failed with, or an `ExceptionGroup` of several, after the others.
    """
    await database.run(lambda tx: ThrottleKeyRepository(tx).ensure(), caller=OPERATOR)
    batch = retention.batch
    purges: tuple[Purge, ...] = (
        lambda tx: Cleanup(tx).purge_parked(),
        lambda tx: Cleanup(tx).purge_sessions(batch),
        lambda tx: Cleanup(tx).purge_challenges(batch),
        lambda tx: Cleanup(tx).purge_reset_tokens(batch),
        lambda tx: Cleanup(tx).purge_idempotency_keys(batch, age=retention.idempotency_ttl),
        lambda tx: Cleanup(tx).purge_events(batch, age=retention.events_ttl),
        lambda tx: Cleanup(tx).purge_mails(batch, age=retention.mail_ttl),
        lambda tx: Cleanup(tx).purge_throttle(batch, age=retention.throttle_ttl),
    )
    removed, failures = 0, list[Exception]()
    for purge in purges:
        try:
            removed += await _purge_in_batches(database, purge, batch)
        except Exception as error:
            if _concerns_all(error):
                raise
            failures.append(error)
    if len(failures) > 1:
        raise ExceptionGroup("several purges failed", failures)
    if failures:
        raise failures[0]
    return removed


def _concerns_all(error: Exception) -> bool:
    """Return whether the other purges would fail too, or should not begin: a cancelled COMMIT is unknown."""
    is_outage = isinstance(error, DatabaseUnavailable) and not isinstance(error, SchemaBehind)
    return is_outage or isinstance(error, OutcomeUnknown)


async def _purge_in_batches(database: Database, purge: Purge, batch: int) -> int:
    removed = 0
    while True:
        count = await database.run(purge, caller=OPERATOR)
        removed += count
        if count < batch:
            return removed
