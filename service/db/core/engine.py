"""The engine: every limit that keeps a request from waiting for ever is set here."""

from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias, cast
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

import asyncpg
from sqlalchemy import event
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import DisconnectionError, InvalidatePoolError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import QueuePool

from service.observability.stats import PoolStats

_URL = "postgresql+asyncpg://"
_PORT = 5432
_TRUST = "rollcall_trust"
_CLOSE_TIMEOUT_S = 0.25
_SHORTEST_TRY_S = 1.0


class Record(asyncpg.Record):
    """A row as the driver gives it: by position, by name and, unless a method has it, by attribute."""

    __slots__ = ()

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(f"the row has no column {name}") from None


if TYPE_CHECKING:
    _Driver: TypeAlias = asyncpg.Connection[Record]
else:
    _Driver = asyncpg.Connection  # a generic in its stubs alone


class _Connection(_Driver):
    """A connection that is given up quickly once it is to be given up."""

    async def close(self, *, timeout: float | None = None) -> None:  # noqa: ASYNC109 - the driver's
        """Close; with a timeout, which only SQLAlchemy's giving up has, within a fraction of a second.

        A healthy server needs a millisecond to end what it does for us, and with it the locks. One that is
        frozen would cost a request that has used up its time two seconds more.
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
"""What libpq tunes for itself: asyncpg would send it to the server, which refuses the connection."""

_OURS = frozenset({
    "application_name",
    "connect_timeout",
    "idle_in_transaction_session_timeout",
    "jit",
    "lock_timeout",
    "statement_timeout",
})  # fmt: skip
"""What a DSN may say in place of our arguments."""


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
    """An engine of at most `pool_size` connections that opens none before the first is asked for.

    All times are seconds. `dsn` is any libpq connection URI: several hosts, `sslmode`, `target_session_attrs`
    and socket directories work, and a server setting named in it wins over the argument of the same meaning.
    `pgbouncer` says that a transaction pooler stands in front: nothing is then left on a connection between
    transactions, and the server's own timeouts have to be set with `ALTER ROLE … SET`.

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
    """Tell how the connections of an engine are used."""
    pool = cast(QueuePool, engine.pool)
    return PoolStats(name, used=pool.checkedout(), idle=pool.checkedin(), limit=pool.size())


def invalidate_pool(engine: AsyncEngine) -> None:
    """Have every connection that is open now replaced before it is taken the next time."""
    trust: _Trust = engine.get_execution_options()[_TRUST]
    trust.is_lost = True


def _split(dsn: str) -> tuple[str, dict[str, str]]:
    """The DSN as asyncpg reads it, and the parameters that would otherwise lose against our arguments."""
    address, _, query = dsn.partition("?")
    scheme, separator, rest = address.partition("://")
    address = scheme.removesuffix("+asyncpg") + separator + rest
    parameters = {name: value for name, value in parse_qsl(query) if name not in _LIBPQ_ONLY}
    given = {name: parameters.pop(name) for name in _OURS & parameters.keys()}
    return (f"{address}?{urlencode(parameters)}" if parameters else address), given


async def _connect(dsn: str, *, timeout: float, **options: Any) -> _Driver:  # noqa: ASYNC109 - the driver's
    """Connect to the first host that will do; none may use up the time of those after it."""
    connect = partial(asyncpg.connect, dsn, **options)
    connection: _Driver
    hosts = _hosts_in(dsn)
    if len(hosts) < 2 or "prefer-standby" in dsn:
        connection = await connect(timeout=timeout)
        return connection
    share = max(timeout / len(hosts), _SHORTEST_TRY_S)
    for host, port in hosts[:-1]:
        with suppress(OSError, asyncpg.PostgresError, asyncpg.TargetServerAttributeNotMatched):
            connection = await connect(host=host, port=port, timeout=share)
            return connection
    host, port = hosts[-1]
    connection = await connect(host=host, port=port, timeout=share)
    return connection


def _hosts_in(dsn: str) -> list[tuple[str, int]]:
    """The hosts of a DSN in their order, as far as it names more than one."""
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


def _pooled(connect: Callable[[], Awaitable[_Driver]], pgbouncer: bool, **pool: float) -> AsyncEngine:
    def creator() -> DBAPIConnection:
        dbapi: Any = engine.dialect.dbapi
        connection: DBAPIConnection = dbapi.connect(async_creator_fn=connect, **_statements(pgbouncer))
        return connection

    trust = _Trust()
    engine = create_async_engine(
        _URL, creator=creator, max_overflow=0, pool_use_lifo=True, hide_parameters=True,
        execution_options={_TRUST: trust}, **pool,
    )  # fmt: skip
    event.listen(engine.sync_engine, "checkout", trust.check)
    event.listen(engine.sync_engine, "handle_error", _distrust_after_silence)
    return engine


class _Trust:
    """Whether the connections of a pool may be taken as they are; costs no round trip, unlike a ping."""

    def __init__(self) -> None:
        self.is_lost = False

    def check(self, dbapi_connection: DBAPIConnection, _record: object, _fairy: object) -> None:
        """Have the pool replace a connection that the server has closed, or all once trust is lost."""
        driver: Any = dbapi_connection
        if self.is_lost:
            self.is_lost = False
            raise InvalidatePoolError
        if driver.driver_connection.is_closed():
            raise DisconnectionError


def _distrust_after_silence(context: ExceptionContext) -> None:
    """Give up every pooled connection once one got no answer, or each would cost somebody that wait."""
    if isinstance(context.original_exception, TimeoutError):
        context.is_disconnect = True


def _statements(pgbouncer: bool) -> dict[str, Any]:
    """Behind a pooler only the unnamed statement is safe: the next transaction may run on another server."""
    if not pgbouncer:
        return {}
    return {"prepared_statement_cache_size": 0, "prepared_statement_name_func": lambda: ""}


def _milliseconds(seconds: float) -> str:
    return str(round(seconds * 1000))
