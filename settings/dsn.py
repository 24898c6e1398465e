"""Check, normalise and mask database URLs."""

import re
from urllib.parse import SplitResult, unquote, urlsplit

SCHEMES = frozenset({"postgresql", "postgres", "postgresql+asyncpg"})
CHOICES = {
    "sslmode": frozenset({"disable", "allow", "prefer", "require", "verify-ca", "verify-full"}),
    "target_session_attrs": frozenset(
        {"any", "primary", "standby", "read-write", "read-only", "prefer-standby"}
    ),
}

LEFT_OUT = {
    "channel_binding": frozenset({"disable", "prefer"}),
    "client_encoding": frozenset({"auto", "utf8", "utf-8", "UTF8", "UTF-8"}),
    "fallback_application_name": None,
    "gssdelegation": frozenset({"0"}),
    "gssencmode": frozenset({"disable", "prefer"}),
    "keepalives": None,
    "keepalives_count": None,
    "keepalives_idle": None,
    "keepalives_interval": None,
    "load_balance_hosts": frozenset({"disable"}),
    "sslcertmode": frozenset({"allow"}),
    "sslcompression": frozenset({"0"}),
    "sslsni": frozenset({"1"}),
    "tcp_user_timeout": None,
}
"""Parameters without effect here, with the values that ask for nothing; None: any value."""

_VERIFY = "sslmode=verify-full, which proves the server's identity"
_POOLER = "ROLLCALL_DATABASE__PGBOUNCER=true"
INSTEAD = {
    "channel_binding": _VERIFY,
    "client_encoding": "nothing: text is UTF-8",
    "connection_limit": "ROLLCALL_DATABASE__POOL_SIZE",
    "currentSchema": "options=-csearch_path%3Dname",
    "gssdelegation": "a password or a client certificate",
    "gssencmode": "sslmode=verify-full",
    "hostaddr": "the address in place of the host name",
    "load_balance_hosts": "a balancer in front of the servers",
    "max_protocol_version": "nothing: the driver speaks 3.0",
    "min_protocol_version": "nothing: the driver speaks 3.0",
    "pgbouncer": _POOLER,
    "pool_size": "ROLLCALL_DATABASE__POOL_SIZE",
    "pool_timeout": "ROLLCALL_DATABASE__POOL_TIMEOUT",
    "prepared_statements": _POOLER,
    "replication": "nothing: this is an ordinary connection",
    "require_auth": f"{_VERIFY}, and the method in the server's pg_hba.conf",
    "requirepeer": "the permissions of the socket's directory",
    "requiressl": "sslmode=require",
    "schema": "options=-csearch_path%3Dname, or nothing for public",
    "socket_timeout": "ROLLCALL_DATABASE__COMMAND_TIMEOUT",
    "sslaccept": "sslmode",
    "sslcertmode": "sslcert and sslkey",
    "sslcompression": "nothing: TLS is not compressed",
    "sslcrldir": "sslcrl",
    "sslidentity": "sslcert and sslkey",
    "sslkeylogfile": "nothing: keys are not logged",
    "sslsni": "nothing: the host name is always sent",
    "statement_cache_size": _POOLER,
    "prepared_statement_cache_size": _POOLER,
    "supa": "nothing",
}
"""Parameters that neither the driver nor the server knows, and what to set instead."""

MAX_CONNECT_TIMEOUT_S = 60
_MALFORMED = "must be a PostgreSQL URL such as postgresql://user:password@host:5432/database"
_UNESCAPED = "must be a PostgreSQL URL with @ written as %40 and / as %2F in user, password and database"
_HOST = re.compile(r"(?:\[[0-9a-f:.]+(?:%25[^\[\]]+)?\]|[^\[\]:]+)(?::([0-9]+))?", re.IGNORECASE)
_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_.]*")
_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})|%00")
_USER_PASSWORD = re.compile(r"(?<=://)([^/?@:]*):[^/?@]*@")
_QUERY_PASSWORD = re.compile(r"([?&](?:ssl)?password=)[^&]*", re.IGNORECASE)


def normalise_dsn(raw: str) -> str:
    """Return the `postgresql://` form of a URL without the parameters that the driver does not support.

    Raises: ValueError with the reason in words, never with a part of the URL.
    """
    text = raw.strip()
    _reject_characters(text)
    parts = _split(text)
    _check_hosts(parts.netloc.rpartition("@")[2])
    query = "&".join(_parameters(parts.query))
    return f"postgresql://{parts.netloc}{parts.path}" + (f"?{query}" if query else "")


def mask_dsn(dsn: str) -> str:
    """Replace every password in a normalised URL with `***`."""
    return _QUERY_PASSWORD.sub(r"\1***", _USER_PASSWORD.sub(r"\1:***@", dsn))


