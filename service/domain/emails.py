"""E-mail addresses: the one stored form, and what may be shown of one."""

import re
from typing import Final

EMAIL_MAX: Final = 254
EMAIL_RULE: Final = (
    "An address such as ada@example.org: an ASCII name without quotes before the @, a domain with a dot "
    "after it."
)
_LOCAL_MAX: Final = 64
_ATOM: Final = r"[a-z0-9!#$%&'*+/=?^_`{|}~-]+"
_LOCAL: Final = re.compile(rf"{_ATOM}(?:\.{_ATOM})*")
_LABEL: Final = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_DOMAIN: Final = re.compile(rf"(?:{_LABEL}\.)+(?![0-9]+$){_LABEL}")
_ASCII_LOWER: Final = str.maketrans("ABCDEFGHIJKLMNOPQRSTUVWXYZ", "abcdefghijklmnopqrstuvwxyz")


def canonical_email(raw: str) -> str | None:
    """Return the one stored form of an address, or None if it cannot be one.

    ASCII letters are lower-cased, and an internationalized domain becomes A-labels. No other character is
    mapped, so that no address of somebody else is made. Source: RFC 5321 4.1.2; RFC 5891; CVE-2019-19844.
    """
    if len(raw) > EMAIL_MAX:
        return None
    local, _, domain = raw.translate(_ASCII_LOWER).rpartition("@")
    if not domain.isascii() or "xn--" in domain:
        domain = _to_a_labels(domain)
    email = f"{local}@{domain}"
    if len(local) > _LOCAL_MAX or len(email) > EMAIL_MAX:
        return None
    return email if _LOCAL.fullmatch(local) and _DOMAIN.fullmatch(domain) else None


def masked_email(email: str) -> str:
    """Return an address that tells its owner which one it is, and others little: `a…@example.org`."""
    local, _, domain = email.rpartition("@")
    return f"{local[:1]}…@{domain}"


def _to_a_labels(domain: str) -> str:
    from service.domain.internationalized import to_a_labels  # 60 ms to import

    try:
        return to_a_labels(domain)
    except ValueError:
        return ""
