"""One-time tokens in mails, derived from a seed and a key, so that no table holds them.

The outbox keeps the seed until its mail is sent. With a key of the settings, the database alone does not
give the token; without one, it does until then.
"""

import base64
import hmac
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Final

from service.domain.mail import MailKind, TokenSeed
from service.security.tokens import RESET_PREFIX

VERIFICATION_PREFIX: Final = "rcv_"
CODE_DIGITS: Final = 8
_PREFIXES: Final = {
    MailKind.VERIFY_EMAIL: VERIFICATION_PREFIX,
    MailKind.RECOVERY: RESET_PREFIX,
    MailKind.INVITATION: RESET_PREFIX,
}
_SEED_BYTES: Final = 32
_PURPOSE: Final = b"rollcall mail token\0"


@dataclass(frozen=True, slots=True)
class MailToken:
    """A new one-time token: `value` for the mail alone, `seed` for the outbox."""

    value: str = field(repr=False)
    seed: TokenSeed = field(repr=False)

    @property
    def digest(self) -> bytes:
        """What the database holds of it, as of any token (`service.security.tokens`)."""
        return sha256(self.value.encode("ascii")).digest()


class MailTokens:
    """Derives one-time tokens with HMAC-SHA256 of 32 random bytes. New ones use the first of `keys`.

    Source: RFC 2104; NIST SP 800-108r1 (a pseudorandom function as key derivation).
    """

    def __init__(self, keys: Sequence[bytes] = ()) -> None:
        self._keys = tuple(keys) or (b"",)

    def new(self, kind: MailKind) -> MailToken:
        """Return a token for a mail: a code of 8 digits, or a prefix with 256 bits in base64url."""
        seed = secrets.token_bytes(_SEED_BYTES)
        secret = _derive(self._keys[0], seed)
        return MailToken(_written(kind, secret), TokenSeed(seed, sha256(secret).digest()))

    def restore(self, kind: MailKind, seed: TokenSeed) -> str | None:
        """Return the token of a seed, or None if its key is gone."""
        for key in self._keys:
            secret = _derive(key, seed.seed)
            if hmac.compare_digest(sha256(secret).digest(), seed.digest):
                return _written(kind, secret)
        return None


def _derive(key: bytes, seed: bytes) -> bytes:
    return hmac.digest(key, _PURPOSE + seed, "sha256")


def _written(kind: MailKind, secret: bytes) -> str:
    if kind is MailKind.LOGIN_CODE:
        return f"{int.from_bytes(secret) % 10**CODE_DIGITS:0{CODE_DIGITS}}"
    return _PREFIXES[kind] + base64.urlsafe_b64encode(secret).rstrip(b"=").decode()
