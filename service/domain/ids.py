"""Identifiers: UUIDv7, written in one canonical form."""

import secrets
import time
from uuid import UUID

_CANONICAL_LENGTH = 36
_CANONICAL_CHARACTERS = frozenset("0123456789abcdef-")


def new_id() -> UUID:
    """Make a UUIDv7: 48 bits of Unix milliseconds, then 74 random bits. Source: RFC 9562 5.7."""
    milliseconds = time.time_ns() // 1_000_000
    value = (milliseconds & (1 << 48) - 1) << 80 | secrets.randbits(80)
    value = value & ~(0xF << 76) | 0x7 << 76
    value = value & ~(0x3 << 62) | 0x2 << 62
    return UUID(int=value)


def parse_id(text: str) -> UUID | None:
    """Read an id in its one canonical form, lower-case with hyphens; None for any other spelling."""
    if len(text) != _CANONICAL_LENGTH or not _CANONICAL_CHARACTERS.issuperset(text):
        return None
    try:
        value = UUID(text)
    except ValueError:
        return None
    return value if str(value) == text else None
