"""Open a connection to the server that a DSN names: hosts, TLS and settings as libpq takes them."""

import os
import re
import ssl
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final, Self
from urllib.parse import parse_qsl, quote, unquote, urlencode

import asyncpg

from service.db.core.connect_errors import SERVER_SETTINGS, CannotConnect, TlsFileUnusable
from service.db.core.driver import Driver
from service.db.core.error_classes import translate

_PORT: Final = 5432
_MIN_CONNECT_TIMEOUT_S: Final = 1.0
_OPTION: Final = re.compile(r"(?:-c\s*|--)([A-Za-z_.]+)\s*=")

_LIBPQ_ONLY: Final = frozenset({
    "channel_binding", "fallback_application_name", "gssencmode", "keepalives", "keepalives_count",
    "keepalives_idle", "keepalives_interval", "sslcompression", "sslsni", "tcp_user_timeout",
})  # fmt: skip
"""Parameters of libpq itself: asyncpg would send them to the server, which rejects the connection."""

_OURS: Final = SERVER_SETTINGS | {"application_name"}
"""What we set, too: the values of a DSN override ours."""

_VARIABLES: Final = {
    "host": "PGHOST",
    "port": "PGPORT",
    "dbname": "PGDATABASE",
    "user": "PGUSER",
    "password": "PGPASSWORD",
    "passfile": "PGPASSFILE",
    "options": "PGOPTIONS",
    "sslmode": "PGSSLMODE",
    "sslrootcert": "PGSSLROOTCERT",
    "sslcert": "PGSSLCERT",
    "sslkey": "PGSSLKEY",
    "sslcrl": "PGSSLCRL",
    "sslnegotiation": "PGSSLNEGOTIATION",
    "target_session_attrs": "PGTARGETSESSIONATTRS",
    "connect_timeout": "PGCONNECT_TIMEOUT",
}
"""The variables of libpq for the parameters of a DSN that its programs need."""

_FILES: Final = ("sslrootcert", "sslcrl", "sslcert", "sslkey")
_VERIFYING: Final = frozenset({"require", "verify-ca", "verify-full"})
_SYSTEM: Final = "system"


@dataclass(frozen=True, slots=True)
class Target:
    """A DSN, taken apart; `dsn` is what the driver gets of it."""

    dsn: str
    hosts: tuple[tuple[str, int], ...]
    server_settings: Mapping[str, str]
    tls: Mapping[str, str]
    connect_timeout: float | None
    """Seconds; None if the DSN does not say."""

    @classmethod
    def of(cls, dsn: str) -> Self:
        """Take a libpq connection URI apart."""
        address, _, query = dsn.partition("?")
        scheme, separator, rest = address.partition("://")
        address = scheme.removesuffix("+asyncpg") + separator + rest
        parameters = {name: value for name, value in _pairs(query) if name not in _LIBPQ_ONLY}
        given = {name: parameters.pop(name) for name in _OURS & parameters.keys()}
        timeout = float(parameters.pop("connect_timeout", 0))
        tls = {name: value for name, value in parameters.items() if name.startswith("ssl")}
        hosts = tuple(_hosts_in(address, parameters))
        if _is_socket(hosts) or tls.get("sslrootcert") == _SYSTEM:
            parameters = {name: value for name, value in parameters.items() if name not in tls}
        dsn = f"{address}?{urlencode(parameters, quote_via=quote)}" if parameters else address
        return cls(dsn, hosts, given, tls, timeout if timeout > 0 else None)

    @property
    def has_socket_only(self) -> bool:
        """Whether every host is the directory of a unix socket."""
        return _is_socket(self.hosts)

    def server_settings_with(self, defaults: Mapping[str, str]) -> dict[str, str]:
        """Return the server settings of the DSN, and the defaults that neither they nor `options` set."""
        in_options = _OPTION.findall(dict(_pairs(self.dsn.partition("?")[2])).get("options", ""))
        missing = {name: value for name, value in defaults.items() if name not in in_options}
        return {**missing, **self.server_settings}


async def connect(target: Target, *, timeout: float, **options: Any) -> Driver:  # noqa: ASYNC109 - the driver's
    """Connect to the first suitable host within about `timeout` seconds.

    Raises: OSError or an error of the driver; `connect_errors.explain` words each of them.
    """
    try:
        return await _connect_to_a_host(target, timeout, **_tls_options(target), **options)
    except Exception as error:
        if translate(error) is None:
            raise CannotConnect(type(error).__name__) from error
        raise