def _reject_characters(text: str) -> None:
    if any(character <= " " or character == "\x7f" for character in text):
        raise ValueError("must not contain spaces or control characters (write a space as %20)")
    if "#" in text:
        raise ValueError("must be a PostgreSQL URL with # written as %23")
    if _BAD_ESCAPE.search(text):
        raise ValueError("must be a PostgreSQL URL with % written as %25 (and no %00)")


def _split(text: str) -> SplitResult:
    """Split a URL. It may have several hosts: some releases of `urlsplit` reject a second one in brackets."""
    scheme, separator, rest = text.partition("://")
    address, _, query = rest.partition("?")
    netloc, slash, path = address.partition("/")
    try:
        urlsplit("//" + netloc.replace("[", "").replace("]", ""))  # no letter that is a separator in NFKC
    except ValueError:  # its message quotes the URL
        raise ValueError(_MALFORMED) from None
    parts = SplitResult(scheme.lower(), netloc, slash + path, query, "")
    if parts.scheme not in SCHEMES or not separator:
        raise ValueError("must start with postgresql://, postgres:// or postgresql+asyncpg://")
    if parts.netloc.count("@") > 1 or "@" in parts.path or "/" in parts.path[1:]:
        raise ValueError(_UNESCAPED)
    return parts


def _check_hosts(hosts: str) -> None:
    for host in hosts.split(",") if hosts else ():
        match = _HOST.fullmatch(host)
        if match is None:
            raise ValueError(_MALFORMED)
        _check_port(match[1] or "5432")


def _check_port(port: str) -> None:
    if not re.fullmatch(r"[0-9]{1,5}", port) or not 1 <= int(port) <= 65535:
        raise ValueError("must have a port from 1 to 65535 (and a : in a user written as %3A)")


def imply_writable(dsn: str) -> str:
    """Return a normalised URL that, with several hosts, asks for the one that accepts writes."""
    address, _, query = dsn.partition("?")
    parameters = dict(pair.split("=", 1) for pair in query.split("&")) if query else {}
    hosts = address.partition("://")[2].partition("/")[0].rpartition("@")[2] or parameters.get("host", "")
    if "," not in unquote(hosts) or "target_session_attrs" in parameters:
        return dsn
    return f"{dsn}{'&' if query else '?'}target_session_attrs=read-write"


def _parameters(query: str) -> list[str]:
    kept: dict[str, str] = {}
    for parameter in query.split("&") if query else ():
        key, _, value = parameter.partition("=")
        key = unquote(key)
        if not _KEY.fullmatch(key) or not value:
            raise ValueError("must have parameters of the form name=value after the ?")
        key = "sslmode" if key == "ssl" else key
        if not _is_left_out(key, unquote(value)):
            _check_parameter(key, unquote(value))
            kept[key] = value
    _require_full_verification(kept)
    return [f"{key}={value}" for key, value in kept.items()]


def _is_left_out(key: str, value: str) -> bool:
    """Return whether a parameter asks for nothing that the driver would have to do.

    Raises: ValueError if it asks for something that neither driver nor server can do.
    """
    if key == "connect_timeout" and re.fullmatch("0|-[0-9]+", value):
        return True  # libpq would wait without limit; we never do
    if key in LEFT_OUT and (LEFT_OUT[key] is None or value in (LEFT_OUT[key] or ())):
        return True
    if key in INSTEAD:
        allowed = f" other than {' or '.join(sorted(LEFT_OUT[key] or ()))}" if key in LEFT_OUT else ""
        raise ValueError(f"must not have {key}{allowed}, which the driver lacks; instead: {INSTEAD[key]}")
    return False


def _require_full_verification(parameters: dict[str, str]) -> None:
    """Make sslrootcert=system verify the host name, too: any site has a certificate of a public authority.

    Source: PostgreSQL 18, libpq, sslrootcert.
    """
    if parameters.get("sslrootcert") != "system":
        return
    if parameters.setdefault("sslmode", "verify-full") != "verify-full":
        raise ValueError("must have sslmode=verify-full with sslrootcert=system")


def _check_parameter(key: str, value: str) -> None:
    if key in CHOICES and value not in CHOICES[key]:
        raise ValueError(f"must have a {key} that is one of {', '.join(sorted(CHOICES[key]))}")
    if key == "port":
        for port in value.split(","):
            _check_port(port)
    if key == "connect_timeout" and not _is_timeout(value):
        raise ValueError(f"must have a connect_timeout from 1 to {MAX_CONNECT_TIMEOUT_S} seconds")


def _is_timeout(value: str) -> bool:
    return re.fullmatch("[0-9]{1,3}", value) is not None and 1 <= int(value) <= MAX_CONNECT_TIMEOUT_S
