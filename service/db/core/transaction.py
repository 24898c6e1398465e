"""One open transaction."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from service.db.core.driver import EXECUTE, Driver, Method, ResultT
from service.db.core.error_classes import must_discard, must_invalidate_pool
from service.db.core.statements import Executor, Statement
from service.domain.errors import InvalidToken


@dataclass(frozen=True, slots=True)
class Failure:
    """What an error means for the connection it happened on, and for the others of its pool."""

    must_discard: bool
    must_invalidate_pool: bool


class Lease(Protocol):
    """Tells whether this process may write."""

    def is_valid(self) -> bool:
        """Return whether it may without asking the database."""
        ...

    async def confirm(self, driver: Driver) -> None:
        """Ask the database in an open transaction; raise if it may not."""


class Transaction(Executor):
    """Runs statements inside one transaction, which `service.db.core.database` opens and commits.

    `opening` returns BEGIN, or BEGIN with a check (`Guard.opening`). It is called when that is sent.
    """

    def __init__(
        self, driver: Driver, opening: Callable[[], str] = lambda: "BEGIN;", lease: Lease | None = None
    ) -> None:
        self._driver = driver
        self._opening = opening
        self._lease = lease
        self.has_begun = False
        """BEGIN is sent right before the first statement."""
        self.statements = 0
        """Statements that succeeded. After the first one, a lost connection is not a stale one."""
        self.audit_records: list[dict[str, str]] = []
        """Logged after the commit."""
        self.failure: Failure | None = None
        self.is_abandoned = False

    async def execute(self, statement: Statement, /, **params: Any) -> int:
        """Run a statement and return the number of rows that it changed."""
        status = await self.fetch(EXECUTE, statement, params)
        return int(status.rpartition(" ")[2])

    def abandon(self) -> None:
        """Roll back at the end of the block, although no exception leaves it."""
        self.is_abandoned = True

    def require_no_failure(self) -> None:
        """Raise RuntimeError if the block goes on after a failure without having abandoned the transaction.

        PostgreSQL would turn its COMMIT into a ROLLBACK without an error.
        """
        if self.failure is not None and not self.is_abandoned:
            raise RuntimeError("a failure of the database was swallowed")

    def record_failure(self, error: BaseException) -> None:
        """Record what the first error means; its traceback, which refers to this object, is not kept."""
        if self.failure is None:
            self.failure = Failure(must_discard(error), must_invalidate_pool(error))

    async def fetch(
        self, method: Method[ResultT], statement: Statement, params: Mapping[str, Any]
    ) -> ResultT:
        """Run a statement by any method, the first one after BEGIN; raise as `_begin` does."""
        arguments = statement.arguments(params)
        try:
            if not self.has_begun:
                await self._begin()
            result = await method(self._driver, statement.sql, *arguments)
        except BaseException as error:
            self.record_failure(error)
            raise
        self.statements += 1
        return result

    async def _begin(self) -> None:
        """Send BEGIN with the check, and confirm the lease if it has run out.

        Raises:
            InvalidToken: the check found no row: the caller has lost its authority.
            DatabaseUnavailable: the lease is not confirmed: the database does not serve this release.
        """
        self.has_begun = True
        try:
            status = await self._driver.execute(self._opening())
        except BaseException as error:  # whether the check is prepared is unknown
            self.failure = Failure(must_discard=True, must_invalidate_pool=must_invalidate_pool(error))
            raise
        if status == "SELECT 0":
            raise InvalidToken
        # After BEGIN: a process frozen between the two would otherwise write with an old answer.
        if self._lease is not None and not self._lease.is_valid():
            await self._lease.confirm(self._driver)
