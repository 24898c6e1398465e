"""Digests under which failed logins and mails are counted, so that no table holds what people typed."""

import hmac
from collections.abc import Sequence
from typing import Final

_PURPOSE: Final = b"rollcall count\0"


class CountDigests:
    """Makes digests with HMAC-SHA-256 under the first of `keys`; without a key, under the empty one.

    With a key of the settings, the database alone does not let anybody test guesses at what was typed.

    Source: RFC 2104; OWASP ASVS 5.0 11.4.1.
    """

    __slots__ = ("_key",)

    def __init__(self, keys: Sequence[bytes] = ()) -> None:
        self._key = keys[0] if keys else b""

    def of(self, *parts: str) -> bytes:
        """Return the digest of a kind of count and what is counted: 32 bytes."""
        return hmac.digest(self._key, _PURPOSE + "\0".join(parts).encode("utf-8", "surrogatepass"), "sha256")
