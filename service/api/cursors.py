"""Cursors: opaque, and valid only for the listing they came from.

A cursor holds a position and a digest over it and the name of its listing. It is not a secret and grants
nothing: a forged one reads from another position of a listing that the caller may read anyway.
Source: GO-2026-4801 (a cursor that was trusted).
"""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from hashlib import sha256

import msgspec

from service.domain.errors import InvalidCursor
from service.domain.pages import Keyset

_DIGEST_BYTES = 12


def write_cursor(position: Keyset | None, listing: str) -> str | None:
    """Return the cursor of a position in a listing. The listing's name includes its filter and sort."""
    if position is None:
        return None
    payload = msgspec.msgpack.encode(position)
    return urlsafe_b64encode(payload + _digest(payload, listing)).decode().rstrip("=")


def read_cursor(cursor: str | None, listing: str) -> Keyset | None:
    """Return the position of a cursor of the same listing.

    Raises:
        InvalidCursor: it was altered, or belongs to another listing, filter or sort.
    """
    if cursor is None:
        return None
    try:
        raw = urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
        payload = raw[:-_DIGEST_BYTES]
        position = msgspec.msgpack.decode(payload, type=Keyset)
        is_ours = write_cursor(position, listing) == cursor and _is_valid(position)
    except (ValueError, OverflowError, RecursionError):  # a time near year 1 has no equal in UTC
        raise InvalidCursor from None
    if not is_ours:
        raise InvalidCursor
    return position


def _is_valid(position: Keyset) -> bool:
    """Return whether we could have written a position, and the database can hold it."""
    if position.text is not None:
        return position.at is None and "\0" not in position.text
    return position.at is not None and position.at.tzinfo is not None


def _digest(payload: bytes, listing: str) -> bytes:
    return sha256(payload + b"\0" + listing.encode("utf-8", "surrogatepass")).digest()[:_DIGEST_BYTES]
