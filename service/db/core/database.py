"""Transactions: the only module that commits."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from functools import partial
from types import TracebackType
from typing import Final

import structlog
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from service.db.core.constraints import error_of_constraint
from service.db.core.driver import ResultT, driver_of, prepared_names
from service.db.core.engine import invalidate_pool, is_behind_pooler
from service.db.core.error_classes import (
    describe,
    is_disconnect,
    is_retryable,
    must_invalidate_pool,
    translate,
)
from service.db.core.guard import Guard
from service.db.core.transaction import Lease, Transaction
from service.domain.callers import Caller
from service.domain.errors import OutcomeUnknown, RollcallError

ATTEMPTS: Final = 3
_log = structlog.get_logger(__name__)
_audit = structlog.get_logger("rollcall.audit")


def ignore_action(_action: str) -> None:
    """Do nothing."""


class Database:
    """Runs transactions on the connections of one engine; keeps no state between them.

    A problem that must leave a trace is a return value of the work. An exception always means that nothing
    was changed, except `OutcomeUnknown`.

    `guard_of` returns the check that opens a caller's transactions: a caller that was authenticated before a
    revocation does nothing after it. `lease` tells whether this process may write; without one it may.
    `on_audit` is called with each audited action after its commit.
    """

    def __init__(
        self,
        engine: AsyncEngine,
        guard_of: Callable[[Caller], Guard | None],
        *,
        lease: Lease | None = None,
        on_audit: Callable[[str], None] = ignore_action,
    ) -> None:
        self._engine = engine
        self._lease = lease
        self._guard_of = guard_of
        self._is_behind_pooler = is_behind_pooler(engine)
        self._on_audit = on_audit

    async def run(self, work: Callable[[Transaction], Awaitable[ResultT]], *, caller: Caller) -> ResultT:
        """Run `work` in a transaction and commit; retry on a conflict, a stale plan or a stale connection.

        There are at most three attempts, with jitter, and none after COMMIT was sent. `work` must have no
        effect outside its transaction.

        Raises:
            InvalidToken: the caller has lost its authority since it was authenticated.
            DatabaseUnavailable: the database cannot be used now; nothing was changed.
            OutcomeUnknown: COMMIT was sent and no response came.
        """
        attempt = 1
        while True:
            async with self.transaction(caller=caller) as tx:
                try:
                    return await work(tx)
                except Exception as error:
                    if attempt == ATTEMPTS or not _may_retry(tx, error):
                        raise
                    tx.abandon()
                    reason = describe(error)
            _log.info("transaction_retried", attempt=attempt, **reason)
            await asyncio.sleep(random.uniform(0.01, 0.1))  # noqa: S311 - jitter, not a secret
            attempt += 1

    def transaction(self, *, caller: Caller) -> AbstractAsyncContextManager[Transaction]:
        """Open one transaction: leaving the block commits, an exception rolls back. Nothing is retried.

        Raises:
            InvalidToken: the caller has lost its authority since it was authenticated.
            DatabaseUnavailable: the database cannot be used now; nothing was changed.
            OutcomeUnknown: COMMIT was sent and no response came.
        """
        return _TransactionContext(partial(self._open, caller), self._close)

    async def _open(self, caller: Caller) -> tuple[AsyncConnection, Transaction]:
        connection = await self._connect()
        opening = partial(self._opening, connection, caller)
        return connection, Transaction(driver_of(connection), opening, self._lease)

    async def _close(self, connection: AsyncConnection, tx: Transaction, error: BaseException | None) -> None:
        """Commit, or roll back after an error and raise what it means."""
        if error is not None:
            tx.record_failure(error)
        if tx.failure is None and not tx.is_abandoned:
            await self._commit(connection, tx)
            return
        await self._roll_back(connection, tx)
        if error is None:
            tx.require_no_failure()
        elif isinstance(error, Exception) and not isinstance(error, RollcallError):
            raise _translated(error) from None

    def _opening(self, connection: AsyncConnection, caller: Caller) -> str:
        guard = self._guard_of(caller)
        if guard is None:
            return "BEGIN;"
        return guard.opening(None if self._is_behind_pooler else prepared_names(connection))

    async def _connect(self) -> AsyncConnection:
        try:
            return await self._engine.connect()
        except Exception as error:  # noqa: BLE001 - raised again, translated if it is known
            raise _translated(error) from None

    async def _commit(self, connection: AsyncConnection, tx: Transaction) -> None:
        """Commit, or close the connection, and publish the audit records.

        A cancelled COMMIT may have succeeded, so it raises `OutcomeUnknown` instead of the cancellation: the
        request's time limit would otherwise promise that nothing was changed.
        """
        try:
            if tx.has_begun:
                await driver_of(connection).execute("COMMIT;")
        except asyncio.CancelledError:
            _log.info("commit_cancelled")
            await _discard(connection)
            raise OutcomeUnknown from None
        except Exception as error:  # noqa: BLE001 - raised again, translated if it is known
            if must_invalidate_pool(error):
                invalidate_pool(self._engine)
            await _discard(connection)
            raise _translated(error, committing=True) from None
        await _release(connection)
        self._publish_audit(tx)

    async def _roll_back(self, connection: AsyncConnection, tx: Transaction) -> None:
        if tx.failure is not None and tx.failure.must_invalidate_pool:
            invalidate_pool(self._engine)
        if tx.failure is not None and tx.failure.must_discard:
            await _discard(connection)
            return
        if tx.has_begun:
            await _send_roll_back(connection)
        await _release(connection)

    def _publish_audit(self, tx: Transaction) -> None:
        """Log and count what was committed. Source: OWASP ASVS 5.0 16.3.1, 16.3.2."""
        for record in tx.audit_records:
            _audit.info(**record)
            self._on_audit(record["event"])


class _TransactionContext(AbstractAsyncContextManager[Transaction]):
    """The block of a transaction.

    No generator: on Python 3.13 one that raises another error than it was left with makes a reference cycle.
    """

    def __init__(
        self,
        open_: Callable[[], Awaitable[tuple[AsyncConnection, Transaction]]],
        close: Callable[[AsyncConnection, Transaction, BaseException | None], Awaitable[None]],
    ) -> None:
        self._open = open_
        self._close = close

    async def __aenter__(self) -> Transaction:
        self._connection, self._tx = await self._open()
        return self._tx

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._close(self._connection, self._tx, error)


def _may_retry(tx: Transaction, error: Exception) -> bool:
    return is_retryable(error) and (tx.statements == 0 or not is_disconnect(error))


async def _send_roll_back(connection: AsyncConnection) -> None:
    """Roll back, or close the connection, which has the same effect."""
    try:
        await driver_of(connection).execute("ROLLBACK;")
    except Exception as error:  # noqa: BLE001 - the connection is lost, and the transaction with it
        _log.info("connection_lost", **describe(error))
        await _discard(connection)
    except BaseException:
        await _discard(connection)
        raise


async def _release(connection: AsyncConnection) -> None:
    """Return a connection to the pool."""
    try:
        await connection.close()
    except Exception as error:  # noqa: BLE001 - the outcome is settled; the pool replaces the connection
        _log.info("connection_lost", **describe(error))
        await _discard(connection)


async def _discard(connection: AsyncConnection) -> None:
    """Close a connection whose state is unknown instead of returning it to the pool."""
    try:
        await connection.invalidate()
        await connection.close()
    except Exception as error:  # noqa: BLE001 - the pool replaces the connection either way
        _log.info("connection_discarded", **describe(error))


def _translated(error: Exception, *, committing: bool = False) -> Exception:
    """Return the domain error that an error of the database means, or the error itself if it is a bug.

    Raise the result directly: a local variable that holds it would form a reference cycle with its traceback.
    """
    known = error_of_constraint(error) or translate(error, committing=committing)
    if known is None:
        return error
    _log.info("database_error", code=known.code, **describe(error))
    return known
