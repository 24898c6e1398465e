"""How settings are written down: times, lists and their printed forms."""

import json
import re
from dataclasses import dataclass
from datetime import timedelta
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, SecretStr

from settings.dsn import mask_dsn, normalise_dsn

ROOT = Path(__file__).resolve().parent.parent

_NO_TIME = "must be a time such as 300ms, 10s, 30m or 7d"
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
_DEFAULT_PORTS = {"http": "80", "https": "443"}


@dataclass(frozen=True, slots=True)
class Expected:
    """What a setting must be, in words, where type and bounds do not say it; reads on from "must be "."""

    words: str


@dataclass(frozen=True, slots=True)
class Variable:
    """The variable of a setting whose name does not follow from its section, and how "unset" is written."""

    name: str
    unset: str


def parse_duration(raw: object) -> timedelta:
    """Give the time that `7d`, `1h30m`, `300ms`, `PT10S` or plain seconds stand for.

    Raises: ValueError when it is none of these, or longer than any time can be.
    """
    if isinstance(raw, timedelta):
        return raw
    text = str(raw).strip().lower()
    for form in (_PLAIN, _SHORT, _ISO):
        match = form.fullmatch(text)
        parts = {unit: float(number) for unit, number in match.groupdict().items() if number} if match else {}
        if parts:
            return _sum(parts)
    raise ValueError(_NO_TIME)


def _sum(parts: dict[str, float]) -> timedelta:
    try:
        return timedelta(**parts)
    except OverflowError:
        raise ValueError(_NO_TIME) from None


def format_duration(span: timedelta) -> str:
    """Give the shortest form of a time that `parse_duration` reads back."""
    if not span:
        return "0s"
    for name, unit in _UNITS.items():
        if not span % unit:
            return f"{span // unit}{name}"
    return f"{span.total_seconds():.6f}s"


def split_list(raw: object) -> object:
    """Give the entries of a comma-separated or JSON list of texts; anything but text passes unchanged.

    Raises: ValueError when it starts like JSON and is no list of texts.
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
    """Give an origin as browsers send it: lower case, without the scheme's own port.

    Raises: ValueError for anything but one exact `scheme://host[:port]`.
    Source: RFC 6454 6.2; a wildcard would let any page read answers.
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


def _lower(raw: object) -> object:
    return raw.lower() if isinstance(raw, str) else raw


def _anchor(path: Path) -> Path:
    try:
        return ROOT / path.expanduser()
    except RuntimeError:  # ~ of a user without home
        raise ValueError from None


def _seal(dsn: SecretStr) -> SecretStr:
    return SecretStr(normalise_dsn(dsn.get_secret_value()))


Duration = Annotated[timedelta, BeforeValidator(parse_duration)]
LowerCase = BeforeValidator(_lower)
Networks = Annotated[
    tuple[IPv4Network | IPv6Network, ...],
    BeforeValidator(split_list),
    Expected("networks such as 10.0.0.0/8 or 2001:db8::/32, comma-separated or a JSON list"),
]
Origins = Annotated[
    tuple[Annotated[str, AfterValidator(canonical_origin)], ...],
    BeforeValidator(split_list),
    Expected("exact origins such as https://app.example.com, comma-separated or a JSON list (no *)"),
]
Directory = Annotated[
    Path, AfterValidator(_anchor), Expected("a directory, relative to the checkout or absolute")
]
Dsn = Annotated[
    SecretStr,
    AfterValidator(_seal),
    Expected("a PostgreSQL URL such as postgresql://user:password@host:5432/database"),
]


def show(value: object) -> str:
    """Give the text that sets this value again; passwords in database URLs are replaced by `***`."""
    match value:
        case None:
            return ""
        case bool():
            return str(value).lower()
        case timedelta():
            return format_duration(value)
        case SecretStr():
            return mask_dsn(value.get_secret_value())
        case tuple():
            return ",".join(str(entry) for entry in value)
        case Path() if value.is_relative_to(ROOT):
            return value.relative_to(ROOT).as_posix()
    return str(value)
