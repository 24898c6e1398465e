"""One database transaction with the repositories that work in it."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, Protocol, TypeAlias, TypeVar

import asyncpg
from sqlalchemy import select

from service.db.core.engine import Record
from service.db.core.statements import Driver, Statement
from service.db.repositories.cleanup import Cleanup
from service.db.repositories.events import EventRepository
from service.db.repositories.idempotency import IdempotencyRepository
from service.db.repositories.keys import ApiKeyRepository
from service.db.repositories.login import LoginRepository
from service.db.repositories.reset_tokens import ResetTokenRepository
from service.db.repositories.sessions import DeviceRepository, SessionRepository
from service.db.repositories.throttle import ThrottleRepository
from service.db.repositories.users import UserRepository

ResultT = TypeVar("ResultT")
_Method: TypeAlias = Callable[..., Awaitable[ResultT]]

_EXECUTE: Final[_Method[str]] = asyncpg.Connection.execute
_FETCH_ONE: Final[_Method[Record | None]] = asyncpg.Connection.fetchrow
_FETCH_ALL: Final[_Method[list[Record]]] = asyncpg.Connection.fetch
_NO_VALUES: Final[Mapping[str, Any]] = {}
_PING = Statement(select(1))


class Lease(Protocol):
    """Says whether this process may write."""

    def is_valid(self) -> bool:
        """Return whether it may without asking the database."""

    async def confirm(self, driver: Driver) -> None:
        """Ask the database in an open transaction; raise if it may not."""


class Tx:
    """The repositories of one open transaction. Only `service.db.core.unit_of_work` opens and commits one.

    They are made when asked for and not kept, as each keeps its transaction: both would have to wait for the
    garbage collector.
    """

    def __init__(self, driver: Driver, lease: Lease | None = None) -> None:
        self._driver = driver
        self._lease = lease
        self.has_begun = False
        """Whether BEGIN was sent, as it is before the first statement."""
        self.statements = 0
        """How many statements have succeeded: after the first, a lost connection is no longer a stale one."""
        self.audit_records: list[dict[str, str]] = []
        """What the audit trail tells of this transaction, to be logged once it is committed."""
        self.failure: BaseException | None = None
        """How a statement failed: then nothing of the transaction can be committed any more."""

    async def execute(self, statement: Statement, values: Mapping[str, Any] = _NO_VALUES) -> int:
        """Run one statement and give the number of rows it changed."""
        status = await self._run(_EXECUTE, statement, values)
        return int(status.rpartition(" ")[2])

    async def one(self, statement: Statement, values: Mapping[str, Any] = _NO_VALUES) -> Record | None:
        """Run one statement and give its first row, or None."""
        return await self._run(_FETCH_ONE, statement, values)

    async def all(self, statement: Statement, values: Mapping[str, Any] = _NO_VALUES) -> list[Record]:
        """Run one statement and give all its rows."""
        return await self._run(_FETCH_ALL, statement, values)

    async def ping(self) -> None:
        """Ask the database for an answer."""
        await self.execute(_PING)

    async def _run(
        self, method: _Method[ResultT], statement: Statement, values: Mapping[str, Any]
    ) -> ResultT:
        arguments = statement.arguments(values)
        try:
            if not self.has_begun:
                self.has_begun = True
                await self._driver.execute("BEGIN;")
                # After BEGIN: a process frozen between the two would otherwise write with an old answer.
                if self._lease is not None and not self._lease.is_valid():
                    await self._lease.confirm(self._driver)
            result = await method(self._driver, statement.sql, *arguments)
        except BaseException as failure:
            self.failure = failure
            raise
        self.statements += 1
        return result

    @property
    def users(self) -> UserRepository:
        """Accounts."""
        return UserRepository(self)

    @property
    def logins(self) -> LoginRepository:
        """Log-ins, over several tables."""
        return LoginRepository(self)

    @property
    def sessions(self) -> SessionRepository:
        """Log-in sessions."""
        return SessionRepository(self)

    @property
    def devices(self) -> DeviceRepository:
        """Devices and networks that logged in before."""
        return DeviceRepository(self)

    @property
    def keys(self) -> ApiKeyRepository:
        """API keys."""
        return ApiKeyRepository(self)

    @property
    def reset_tokens(self) -> ResetTokenRepository:
        """Password reset tokens."""
        return ResetTokenRepository(self)

    @property
    def throttle(self) -> ThrottleRepository:
        """Failed log-ins, counted."""
        return ThrottleRepository(self)

    @property
    def idempotency(self) -> IdempotencyRepository:
        """Answers kept for repetition."""
        return IdempotencyRepository(self)

    @property
    def events(self) -> EventRepository:
        """The audit trail."""
        return EventRepository(self, self.audit_records)

    @property
    def cleanup(self) -> Cleanup:
        """Removal of what has expired."""
        return Cleanup(self)
