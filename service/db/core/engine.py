"""The engine, with a limit on every wait."""

from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import Any, cast
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

import asyncpg
from sqlalchemy import event
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import DisconnectionError, InvalidatePoolError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import QueuePool

from service.db.core.driver import Driver, Record
from service.observability.stats import PoolStats

_URL = "postgresql+asyncpg://"
_PORT = 5432
_INVALIDATOR = "rollcall_pool_invalidator"
_POOLER = "rollcall_pooler"
_CLOSE_TIMEOUT_S = 0.25
_MIN_CONNECT_TIMEOUT_S = 1.0


class _Connection(Driver):
    """A connection whose close does not wait long for the server."""

    async def close(self, *, timeout: float | None = None) -> None:  # noqa: ASYNC109 - the driver's
        """Close, within a quarter of a second if there is a timeout, as SQLAlchemy's invalidation has.

        A healthy server needs a millisecond to release the locks. A frozen one would cost a request, whose
        time is up already, two seconds more.
        """
        await super().close(timeout=None if timeout is None else min(timeout, _CLOSE_TIMEOUT_S))


_LIBPQ_ONLY = frozenset({
    "channel_binding",
    "fallback_application_name",
    "gssencmode",
    "keepalives",
    "keepalives_count",
    "keepalives_idle",
    "keepalives_interval",
    "sslcompression",
    "sslsni",
    "tcp_user_timeout",
})  # fmt: skip
"""Parameters of libpq itself: asyncpg would send them to the server, which rejects the connection."""

_OURS = frozenset({
    "application_name",
    "connect_timeout",
    "idle_in_transaction_session_timeout",
    "jit",
    "lock_timeout",
    "statement_timeout",
})  # fmt: skip
"""Parameters of a DSN that override our arguments."""


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
) -> AsyncEngine:
    """Return an engine with at most `pool_size` connections, each opened when first needed.

    All times are seconds. `dsn` is any libpq connection URI: several hosts, `sslmode`, `target_session_attrs`
    and socket directories work, and a server setting in it overrides the argument of the same meaning. With
    `pgbouncer`, a transaction pooler is in front: nothing stays on a connection between transactions, and the
    server's timeouts have to be set with `ALTER ROLE … SET`.

    Source: OWASP ASVS 5.0 13.1.2, 13.1.3 (limits and timeouts of every connection to another system).
    """
    dsn, given = _split(dsn)
    server_settings = {"application_name": application_name}
    if not pgbouncer:
        server_settings |= {
            "statement_timeout": _milliseconds(statement_timeout),
            "lock_timeout": _milliseconds(lock_timeout),
            "idle_in_transaction_session_timeout": _milliseconds(idle_in_transaction_timeout),
            "jit": "off",
        }
    connect = partial(
        _connect,
        dsn,
        timeout=float(given.pop("connect_timeout", 0)) or connect_timeout,
        connection_class=_Connection,
        command_timeout=command_timeout,
        statement_cache_size=0 if pgbouncer else 100,
        record_class=Record,
        server_settings=server_settings | given,
    )
    return _pooled(connect, pgbouncer, pool_size=pool_size, pool_timeout=pool_timeout, pool_recycle=recycle)


def pool_stats(engine: AsyncEngine, name: str) -> PoolStats:
    """Return the statistics of an engine's pool."""
    pool = cast(QueuePool, engine.pool)
    return PoolStats(name, used=pool.checkedout(), idle=pool.checkedin(), limit=pool.size())


def invalidate_pool(engine: AsyncEngine) -> None:
    """Replace every connection that is open now before its next use."""
    invalidator: _PoolInvalidator = engine.get_execution_options()[_INVALIDATOR]
    invalidator.is_due = True


def is_behind_pooler(engine: AsyncEngine) -> bool:
    """Return whether a transaction pooler stands in front, so that nothing stays on a connection."""
    return bool(engine.get_execution_options().get(_POOLER))


def _split(dsn: str) -> tuple[str, dict[str, str]]:
    """Return the DSN as asyncpg reads it, and the parameters that override our arguments."""
    address, _, query = dsn.partition("?")
    scheme, separator, rest = address.partition("://")
    address = scheme.removesuffix("+asyncpg") + separator + rest
    parameters = {name: value for name, value in parse_qsl(query) if name not in _LIBPQ_ONLY}
    given = {name: parameters.pop(name) for name in _OURS & parameters.keys()}
    return (f"{address}?{urlencode(parameters)}" if parameters else address), given


async def _connect(dsn: str, *, timeout: float, **options: Any) -> Driver:  # noqa: ASYNC109 - the driver's
    """Connect to the first suitable host; each gets an equal share of the timeout."""
    connect = partial(asyncpg.connect, dsn, **options)
    connection: Driver
    hosts = _hosts_in(dsn)
    if len(hosts) < 2 or "prefer-standby" in dsn:
        connection = await connect(timeout=timeout)
        return connection
    share = max(timeout / len(hosts), _MIN_CONNECT_TIMEOUT_S)
    for host, port in hosts[:-1]:
        with suppress(OSError, asyncpg.PostgresError, asyncpg.TargetServerAttributeNotMatched):
            connection = await connect(host=host, port=port, timeout=share)
            return connection
    host, port = hosts[-1]
    connection = await connect(host=host, port=port, timeout=share)
    return connection


def _hosts_in(dsn: str) -> list[tuple[str, int]]:
    """Return the hosts and ports of a DSN in order."""
    address, _, query = dsn.partition("?")
    parameters = dict(parse_qsl(query))
    netloc = urlsplit(address).netloc.rpartition("@")[2]
    if netloc:
        found = [_host_and_port(part) for part in netloc.split(",")]
    else:
        hosts, ports = (parameters.get(name, "").split(",") for name in ("host", "port"))
        found = list(zip(hosts, ports if len(ports) == len(hosts) else ports * len(hosts), strict=True))
    return [(unquote(host), int(port or _PORT)) for host, port in found if host]


def _host_and_port(part: str) -> tuple[str, str]:
    bracketed, bracket, rest = part.rpartition("]")
    if bracket:
        return bracketed.removeprefix("["), rest.removeprefix(":")
    host, _, port = part.partition(":")
    return host, port


def _pooled(connect: Callable[[], Awaitable[Driver]], pgbouncer: bool, **pool: float) -> AsyncEngine:
    def creator() -> DBAPIConnection:
        dbapi: Any = engine.dialect.dbapi
        connection: DBAPIConnection = dbapi.connect(async_creator_fn=connect, **_statement_options(pgbouncer))
        return connection

    invalidator = _PoolInvalidator()
    engine = create_async_engine(
        _URL, creator=creator, max_overflow=0, pool_use_lifo=True, hide_parameters=True,
        execution_options={_INVALIDATOR: invalidator, _POOLER: pgbouncer}, **pool,
    )  # fmt: skip
    event.listen(engine.sync_engine, "checkout", invalidator.check)
    event.listen(engine.sync_engine, "handle_error", _invalidate_after_timeout)
    return engine


class _PoolInvalidator:
    """Checks connections at checkout, without the round trip of a ping."""

    def __init__(self) -> None:
        self.is_due = False

    def check(self, dbapi_connection: DBAPIConnection, _record: object, _fairy: object) -> None:
        """Replace a connection that the server has closed, or all if the pool is to be invalidated."""
        driver: Any = dbapi_connection
        if self.is_due:
            self.is_due = False
            raise InvalidatePoolError
        if driver.driver_connection.is_closed():
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
