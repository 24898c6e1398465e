"""The entry to transactions."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

from sqlalchemy.ext.asyncio import AsyncEngine

from service.db.core.unit_of_work import UnitOfWork, ignore_action
from service.db.transaction import Tx

ResultT = TypeVar("ResultT")


class Database:
    """Open transactions on one engine. Stateless: one instance serves every request."""

    def __init__(self, engine: AsyncEngine, *, on_audit: Callable[[str], None] = ignore_action) -> None:
        self._engine = engine
        self._on_audit = on_audit

    def transaction(self) -> UnitOfWork:
        """Return one transaction as an async context manager."""
        return UnitOfWork(self._engine, count=self._on_audit)

    async def run(self, work: Callable[[Tx], Awaitable[ResultT]]) -> ResultT:
        """Run work in a transaction, and repeat it where that is safe."""
        return await self.transaction().run(work)
