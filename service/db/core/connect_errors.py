"""Word each failure to connect for the operator: what is wrong, and what to set.

Messages of servers and drivers may quote values, so only names are taken from them: of parameters, files and
certificates, and the messages of class 42, which hold no values.
"""

import errno
import re
import ssl
from collections.abc import Callable
from socket import gaierror
from typing import Any, Final

import asyncpg
from sqlalchemy import exc as sa

from service.db.core.server import OLDEST_VERSION
from service.observability.exception_report import chain_of

URL: Final = "DATABASE_URL"

_PARAMETER: Final = re.compile(r'parameter "([A-Za-z_][A-Za-z0-9_.]*)"|startup parameter[^:]*: ([A-Za-z_.]+)')
_ROOT_CERTIFICATE: Final = re.compile(r'root certificate file "([^"]*)"')
_ERRNO: Final = re.compile(r"\[Errno (\d+)\]")
SERVER_SETTINGS: Final = frozenset({
    "enable_hashjoin", "enable_mergejoin", "enable_seqscan", "idle_in_transaction_session_timeout", "jit",
    "lock_timeout", "statement_timeout",
})  # fmt: skip
"""Those that we set, and that a pooler in transaction mode does not take."""

_SET_PGBOUNCER: Final = "set ROLLCALL_DATABASE__PGBOUNCER=true."
_TOO_OLD: Final = (
    f"The server is too old, or a pooler that lacks a feature: use PostgreSQL {OLDEST_VERSION} or newer."
)
_POOLER: Final = f"A pooler in transaction mode is in between: {_SET_PGBOUNCER}"
_ENCODING: Final = "The database's encoding cannot hold every text: create it again with ENCODING 'UTF8'."
_LOST: Final = "The server closed the connection: its log, or that of a pooler, says why."
_NO_WRITES: Final = "The server accepts no writes: point {url} at the primary."
_NO_ROOM: Final = "The server has no connection left: raise max_connections, or lower the pool size."
_TRANSIENT: Final = "The server is starting, stopping or in recovery: try again."
_NO_ANSWER: Final = "No answer in time: check host, port and what lies between."
_NO_MATCH: Final = "No host of {url} is what target_session_attrs asks for: is the primary up?"
_NOTHING_LISTENS: Final = "Nothing listens there: start PostgreSQL, or check host and port in {url}."

_BY_SQLSTATE: Final = {
    "0A000": _TOO_OLD,
    "22021": _ENCODING,
    "22P05": _ENCODING,
    "25006": _NO_WRITES,
    "26000": _POOLER,
    "28000": "The server does not let this role in: check pg_hba.conf, and role and sslmode in {url}.",
    "28P01": "The password is wrong: check {url}.",
    "3D000": "There is no such database: create it, or check {url}.",
    "42P05": _POOLER,
    "53300": _NO_ROOM,
    "55000": "The server accepts no connections to this database now: try again, or check {url}.",
    "57P01": _TRANSIENT,
    "57P02": _TRANSIENT,
    "57P03": _TRANSIENT,
}  # fmt: skip
_BY_PHRASE: Final = (
    ("no such user", "The pooler does not know this role: check {url}, and the pooler's list of users."),
    ("login fail", "The pooler cannot log in to the server: check the role in {url}, and the pooler's log."),
    ("no such database", _BY_SQLSTATE["3D000"]),
    ("no more connections", _NO_ROOM),
    ("timeout", _NO_ANSWER),
)
"""What PgBouncer's messages with SQLSTATE 08P01 mean."""
_NAMES_A_PARAMETER: Final = frozenset({"08P01", "22023", "42501", "42602", "42704", "55P02"})


DATABASE_ERRORS: Final = (
    sa.SQLAlchemyError,
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    OSError,
)
"""What connecting and running statements raise; `explain` is None for an `OSError` of something else."""


class CannotConnect(OSError):
    """The driver or the server did not take the connection as it was asked for; the cause is why."""


class TlsFileUnusable(CannotConnect):
    """A TLS file that the URL names cannot be read."""

    def __init__(self, parameter: str, path: str, reason: str) -> None:
        super().__init__(f"{parameter}: {path}: {reason}")
        self.parameter, self.path, self.reason = parameter, path, reason


def explain(error: BaseException, url: str = URL) -> str | None:
    """Return why the database cannot be used and what to do, or None if the error is not the database's.

    `url` is the variable to correct. The sentence never holds a value of the URL or of a row.
    """
    for link in chain_of(error):
        if (sentence := _sentence_of(link)) is not None:
            return sentence.replace("{url}", url)
    if not isinstance(error, CannotConnect):
        return None
    if isinstance(error.__cause__, KeyError):  # of getpwuid()
        return f"The user of this process has no name: write the role into {url}."
    return f"The driver gave up: check the parameters of {url}."


