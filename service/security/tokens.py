"""Tokens: random values that are shown once; the database holds their digests."""

import re
import secrets
from dataclasses import dataclass, field
from hashlib import sha256

SESSION_PREFIX = "rcs_"
API_KEY_PREFIX = "rck_"
RESET_PREFIX = "rcr_"
DEVICE_PREFIX = "rcd_"
CODE_PREFIX = "rcl_"
CHALLENGE_PREFIX = "rcc_"

_SECRET_BYTES = 32
_SECRET = re.compile(r"[A-Za-z0-9_-]{43}")


@dataclass(frozen=True, slots=True)
class Token:
    """A new token: `value` for its owner, `digest` (SHA-256, 32 bytes) for the database."""

    value: str = field(repr=False)
    digest: bytes = field(repr=False)


def new_token(prefix: str) -> Token:
    """Return a token of `prefix` and 256 random bits in base64url.

    Source: OWASP ASVS 5.0 7.2.3 (at least 128 random bits), 6.5.2 (a fast digest suffices for random bits).
    """
    value = prefix + secrets.token_urlsafe(_SECRET_BYTES)
    return Token(value, _digest(value))


def digest_of(value: str, prefix: str) -> bytes | None:
    """Return the digest of a token, or None if `value` is malformed.

    Prefix, length and alphabet are checked first, so that no long text is hashed.
    """
    if not value.startswith(prefix) or _SECRET.fullmatch(value, len(prefix)) is None:
        return None
    return _digest(value)


def _digest(value: str) -> bytes:
    return sha256(value.encode("ascii")).digest()