async def _connect_to_a_host(target: Target, total_s: float, **options: Any) -> Driver:
    """Try the hosts in order; each gets an equal share of the time."""
    attempt: Callable[..., Awaitable[Driver]] = partial(asyncpg.connect, target.dsn, **options)
    if len(target.hosts) < 2 or "prefer-standby" in target.dsn:
        return await attempt(timeout=total_s)
    share = max(total_s / len(target.hosts), _MIN_CONNECT_TIMEOUT_S)
    for host, port in target.hosts[:-1]:
        with suppress(OSError, asyncpg.PostgresError, asyncpg.TargetServerAttributeNotMatched):
            return await attempt(host=host, port=port, timeout=share)
    host, port = target.hosts[-1]
    return await attempt(host=host, port=port, timeout=share)


def _tls_options(target: Target) -> dict[str, Any]:
    """Return the arguments that replace what the driver would read from the DSN.

    libpq ignores TLS parameters on a socket, and takes the machine's authorities for sslrootcert=system.

    Raises: TlsFileUnusable, ssl.SSLError.
    """
    if target.has_socket_only:
        return {"ssl": False, "direct_tls": False}
    _require_files(target.tls)
    if target.tls.get("sslrootcert") != _SYSTEM:
        return {}
    return {"ssl": _system_context(target.tls), "direct_tls": target.tls.get("sslnegotiation") == "direct"}


def _require_files(tls: Mapping[str, str]) -> None:
    mode = tls.get("sslmode", "prefer")
    names = _FILES if mode in _VERIFYING else _FILES[2:]
    for name in names if mode != "disable" else ():
        path = tls.get(name)
        if path and path != _SYSTEM:
            try:
                Path(path).open("rb").close()
            except OSError as error:
                raise TlsFileUnusable(name, path, error.strerror or "unreadable") from error


def _system_context(tls: Mapping[str, str]) -> ssl.SSLContext:
    """Return a context that verifies chain and host name against the machine's authorities."""
    context = ssl.create_default_context()
    context.set_alpn_protocols(["postgresql"])
    if crl := tls.get("sslcrl"):
        context.load_verify_locations(crl)
        context.verify_flags |= ssl.VERIFY_CRL_CHECK_CHAIN
    if certificate := tls.get("sslcert"):
        context.load_cert_chain(certificate, tls.get("sslkey"), lambda: tls.get("sslpassword", ""))
    if least := tls.get("ssl_min_protocol_version"):
        context.minimum_version = ssl.TLSVersion[least.replace(".", "_")]
    if most := tls.get("ssl_max_protocol_version"):
        context.maximum_version = ssl.TLSVersion[most.replace(".", "_")]
    return context


def libpq_environment(dsn: str) -> dict[str, str]:
    """Return the environment in which libpq's programs connect to the server and database of a DSN.

    The password stays out of their arguments, which every user of the machine can read.
    """
    address, _, query = dsn.partition("?")
    netloc, _, database = address.partition("://")[2].partition("/")
    user, _, password = netloc.rpartition("@")[0].partition(":")
    parameters = dict(_pairs(query))
    hosts = list(_hosts_in(address, parameters))
    given = {
        "user": unquote(user),
        "password": unquote(password) or os.environ.get("PGPASSWORD", ""),
        "dbname": unquote(database),
        **parameters,
        "host": ",".join(host for host, _ in hosts),
        "port": ",".join(str(port) for _, port in hosts),
    }
    return {variable: given[name] for name, variable in _VARIABLES.items() if given.get(name)}


def _pairs(query: str) -> list[tuple[str, str]]:
    """Return the parameters of a query; in libpq's URIs, a plus sign is no space."""
    return parse_qsl(query.replace("+", "%2B"))


def _is_socket(hosts: tuple[tuple[str, int], ...]) -> bool:
    return bool(hosts) and all(host.startswith("/") for host, _ in hosts)


def _hosts_in(address: str, parameters: Mapping[str, str]) -> list[tuple[str, int]]:
    """Return the hosts and ports of a DSN in order."""
    netloc = address.partition("://")[2].partition("/")[0].rpartition("@")[2]
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
