"""The transactions of a request."""

from collections.abc import Awaitable, Callable
from typing import Concatenate, NamedTuple, ParamSpec, TypeVar

from service.db.core.database import Database
from service.db.core.transaction import Transaction
from service.domain.callers import Caller

P = ParamSpec("P")
ResultT = TypeVar("ResultT")


class Writes(NamedTuple):
    """Run use cases for a caller, each in a transaction that checks the caller's authority again."""

    database: Database
    caller: Caller

    async def run(
        self,
        use_case: Callable[Concatenate[Transaction, P], Awaitable[ResultT]],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> ResultT:
        """Run `use_case(tx, *args, **kwargs)` and commit. Raises: what `Database.run` does."""
        return await self.database.run(lambda tx: use_case(tx, *args, **kwargs), caller=self.caller)
