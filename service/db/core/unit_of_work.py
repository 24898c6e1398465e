"""The one place that commits."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Any, TypeVar

import structlog
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from service.db.core import error_classes
from service.db.core.constraints import error_of_constraint
from service.db.core.engine import invalidate_pool
from service.db.core.statements import Driver
from service.db.transaction import Lease, Tx
from service.domain.errors import OutcomeUnknown, RollcallError

ResultT = TypeVar("ResultT")

ATTEMPTS = 3
_log = structlog.get_logger(__name__)
_audit = structlog.get_logger("rollcall.audit")


def ignore_action(_action: str) -> None:
    """Count nothing."""


class UnitOfWork:
    """Opens one transaction per `async with` block: leaving the block commits, an exception rolls back.

    Holds no connection outside the block. A refusal that must leave a trace is a return value of the block;
    an exception always means that nothing happened, but for `OutcomeUnknown`, which says so.

    `count` is called with each action of the audit trail once it is committed. `lease` says whether this
    process may write; without one it may.
    """

    def __init__(
        self,
        engine: AsyncEngine,
        *,
        lease: Lease | None = None,
        count: Callable[[str], None] = ignore_action,
    ) -> None:
        self._engine = engine
        self._lease = lease
        self._count = count
        self._connection: AsyncConnection | None = None
        self._tx: Tx | None = None

    async def __aenter__(self) -> Tx:
        try:
            self._connection = await self._engine.connect()
        except Exception as error:  # noqa: BLE001 - told as a refusal, or raised again as it is
            raise _refusal(error) from None  # which is the error itself where it is no refusal
        self._tx = Tx(_driver_of(self._connection), self._lease)
        return self._tx

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        connection, self._connection = self._connection, None
        tx, self._tx = self._tx, None
        if connection is None or tx is None:
            raise RuntimeError("the unit of work was not entered")
        if error is None and tx.failure is None:
            if tx.has_begun:
                await self._commit(connection)
            await _release(connection)
            self._publish_audit(tx)
            return
        if error is None:
            # PostgreSQL would answer this COMMIT with a roll-back, and the driver would not mind.
            error = RuntimeError("a failure of the database was swallowed")
            await self._roll_back(connection, tx, error)
            raise error
        await self._roll_back(connection, tx, error)
        if isinstance(error, Exception) and not isinstance(error, RollcallError):
            raise _refusal(error) from None

    async def _commit(self, connection: AsyncConnection) -> None:
        """Commit, or end the connection.

        A cancelled COMMIT may have been made, so it is told as an unknown outcome and not as a cancellation:
        the time limit of the request would otherwise promise that nothing was changed.
        """
        try:
            await _driver_of(connection).execute("COMMIT;")
        except asyncio.CancelledError:
            _log.info("commit_cancelled")
            await _discard(connection)
            raise OutcomeUnknown from None
        except Exception as error:  # noqa: BLE001 - told as a refusal, or raised again as it is
            self._distrust_after(error)
            await _discard(connection)
            raise _refusal(error, committing=True) from None

    async def _roll_back(self, connection: AsyncConnection, tx: Tx, error: BaseException) -> None:
        # A failure keeps the frames it passed, and those the transaction: forgotten, or they form a circle.
        cause, tx.failure = tx.failure or error, None
        self._distrust_after(cause)
        if error_classes.must_discard(cause):
            await _discard(connection)
            return
        if tx.has_begun:
            await _send_roll_back(connection)
        await _release(connection)

    def _distrust_after(self, failure: BaseException) -> None:
        if error_classes.must_invalidate_pool(failure):
            invalidate_pool(self._engine)

    def _publish_audit(self, tx: Tx) -> None:
        """Log and count what has happened, now that it has. Source: OWASP ASVS 5.0 16.3.1, 16.3.2."""
        for line in tx.audit_records:
            _audit.info(**line)
            self._count(line["event"])

    async def run(self, work: Callable[[Tx], Awaitable[ResultT]]) -> ResultT:
        """Run a whole unit of work, again when the database asks for it or a pooled connection was dead.

        At most three times, with jitter, and never once COMMIT was sent. `work` must have no effect but
        through its transaction.

        Raises:
            DatabaseUnavailable: the database cannot be used now; nothing was changed.
            OutcomeUnknown: COMMIT was sent and no answer came.
        """
        for attempt in range(1, ATTEMPTS):
            try:
                return await self._attempt(work)
            except _Retry as retry:
                _log.info("transaction_retried", attempt=attempt, **retry.description)
                await asyncio.sleep(random.uniform(0.01, 0.1))  # noqa: S311 - jitter, not a secret
        async with self as tx:
            return await work(tx)

    async def _attempt(self, work: Callable[[Tx], Awaitable[ResultT]]) -> ResultT:
        async with self as tx:
            try:
                return await work(tx)
            except Exception as error:
                if error_classes.is_retryable(error) and (
                    not error_classes.is_disconnect(error) or tx.statements == 0
                ):
                    raise _Retry(error_classes.describe(error)) from None
                raise


class _Retry(RollcallError):
    """The attempt was rolled back and may be repeated. Never leaves this module."""

    def __init__(self, description: dict[str, Any]) -> None:
        super().__init__("")
        self.description = description


def _driver_of(connection: AsyncConnection) -> Driver:
    """Give what the pool's connection stands for, without the greenlet that asking for it otherwise takes."""
    taken: Any = connection.sync_connection
    driver: Driver = taken.connection.driver_connection
    return driver


async def _send_roll_back(connection: AsyncConnection) -> None:
    """Roll back, or end the connection, which does the same."""
    try:
        await _driver_of(connection).execute("ROLLBACK;")
    except Exception as error:  # noqa: BLE001 - the connection is gone, and with it an open transaction
        _log.info("connection_lost", **error_classes.describe(error))
        await _discard(connection)
    except BaseException:
        await _discard(connection)
        raise


async def _release(connection: AsyncConnection) -> None:
    """Return a connection to the pool; the outcome is settled before."""
    try:
        await connection.close()
    except Exception as error:  # noqa: BLE001 - it is thrown away; the pool replaces it
        _log.info("connection_lost", **error_classes.describe(error))
        await _discard(connection)


async def _discard(connection: AsyncConnection) -> None:
    """End a connection instead of returning it: nobody knows what would be read from it next."""
    try:
        await connection.invalidate()
        await connection.close()
    except Exception as error:  # noqa: BLE001 - it is thrown away either way; the pool replaces it
        _log.info("connection_discarded", **error_classes.describe(error))


def _refusal(error: Exception, *, committing: bool = False) -> Exception:
    """Give what the caller is told of a database error: a refusal, or the error itself when it is a bug."""
    refusal = error_of_constraint(error) or error_classes.translate(error, committing=committing)
    if refusal is None:
        return error
    _log.info("database_error", code=refusal.code, **error_classes.describe(error))
    return refusal
