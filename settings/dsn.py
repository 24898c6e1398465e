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

# The driver would pass these to the server as settings, and the server would reject the connection.
LEFT_OUT = frozenset(
    {
        "channel_binding",
        "connect_timeout",
        "fallback_application_name",
        "gssencmode",
        "keepalives",
        "keepalives_count",
        "keepalives_idle",
        "keepalives_interval",
        "load_balance_hosts",
        "sslcompression",
        "sslsni",
        "tcp_user_timeout",
    }
)

_MALFORMED = "must be a PostgreSQL URL such as postgresql://user:password@host:5432/database"
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
    try:
        parts = urlsplit(text)
    except ValueError:  # its message quotes the URL
        raise ValueError(_MALFORMED) from None
    if parts.scheme not in SCHEMES or not text[len(parts.scheme) :].startswith("://"):
        raise ValueError("must start with postgresql://, postgres:// or postgresql+asyncpg://")
    if parts.netloc.count("@") > 1 or "@" in parts.path or "/" in parts.path[1:]:
        raise ValueError(
            "must be a PostgreSQL URL with @ written as %40 and / as %2F in user, password and database"
        )
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


def _parameters(query: str) -> list[str]:
    kept = []
    for parameter in query.split("&") if query else ():
        key, _, value = parameter.partition("=")
        key = unquote(key)
        if not _KEY.fullmatch(key) or not value:
            raise ValueError("must have parameters of the form name=value after the ?")
        key = "sslmode" if key == "ssl" else key
        _check_parameter(key, unquote(value))
        if key not in LEFT_OUT:
            kept.append(f"{key}={value}")
    return kept


def _check_parameter(key: str, value: str) -> None:
    if key in CHOICES and value not in CHOICES[key]:
        raise ValueError(f"must have a {key} that is one of {', '.join(sorted(CHOICES[key]))}")
    if key == "port":
        for port in value.split(","):
            _check_port(port)
