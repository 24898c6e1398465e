"""The engine, with a limit on every wait."""

import json
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, cast

from sqlalchemy import event
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import DisconnectionError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import ConnectionPoolEntry, QueuePool

from service.db.core.connecting import Target, connect
from service.db.core.driver import Driver, Record
from service.observability.stats import PoolStats

_URL = "postgresql+asyncpg://"
_INVALIDATOR = "rollcall_pool_invalidator"
_GENERATION = "rollcall_generation"
_POOLER = "rollcall_pooler"
_CLOSE_TIMEOUT_S = 0.25


class _Connection(Driver):
    """A connection whose close does not wait long for the server."""

    async def close(self, *, timeout: float | None = None) -> None:  # noqa: ASYNC109 - the driver's
        """Close, within a quarter of a second if there is a timeout, as SQLAlchemy's invalidation has.

        A healthy server needs a millisecond to release the locks. A frozen one would cost a request, whose
        time is up already, two seconds more.
        """
        await super().close(timeout=None if timeout is None else min(timeout, _CLOSE_TIMEOUT_S))


def create_engine(
    dsn: str,
    *,
    pool_size: int = 10,
    pool_timeout: float = 2.0,
    connect_timeout: float = 3.0,
    command_timeout: float = 5.0,
    statement_timeout: float = 4.0,
    lock_timeout: float = 2.0,
    idle_in_transaction_timeout: float = 10.0,
    recycle: float = 1800.0,
    application_name: str = "rollcall",
    pgbouncer: bool = False,
    json_deserializer: Callable[[str], Any] = json.loads,
) -> AsyncEngine:
    """Return an engine with at most `pool_size` connections, each opened when first needed.

    All times are seconds. `dsn` is any libpq connection URI; what it sets overrides the argument of the same
    meaning. With `pgbouncer`, a transaction pooler is in front: nothing stays on a connection between
    transactions, and the role has to bring the settings.
    Source: OWASP ASVS 5.0 13.1.2, 13.1.3 (limits and timeouts of every connection to another system).
    """
    target, defaults = Target.of(dsn), {"application_name": application_name}
    if not pgbouncer:
        defaults |= {
            "statement_timeout": _milliseconds(statement_timeout),
            "lock_timeout": _milliseconds(lock_timeout),
            "idle_in_transaction_session_timeout": _milliseconds(idle_in_transaction_timeout),
            # A connection keeps its plans. One that was made while tables were small would read all of them.
            **dict.fromkeys(("jit", "enable_seqscan", "enable_hashjoin", "enable_mergejoin"), "off"),
        }
    creator = partial(
        connect,
        target,
        timeout=target.connect_timeout or connect_timeout,
        connection_class=_Connection,
        command_timeout=command_timeout,
        statement_cache_size=0 if pgbouncer else 100,
        record_class=Record,
        server_settings=target.server_settings_with(defaults),
    )
    return _pooled(
        creator, pgbouncer, pool_size=pool_size, pool_timeout=pool_timeout, pool_recycle=recycle,
        json_deserializer=json_deserializer,
    )  # fmt: skip


def pool_stats(engine: AsyncEngine, name: str) -> PoolStats:
    """Return the statistics of an engine's pool."""
    pool = cast(QueuePool, engine.pool)
    return PoolStats(name, used=pool.checkedout(), idle=pool.checkedin(), limit=pool.size())


def invalidate_pool(engine: AsyncEngine) -> None:
    """Replace every connection that is open now before its next use."""
    invalidator: _PoolInvalidator = engine.get_execution_options()[_INVALIDATOR]
    invalidator.generation += 1


def is_behind_pooler(engine: AsyncEngine) -> bool:
    """Return whether a transaction pooler stands in front, so that nothing stays on a connection."""
    return bool(engine.get_execution_options().get(_POOLER))


def _pooled(connect: Callable[[], Awaitable[Driver]], pgbouncer: bool, **options: Any) -> AsyncEngine:
    def creator() -> DBAPIConnection:
        dbapi: Any = engine.dialect.dbapi
        connection: DBAPIConnection = dbapi.connect(async_creator_fn=connect, **_statement_options(pgbouncer))
        return connection

    invalidator = _PoolInvalidator()
    engine = create_async_engine(
        _URL, creator=creator, max_overflow=0, pool_use_lifo=True, hide_parameters=True,
        execution_options={_INVALIDATOR: invalidator, _POOLER: pgbouncer}, **options,
    )  # fmt: skip
    event.listen(engine.sync_engine, "connect", invalidator.mark)
    event.listen(engine.sync_engine, "checkout", invalidator.check)
    event.listen(engine.sync_engine, "handle_error", _invalidate_after_timeout)
    return engine


class _PoolInvalidator:
    """Checks connections at checkout, without the round trip of a ping.

    A connection of an earlier generation is replaced. One that has just been opened never is: SQLAlchemy
    tries twice, and then raises `InvalidRequestError`.
    """

    def __init__(self) -> None:
        self.generation = 0

    def mark(self, _dbapi_connection: DBAPIConnection, record: ConnectionPoolEntry) -> None:
        """Record the generation of a new connection."""
        record.info[_GENERATION] = self.generation

    def check(self, dbapi_connection: DBAPIConnection, record: ConnectionPoolEntry, _fairy: object) -> None:
        """Replace a connection that the server has closed, or that was open when the pool was invalidated."""
        driver: Any = dbapi_connection
        if record.info[_GENERATION] != self.generation or driver.driver_connection.is_closed():
            raise DisconnectionError


def _invalidate_after_timeout(context: ExceptionContext) -> None:
    """Replace every pooled connection after a timeout: each would cost a request the same wait."""
    if isinstance(context.original_exception, TimeoutError):
        context.is_disconnect = True


def _statement_options(pgbouncer: bool) -> dict[str, Any]:
    """Prepare unnamed statements behind a pooler, as the next transaction may run on another connection."""
    if not pgbouncer:
        return {}
    return {"prepared_statement_cache_size": 0, "prepared_statement_name_func": lambda: ""}


def _milliseconds(seconds: float) -> str:
    return str(round(seconds * 1000))
