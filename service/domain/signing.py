"""Keys that sign access tokens, and how long each one signs and is published."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final
from uuid import UUID

ROTATION_INTERVAL: Final = timedelta(days=30)
"""After this time a key is replaced. Source: NIST SP 800-57 part 1 5.3.6."""
JWKS_MAX_AGE: Final = timedelta(minutes=15)
"""How long verifiers may keep the published keys."""
PUBLISHED_BEFORE: Final = timedelta(hours=1)
"""How long a key is published before it signs: longer than verifiers keep the keys, with room for those
that keep them for a fixed time of their own."""
MAX_ACCESS_TTL: Final = timedelta(minutes=15)
PUBLISHED_AFTER: Final = timedelta(minutes=30)
"""How long a key stays published after its successor signs: until its last token has ended, by every clock,
on processes that learn of the successor a minute late."""


class SignatureAlgorithm(StrEnum):
    """The algorithms of signing keys, by their name in JOSE. Source: RFC 7518 3.1, RFC 8037 3.1."""

    EDDSA = "EdDSA"
    ES256 = "ES256"


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A key pair without its private half."""

    id: UUID
    algorithm: SignatureAlgorithm
    public_jwk: str
    """JSON. Source: RFC 7517."""
    created_at: datetime
    signs_from: datetime
    ends_at: datetime | None
    """The end of its publication; None while it is the newest."""


@dataclass(frozen=True, slots=True)
class AccessTokenPolicy:
    """Which access tokens are issued. Source: RFC 9068 2.2."""

    issuer: str
    client_id: str
    """What the tokens name as the client that asked for them: the service itself."""
    audiences: frozenset[str]
    ttl: timedelta
    algorithm: SignatureAlgorithm
