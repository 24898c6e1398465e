"""The engine: every limit that keeps a request from waiting for ever is set here."""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any
from urllib.parse import parse_qsl, urlencode

import asyncpg
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

_URL = "postgresql+asyncpg://"


class Record(asyncpg.Record):
    """A row as the driver gives it: by position, by name and, unless a method has it, by attribute."""

    __slots__ = ()

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(f"the row has no column {name}") from None


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
        asyncpg.connect,
        dsn,
        timeout=float(given.pop("connect_timeout", 0)) or connect_timeout,
        command_timeout=command_timeout,
        statement_cache_size=0 if pgbouncer else 100,
        record_class=Record,
        server_settings=server_settings | given,
    )
    return _pooled(connect, pgbouncer, pool_size=pool_size, pool_timeout=pool_timeout, pool_recycle=recycle)


def _split(dsn: str) -> tuple[str, dict[str, str]]:
    """The DSN as asyncpg reads it, and the parameters that would otherwise lose against our arguments."""
    address, _, query = dsn.partition("?")
    scheme, separator, rest = address.partition("://")
    address = scheme.removesuffix("+asyncpg") + separator + rest
    parameters = {name: value for name, value in parse_qsl(query) if name not in _LIBPQ_ONLY}
    given = {name: parameters.pop(name) for name in _OURS & parameters.keys()}
    return (f"{address}?{urlencode(parameters)}" if parameters else address), given


def _pooled(
    connect: Callable[[], Awaitable["asyncpg.Connection[Record]"]], pgbouncer: bool, **pool: float
) -> AsyncEngine:
    def creator() -> DBAPIConnection:
        dbapi: Any = engine.dialect.dbapi
        connection: DBAPIConnection = dbapi.connect(async_creator_fn=connect, **_statements(pgbouncer))
        return connection

    engine = create_async_engine(
        _URL, creator=creator, max_overflow=0, pool_use_lifo=True, hide_parameters=True, **pool
    )
    return engine


def _statements(pgbouncer: bool) -> dict[str, Any]:
    """Behind a pooler only the unnamed statement is safe: the next transaction may run on another server."""
    if not pgbouncer:
        return {}
    return {"prepared_statement_cache_size": 0, "prepared_statement_name_func": lambda: ""}


def _milliseconds(seconds: float) -> str:
    return str(round(seconds * 1000))
