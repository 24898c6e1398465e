"""Parse and format the values of settings: durations, lists, origins, URLs."""

import json
import re
from base64 import b64decode
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr

from settings.dsn import imply_writable, mask_dsn, normalise_dsn

ROOT = Path(__file__).resolve().parent.parent
KEY_BYTES = 32
"""Length of a key of AES-256."""

_NOT_A_DURATION = "must be a time such as 300ms, 10s, 30m or 7d"
_NUMBER = r"[0-9]{1,12}(?:\.[0-9]{1,6})?"
_SHORT = re.compile(
    rf"(?:(?P<weeks>{_NUMBER})w)?(?:(?P<days>{_NUMBER})d)?(?:(?P<hours>{_NUMBER})h)?"
    rf"(?:(?P<minutes>{_NUMBER})m)?(?:(?P<seconds>{_NUMBER})s)?(?:(?P<milliseconds>{_NUMBER})ms)?"
)
_ISO = re.compile(
    rf"p(?:(?P<weeks>{_NUMBER})w)?(?:(?P<days>{_NUMBER})d)?"
    rf"(?:t(?:(?P<hours>{_NUMBER})h)?(?:(?P<minutes>{_NUMBER})m)?(?:(?P<seconds>{_NUMBER})s)?)?"
)
_PLAIN = re.compile(rf"(?P<seconds>{_NUMBER})")
_UNITS = {
    "d": timedelta(days=1),
    "h": timedelta(hours=1),
    "m": timedelta(minutes=1),
    "s": timedelta(seconds=1),
    "ms": timedelta(milliseconds=1),
}
_ORIGIN = re.compile(
    r"([a-z][a-z0-9+.-]*)://([a-z0-9](?:[a-z0-9.-]*[a-z0-9])?|\[[0-9a-f:.]+\])(?::([0-9]{1,5}))?"
)
_LOOPBACK = re.compile(r"http://(?:localhost|127(?:\.[0-9]{1,3}){3}|\[::1\])(?::[0-9]+)?")
_FROM_BASE64URL = str.maketrans("-_", "+/")
_DEFAULT_PORTS = {"http": "80", "https": "443"}


@dataclass(frozen=True, slots=True)
class Constraint:
    """What a value must be, in words after "must be ", where type and bounds do not say it."""

    words: str


@dataclass(frozen=True, slots=True)
class Variable:
    """A variable whose name does not follow from its section, and the spelling of "unset"."""

    name: str
    unset: str


def parse_duration(raw: object) -> timedelta:
    """Parse `7d`, `1h30m`, `300ms`, `PT10S` or plain seconds.

    Raises: ValueError for anything else, or if it is too long for a timedelta.
    """
    if isinstance(raw, timedelta):
        return raw
    text = str(raw).strip().lower()
    for form in (_PLAIN, _SHORT, _ISO):
        match = form.fullmatch(text)
        parts = {unit: float(number) for unit, number in match.groupdict().items() if number} if match else {}
        if parts:
            return _timedelta(parts)
    raise ValueError(_NOT_A_DURATION)


def _timedelta(parts: dict[str, float]) -> timedelta:
    try:
        return timedelta(**parts)
    except OverflowError:
        raise ValueError(_NOT_A_DURATION) from None


def format_duration(span: timedelta) -> str:
    """Return the shortest form that `parse_duration` reads back."""
    if not span:
        return "0s"
    for name, unit in _UNITS.items():
        if not span % unit:
            return f"{span // unit}{name}"
    return f"{span.total_seconds():.6f}s"


def split_list(raw: object) -> object:
    """Return the entries of a comma-separated or JSON list of strings; pass anything but a string through.

    Raises: ValueError if it begins like JSON and is not a list of strings.
    """
    if not isinstance(raw, str):
        return raw
    if not raw.lstrip().startswith(("[", "{", '"')):
        return [entry.strip() for entry in raw.split(",") if entry.strip()]
    try:
        entries = json.loads(raw)
    except (ValueError, RecursionError):
        raise ValueError from None
    if not isinstance(entries, list) or not all(isinstance(entry, str) for entry in entries):
        raise ValueError
    return entries


