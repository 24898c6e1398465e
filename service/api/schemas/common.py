"""Types that several resources share on the wire."""

from datetime import UTC, datetime
from typing import Annotated

import msgspec
from msgspec import Meta

from service.domain.errors import FieldError, ValidationFailed
from service.domain.pages import PAGE_DEFAULT, PAGE_MAX

_WITHOUT_OFFSET = len("2026-11-23T09:30:00.000000")
ID_PATTERN = "^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$"

Id = Annotated[
    str,
    Meta(
        description="UUIDv7, lower-case with hyphens.",
        examples=["0198c5a4-7d1e-7c3b-9f60-2b1f3a5c7d9e"],
        extra_json_schema={"format": "uuid"},
    ),
]
Timestamp = Annotated[
    str,
    Meta(
        description="RFC 3339 in UTC with microseconds, by the database's clock.",
        examples=["2026-11-23T09:30:00.000000Z"],
        extra_json_schema={"format": "date-time"},
    ),
]
Limit = Annotated[int, Meta(ge=1, le=PAGE_MAX, description="How many items a page has at most.")]
Cursor = Annotated[
    str, Meta(max_length=2000, description="`next_cursor` of the page before, from the same filter and sort.")
]
WalPosition = Annotated[
    datetime, Meta(tz=True, description="RFC 3339 with an offset.", examples=["2036-11-23T09:30:00Z"])
]


class Input(msgspec.Struct, forbid_unknown_fields=True, kw_only=True, frozen=True):
    """Base of everything that is read: a field that is not declared is refused, never ignored."""


class Output(msgspec.Struct, frozen=True):
    """Base of everything that is written."""


class PageQuery(Input, frozen=True):
    """The query of a listing without filters."""

    limit: Limit = PAGE_DEFAULT
    cursor: Cursor | None = None


# The database driver takes the two ends of what Python can tell for infinity.
_ALWAYS = datetime.min.replace(tzinfo=UTC)
_NEVER = datetime.max.replace(tzinfo=UTC)


def in_utc(at: datetime, pointer: str) -> datetime:
    """Bring a point in time to UTC.

    Raises:
        ValidationFailed: there it falls outside the years 1 to 9999; the fault is at `pointer`.
    """
    try:
        wal_position = at.astimezone(UTC)
    except OverflowError:
        wal_position = _NEVER
    if wal_position in (_NEVER, _ALWAYS):
        raise ValidationFailed(FieldError(pointer, "out_of_range", "The year must be 1 to 9999."))
    return wal_position


def timestamp(at: datetime) -> str:
    """Write a point in time in the one form that the wire knows."""
    if at.tzinfo is not UTC:
        at = at.astimezone(UTC)
    return at.isoformat(timespec="microseconds")[:_WITHOUT_OFFSET] + "Z"


def timestamp_or_none(at: datetime | None) -> str | None:
    """Write a point in time that may be absent."""
    return timestamp(at) if at is not None else None
