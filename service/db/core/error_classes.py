"""What a failure of the database means: told by its sqlstate, never by its message.

A message of PostgreSQL repeats values ("Failing row contains …"), so none is read for logs or answers here.
Refusals by a constraint (class 23) are `service.db.core.constraints`' business.
"""

import asyncpg
from sqlalchemy import exc as sa

from service.domain.errors import DatabaseUnavailable, OutcomeUnknown, RollcallError, SchemaBehind

_UNAVAILABLE_CLASSES = ("08", "28", "53", "58")
"""Connection, authorization (only ever at connect), resources, input and output of the server's system."""
_READ_ONLY = "25006"
_UNAVAILABLE = frozenset({
    _READ_ONLY,  # read-only: a standby, or a primary that is being handed over
    "25P03",  # idle in a transaction for too long
    "25P04",  # transaction_timeout
    "3D000",  # the database does not exist (yet)
    "40001",  # serialization failure, retried in vain
    "40003",  # completion unknown
    "40P01",  # deadlock, retried in vain
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
    """The error to answer with, or None when `exc` is a bug or a constraint's refusal.

    `committing` says that COMMIT was sent: a failure that does not prove that it was refused is then
    `OutcomeUnknown`.
    """
    if isinstance(exc, RollcallError):
        return exc
    if sqlstate_of(exc) in _SCHEMA_BEHIND:
        return SchemaBehind()
    if not _is_outage(exc):
        return None
    if committing and not _is_refused(exc):
        return OutcomeUnknown()
    return DatabaseUnavailable()


def is_retryable(exc: BaseException) -> bool:
    """Whether a whole unit of work, or a single read, may succeed when it is run again at once.

    Never ask once COMMIT was sent: a lost connection then says nothing about the outcome.
    """
    return sqlstate_of(exc) in _CONFLICTS or isinstance(_driver_error(exc), _STALE) or is_disconnect(exc)


def is_disconnect(exc: BaseException) -> bool:
    """Whether the connection that was in use is gone. A connection that was never made does not count."""
    if isinstance(exc, sa.DBAPIError) and exc.connection_invalidated:
        return True
    error = _driver_error(exc)
    if isinstance(error, ConnectionRefusedError):
        return False
    state = sqlstate_of(error) or ""
    return isinstance(error, ConnectionError) or state in _ENDS_THE_SESSION or _is_broken(error)


def must_discard(exc: BaseException) -> bool:
    """Whether a connection is not to be used again: lost, silent, interrupted, or to a read-only server.

    The next one is opened to whichever host is the primary by then.
    """
    if not isinstance(exc, Exception) or isinstance(_driver_error(exc), OSError):
        return True
    return sqlstate_of(exc) == _READ_ONLY or is_disconnect(exc)


def must_invalidate_pool(exc: BaseException) -> bool:
    """Whether the other connections of the pool are no better: lost, silent, or with plans made old.

    Each would otherwise cost somebody the same failure.
    """
    error = _driver_error(exc)
    return isinstance(error, (OSError, *_STALE)) or is_disconnect(exc)


def sqlstate_of(exc: BaseException) -> str | None:
    """The five characters PostgreSQL, or asyncpg on its behalf, gave the failure."""
    return getattr(_driver_error(exc), "sqlstate", None)


def constraint_of(exc: BaseException) -> str | None:
    """The name of the constraint that was violated."""
    return getattr(_driver_error(exc), "constraint_name", None)


def describe(exc: BaseException) -> dict[str, str]:
    """What may be logged of a failure: type, sqlstate, constraint and table, as far as known.

    Source: OWASP ASVS 5.0 16.2.5 (no sensitive values in logs): the message and its detail stay out.
    """
    error = _driver_error(exc)
    known = {
        "type": type(error).__name__,
        "sqlstate": sqlstate_of(error),
        "constraint": constraint_of(error),
        "table": getattr(error, "table_name", None),
    }
    return {name: value for name, value in known.items() if value}


def _driver_error(exc: BaseException) -> BaseException:
    """What asyncpg raised, from under SQLAlchemy's two wrappers."""
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


def _is_refused(exc: BaseException) -> bool:
    """Whether the server itself said no and stayed: then nothing was committed."""
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
