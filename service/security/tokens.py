"""Bearer tokens: random values that are shown once, and the digests that are all the database holds."""

import re
import secrets
from dataclasses import dataclass, field
from hashlib import sha256

SESSION_PREFIX = "rcs_"
API_KEY_PREFIX = "rck_"
RESET_PREFIX = "rcr_"
DEVICE_PREFIX = "rcd_"

_SECRET_BYTES = 32
_SECRET = re.compile(r"[A-Za-z0-9_-]{43}")


@dataclass(frozen=True, slots=True)
class Token:
    """A new token: `value` goes to its owner once, `digest` (SHA-256, 32 bytes) into the database."""

    value: str = field(repr=False)
    digest: bytes = field(repr=False)


def new_token(prefix: str) -> Token:
    """Return a token of 256 random bits, base64url, behind `prefix`.

    Source: OWASP ASVS 5.0 7.2.3 (at least 128 random bits), 6.5.2 (a fast digest does for a random secret).
    """
    value = prefix + secrets.token_urlsafe(_SECRET_BYTES)
    return Token(value, _digest(value))


def digest_of(value: str, prefix: str) -> bytes | None:
    """Return the digest to look `value` up by, or None when it cannot be a token of that kind.

    Prefix, length and alphabet are looked at before anything is hashed, so that no long or foreign text is.
    """
    if not value.startswith(prefix) or _SECRET.fullmatch(value, len(prefix)) is None:
        return None
    return _digest(value)


def _digest(value: str) -> bytes:
    return sha256(value.encode("ascii")).digest()
