"""Classification of database errors by SQLSTATE.

Messages of PostgreSQL contain values ("Failing row contains …") and are never read. Violated constraints
(class 23) are mapped in `service.db.core.constraints`.
"""

import asyncpg
from sqlalchemy import exc as sa

from service.domain.errors import DatabaseUnavailable, OutcomeUnknown, RollcallError, SchemaBehind
from service.observability.exception_report import summarize

_UNAVAILABLE_CLASSES = ("08", "28", "53", "58")
"""Connection, authorization (only when connecting), resources, I/O of the server's system."""
_READ_ONLY = "25006"
_UNAVAILABLE = frozenset({
    _READ_ONLY,  # read-only: a standby, or a primary that is being handed over
    "25P03",  # idle in a transaction for too long
    "25P04",  # transaction_timeout
    "3D000",  # the database does not exist (yet)
    "40001",  # serialization failure after all retries
    "40003",  # completion unknown
    "40P01",  # deadlock after all retries
    "55P03",  # lock_timeout
    "57014",  # statement_timeout
    "57P01",  # administrator's shutdown
    "57P02",  # crash of another backend
    "57P03",  # starting up or shutting down
    "57P04",  # the database was dropped
    "57P05",  # idle_session_timeout
})  # fmt: skip
_SCHEMA_BEHIND = frozenset({"42703", "42P01"})
"""A column or a table is missing: it belongs to a newer revision."""
_ENDS_THE_SESSION = frozenset({"25P03", "25P04", "57P01", "57P02", "57P04", "57P05"})
_UNCERTAIN = frozenset({"40003"}) | _ENDS_THE_SESSION
_CONFLICTS = frozenset({"40001", "40P01"})
_STALE = (asyncpg.InvalidCachedStatementError, asyncpg.OutdatedSchemaCacheError)


def translate(exc: BaseException, *, committing: bool = False) -> RollcallError | None:
    """Return the domain error for an outage, `exc` itself if it is a domain error, or None for anything else.

    With `committing`, COMMIT was sent: the result is `OutcomeUnknown` unless the server rejected it.
    """
    if isinstance(exc, RollcallError):
        return exc
    if sqlstate_of(exc) in _SCHEMA_BEHIND:
        return SchemaBehind()
    if not _is_outage(exc):
        return None
    if committing and not _is_rejected(exc):
        return OutcomeUnknown()
    return DatabaseUnavailable()


def is_retryable(exc: BaseException) -> bool:
    """Return whether a transaction or a read may succeed if it is run again at once.

    Do not use it after COMMIT was sent: a lost connection then says nothing about the outcome.
    """
    return sqlstate_of(exc) in _CONFLICTS or isinstance(_driver_error(exc), _STALE) or is_disconnect(exc)


def is_disconnect(exc: BaseException) -> bool:
    """Return whether the connection was lost. A failure to connect does not count."""
    if isinstance(exc, sa.DBAPIError) and exc.connection_invalidated:
        return True
    error = _driver_error(exc)
    if isinstance(error, ConnectionRefusedError):
        return False
    state = sqlstate_of(error) or ""
    return isinstance(error, ConnectionError) or state in _ENDS_THE_SESSION or _is_broken(error)


def must_discard(exc: BaseException) -> bool:
    """Return whether to close the connection: lost, timed out, interrupted, or to a read-only server.

    The next one is opened to the host that is the primary by then.
    """
    if not isinstance(exc, Exception) or isinstance(_driver_error(exc), OSError):
        return True
    return sqlstate_of(exc) == _READ_ONLY or is_disconnect(exc)


def must_invalidate_pool(exc: BaseException) -> bool:
    """Return whether the pool's other connections are likely to fail alike: lost, timed out, stale plans."""
    error = _driver_error(exc)
    return isinstance(error, (OSError, *_STALE)) or is_disconnect(exc)


def sqlstate_of(exc: BaseException) -> str | None:
    """Return the SQLSTATE that PostgreSQL, or asyncpg, gave the error."""
    return getattr(_driver_error(exc), "sqlstate", None)


def constraint_of(exc: BaseException) -> str | None:
    """Return the name of the violated constraint."""
    return getattr(_driver_error(exc), "constraint_name", None)


def describe(exc: BaseException) -> dict[str, str]:
    """Return what may be logged of a database failure, as the driver raised it."""
    return summarize(_driver_error(exc))


def _driver_error(exc: BaseException) -> BaseException:
    """Return the error of asyncpg inside SQLAlchemy's two wrappers."""
    if isinstance(exc, sa.DBAPIError) and exc.orig is not None:
        return exc.orig.__cause__ or exc.orig
    return exc


def _is_outage(exc: BaseException) -> bool:
    # TimeoutError and ConnectionRefusedError are OSErrors too.
    if isinstance(exc, (sa.TimeoutError, OSError)) or is_disconnect(exc):
        return True
    error = _driver_error(exc)
    if isinstance(error, (OSError, asyncpg.TargetServerAttributeNotMatched, *_STALE)):
        return True
    state = sqlstate_of(error) or ""
    return state in _UNAVAILABLE or state.startswith(_UNAVAILABLE_CLASSES)


def _is_rejected(exc: BaseException) -> bool:
    """Return whether the server rejected the statement and kept the connection: nothing was committed."""
    state = sqlstate_of(exc)
    return state is not None and state not in _UNCERTAIN and not is_disconnect(exc)


def _is_broken(error: BaseException) -> bool:
    if isinstance(error, asyncpg.PostgresConnectionError):
        return not isinstance(error, (asyncpg.ClientCannotConnectError, asyncpg.ConnectionRejectionError))
    if isinstance(error, asyncpg.InternalClientError):
        return not isinstance(
            error, (asyncpg.OutdatedSchemaCacheError, asyncpg.TargetServerAttributeNotMatched)
        )
    return isinstance(error, asyncpg.InterfaceError) and "connection is closed" in str(error)