def canonical_origin(raw: str) -> str:
    """Return an origin as browsers send it: lower case, without the default port.

    Raises: ValueError for anything but one exact `scheme://host[:port]`.
    Source: RFC 6454 6.2; a wildcard would let any page read responses.
    """
    match = _ORIGIN.fullmatch(raw.lower()) if raw.isascii() else None
    if match is None:
        raise ValueError
    scheme, host, port = match.groups()
    if port is None or port == _DEFAULT_PORTS.get(scheme):
        return f"{scheme}://{host}"
    if not 1 <= int(port) <= 65535:
        raise ValueError
    return f"{scheme}://{host}:{int(port)}"


def canonical_public_url(raw: str) -> str:
    """Return the address of the service: an origin, with TLS unless it is loopback.

    Raises: ValueError for anything else.
    Source: RFC 8414 2 (an issuer is an https URL without query and fragment).
    """
    origin = canonical_origin(raw.removesuffix("/"))
    if not origin.startswith("https://") and _LOOPBACK.fullmatch(origin) is None:
        raise ValueError
    return origin


def parse_keys(raw: str) -> tuple[bytes, ...]:
    """Return the keys of a comma-separated list, each 32 bytes in base64 or base64url.

    Raises: ValueError without a reason if one is anything else or repeated, so that none is quoted.
    """
    keys = tuple(_decode_base64(entry.strip()) for entry in raw.split(","))
    if any(len(key) != KEY_BYTES for key in keys) or len(set(keys)) != len(keys):
        raise ValueError
    return keys


def _decode_base64(text: str) -> bytes:
    try:
        return b64decode(text.translate(_FROM_BASE64URL) + "=" * (-len(text) % 4), validate=True)
    except ValueError:
        raise ValueError from None


def _from_root(path: Path) -> Path:
    try:
        return ROOT / path.expanduser()
    except RuntimeError:  # ~ of a user without home
        raise ValueError from None


def _on_secret(work: Callable[[str], str]) -> AfterValidator:
    return AfterValidator(lambda secret: SecretStr(work(secret.get_secret_value())))


def duration(default: str, least: str, most: str, description: str) -> Any:
    """Return the field of a `Duration`; default and bounds are written as in a variable."""
    span, ge, le = parse_duration(default), parse_duration(least), parse_duration(most)
    return Field(default=span, ge=ge, le=le, description=description)


Duration = Annotated[timedelta, BeforeValidator(parse_duration)]
LowerCase = BeforeValidator(lambda raw: raw.lower() if isinstance(raw, str) else raw)
Networks = Annotated[
    tuple[IPv4Network | IPv6Network, ...],
    BeforeValidator(split_list),
    Constraint("networks such as 10.0.0.0/8 or 2001:db8::/32, comma-separated or a JSON list"),
]
Origins = Annotated[
    tuple[Annotated[str, AfterValidator(canonical_origin)], ...],
    BeforeValidator(split_list),
    Constraint("exact origins such as https://app.example.com, comma-separated or a JSON list (no *)"),
]
Audiences = Annotated[
    tuple[Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._~:/?&=%+@-]{0,254}$")], ...],
    BeforeValidator(split_list),
    Constraint("addresses or names of services, without spaces or <>, comma-separated or a JSON list"),
]
PublicUrl = Annotated[
    str,
    AfterValidator(canonical_public_url),
    Constraint("an address such as https://accounts.example.org, without a path; http on loopback only"),
]
Directory = Annotated[
    Path, AfterValidator(_from_root), Constraint("a directory, relative to the checkout or absolute")
]
Dsn = Annotated[
    SecretStr,
    _on_secret(normalise_dsn),
    Constraint("a PostgreSQL URL such as postgresql://user:password@host:5432/database"),
]
WritableDsn = Annotated[Dsn, _on_secret(imply_writable)]


def format_value(value: object) -> str:
    """Return the text that sets this value; passwords in database URLs are masked."""
    match value:
        case None:
            return ""
        case bool():
            return str(value).lower()
        case timedelta():
            return format_duration(value)
        case SecretStr() if "://" in value.get_secret_value():
            return mask_dsn(value.get_secret_value())
        case SecretStr():
            return "***"
        case tuple():
            return ",".join(str(entry) for entry in value)
        case Path() if value.is_relative_to(ROOT):
            return value.relative_to(ROOT).as_posix()
    return str(value)
