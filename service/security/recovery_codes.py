"""Recovery codes: one use each, for whoever has lost every other second factor."""

import re
import secrets
from hashlib import sha256
from typing import Final
from uuid import UUID

from service.domain.factors import RECOVERY_CODES
from service.security.tokens import Token

_ALPHABET: Final = "0123456789abcdefghjkmnpqrstvwxyz"
"""Crockford's base32: no letter that reads like a digit, and no `u`."""
_CHARACTERS: Final = 24
_GROUP: Final = 6
_CODE: Final = re.compile(rf"[{_ALPHABET}]{{{_CHARACTERS}}}")
_AS_READ: Final = str.maketrans("oil", "011", "- ")
_MAX_CHARACTERS: Final = 64
_PURPOSE: Final = b"rollcall recovery code\0"


def new_recovery_codes(user_id: UUID) -> tuple[Token, ...]:
    """Return ten codes of 120 random bits in groups of six, `abcdef-…`, with their digests.

    Source: OWASP ASVS 5.0 6.5.2 (from 112 random bits on, a fast digest suffices), 6.5.3.
    """
    return tuple(_new_code(user_id) for _ in range(RECOVERY_CODES))


def digest_of_recovery_code(user_id: UUID, text: str) -> bytes | None:
    """Return the digest of a code as its owner typed it, or None if it cannot be one.

    Case, hyphens and spaces are ignored; `o` is read as 0, `i` and `l` as 1. The digest (SHA-256, 32
    bytes) differs between users.
    """
    # Not ASCII: `lower` would turn the Kelvin sign into a k.
    if len(text) > _MAX_CHARACTERS or not text.isascii():
        return None
    code = text.lower().translate(_AS_READ)
    return _digest(user_id, code) if _CODE.fullmatch(code) else None


def _new_code(user_id: UUID) -> Token:
    code = "".join(secrets.choice(_ALPHABET) for _ in range(_CHARACTERS))
    groups = (code[start : start + _GROUP] for start in range(0, _CHARACTERS, _GROUP))
    return Token("-".join(groups), _digest(user_id, code))


def _digest(user_id: UUID, code: str) -> bytes:
    return sha256(_PURPOSE + user_id.bytes + code.encode("ascii")).digest()