def _sentence_of(error: BaseException) -> str | None:
    for kind, word in _BY_TYPE:
        if isinstance(error, kind):
            return word if isinstance(word, str) else word(error)
    return None


def _of_server(error: BaseException) -> str | None:
    """Word an error that has a SQLSTATE."""
    state: str = getattr(error, "sqlstate", None) or ""
    parameter = _parameter_in(error) if state in _NAMES_A_PARAMETER else None
    if state == "08P01":
        return _of_pooler(str(error), parameter)
    if parameter is not None:
        return f"The server does not take the parameter {parameter}: correct it in {{url}}, or leave it out."
    if state in _BY_SQLSTATE:
        return _BY_SQLSTATE[state]
    if state.startswith("08"):
        return _LOST
    if state.startswith("42"):
        return f"The database refused (SQLSTATE {state}): {_message_of(error)}."
    return f"The database refused (SQLSTATE {state})." if state else None


def _of_pooler(message: str, parameter: str | None) -> str:
    """Word a violation of the protocol, which is how PgBouncer says nearly everything."""
    if parameter is None:
        for phrase, sentence in _BY_PHRASE:
            if phrase in message:
                return sentence
        return f"The server does not follow the protocol. If it is a pooler: {_SET_PGBOUNCER}"
    if parameter in SERVER_SETTINGS:
        return _POOLER
    return (
        f"The pooler does not take the parameter {parameter}: leave it out of {{url}}, or add it to the "
        "pooler's ignore_startup_parameters."
    )


def _parameter_in(error: BaseException) -> str | None:
    found = _PARAMETER.search(str(error))
    return (found[1] or found[2]) if found else None


def _message_of(error: BaseException) -> str:
    return str(error).partition("\n")[0].rstrip(".")


def _of_tls_file(error: Any) -> str:
    return f"The file {error.path} of {error.parameter} cannot be read ({error.reason}): correct {{url}}."


def _of_configuration(error: BaseException) -> str | None:
    found = _ROOT_CERTIFICATE.search(str(error))
    if found is None:
        return "The driver does not take a parameter of {url}: compare it with docs/settings.md."
    return (
        f"The root certificate {found[1]} is missing: name the file of the server's authority with "
        "sslrootcert=… in {url}, or use sslrootcert=system for the authorities of this machine."
    )


def _of_interface(error: BaseException) -> str | None:
    text = str(error)
    if "authentication method" in text or "authentication mechanism" in text:
        return (
            "The server asks for an authentication that the driver lacks: use scram-sha-256 in pg_hba.conf."
        )
    return _LOST if "connection is closed" in text or "connection was closed" in text else None


def _of_certificate(error: BaseException) -> str:
    reason = getattr(error, "verify_message", "") or "not trusted"
    return f"The server's certificate was refused ({reason}): check sslrootcert and the host name in {{url}}."


def _of_tls(error: BaseException) -> str:
    reason = str(getattr(error, "reason", None) or "unknown").replace("_", " ").lower()
    return f"TLS failed ({reason}): check sslrootcert, sslcert and sslkey in {{url}}."


def _of_lost_connection(error: BaseException) -> str:
    if "rejected SSL upgrade" in str(error):
        return (
            "The server does not offer TLS: set ssl = on there, or sslmode=disable in {url} "
            "if the network is trusted."
        )
    return _LOST


def _of_system(error: Any) -> str | None:
    """Word an error of the system; one with a file name is not of a connection."""
    if error.filename is not None:
        is_tls = "/.postgresql/" in str(error.filename)
        return f"The file {error.filename} cannot be read ({error.strerror})." if is_tls else None
    numbers = {int(number) for number in _ERRNO.findall(str(error))}  # one of each address of the host
    if numbers and numbers <= {errno.ECONNREFUSED, errno.ENOENT}:
        return _NOTHING_LISTENS
    if errno.EACCES in numbers:
        return "This user may not use the socket: check its permissions, and host in {url}."
    return "The host cannot be reached: check its name, the network and the firewall." if numbers else None


_BY_TYPE: Final[tuple[tuple[type[BaseException], str | Callable[[Any], str | None]], ...]] = (
    (TlsFileUnusable, _of_tls_file),
    (asyncpg.PostgresError, _of_server),
    (asyncpg.ClientConfigurationError, _of_configuration),
    (asyncpg.TargetServerAttributeNotMatched, _NO_MATCH),
    (asyncpg.InterfaceError, _of_interface),
    (ssl.SSLCertVerificationError, _of_certificate),
    (ssl.SSLError, _of_tls),
    (TimeoutError, _NO_ANSWER),
    (sa.TimeoutError, _NO_ANSWER),
    (gaierror, "The host's name is not known here: check it in {url}."),
    (ConnectionRefusedError, _NOTHING_LISTENS),
    (ConnectionError, _of_lost_connection),
    (OSError, _of_system),
)
