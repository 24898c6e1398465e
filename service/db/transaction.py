"""One database transaction with the repositories that work in it."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

from sqlalchemy import Executable, select
from sqlalchemy.ext.asyncio import AsyncConnection

from service.db.repositories.base import AnyResult, AnyRow
from service.db.repositories.events import EventRepository
from service.db.repositories.housekeeping import Housekeeping
from service.db.repositories.idempotency import IdempotencyRepository
from service.db.repositories.keys import ApiKeyRepository
from service.db.repositories.reset_tokens import ResetTokenRepository
from service.db.repositories.sessions import DeviceRepository, SessionRepository
from service.db.repositories.throttle import ThrottleRepository
from service.db.repositories.users import UserRepository

_PING = select(1)


class Tx:
    """The repositories of one open transaction. Only `service.db.unit_of_work` opens and commits one."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection
        self.statements = 0
        """How many statements have succeeded: after the first, a lost connection is no longer a stale one."""
        self.told: list[dict[str, str]] = []
        """What the audit trail tells of this transaction, to be logged once it is committed."""
        self.has_failed = False
        """Whether a statement failed: then nothing of the transaction can be committed any more."""

    async def execute(self, statement: Executable, values: Mapping[str, Any] | None = None) -> AnyResult:
        """Run one statement."""
        try:
            result = await self._connection.execute(statement, values)
        except BaseException:
            self.has_failed = True
            raise
        self.statements += 1
        return result

    async def ping(self) -> None:
        """Ask the database for an answer."""
        await self.execute(_PING)

    async def one(self, statement: Executable, values: Mapping[str, Any] | None = None) -> AnyRow | None:
        """Run one statement and give its first row, or None."""
        return (await self.execute(statement, values)).first()

    async def all(self, statement: Executable, values: Mapping[str, Any] | None = None) -> Sequence[AnyRow]:
        """Run one statement and give all its rows."""
        return (await self.execute(statement, values)).all()

    async def count(self, statement: Executable, values: Mapping[str, Any] | None = None) -> int:
        """Run one statement and give the number of rows it changed."""
        return (await self.execute(statement, values)).rowcount

    @cached_property
    def users(self) -> UserRepository:
        """Accounts."""
        return UserRepository(self)

    @cached_property
    def sessions(self) -> SessionRepository:
        """Log-in sessions."""
        return SessionRepository(self)

    @cached_property
    def devices(self) -> DeviceRepository:
        """Devices and networks that logged in before."""
        return DeviceRepository(self)

    @cached_property
    def keys(self) -> ApiKeyRepository:
        """API keys."""
        return ApiKeyRepository(self)

    @cached_property
    def reset_tokens(self) -> ResetTokenRepository:
        """Password reset tokens."""
        return ResetTokenRepository(self)

    @cached_property
    def throttle(self) -> ThrottleRepository:
        """Failed log-ins, counted."""
        return ThrottleRepository(self)

    @cached_property
    def idempotency(self) -> IdempotencyRepository:
        """Answers kept for repetition."""
        return IdempotencyRepository(self)

    @cached_property
    def events(self) -> EventRepository:
        """The audit trail."""
        return EventRepository(self, self.told)

    @cached_property
    def housekeeping(self) -> Housekeeping:
        """Removal of what has expired."""
        return Housekeeping(self)
