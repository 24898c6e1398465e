"""Schema types that several resources share."""

from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated
from uuid import UUID

import msgspec
from msgspec import Meta

from service.domain.errors import FieldError, ValidationFailed
from service.domain.pages import PAGE_DEFAULT, PAGE_MAX

ID_PATTERN = "^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$"

Id = Annotated[
    UUID,
    Meta(
        description="UUIDv7, lower-case with hyphens.",
        examples=["0198c5a4-7d1e-7c3b-9f60-2b1f3a5c7d9e"],
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
IdText = Annotated[str, Meta(pattern=ID_PATTERN, examples=["0198c5a4-7d1e-7c3b-9f60-2b1f3a5c7d9e"])]
Limit = Annotated[int, Meta(ge=1, le=PAGE_MAX, description="The maximum number of items on a page.")]
Cursor = Annotated[
    str,
    Meta(max_length=2000, description="`next_cursor` of the previous page, with the same filter and sort."),
]
InputTime = Annotated[
    datetime, Meta(tz=True, description="RFC 3339 with an offset.", examples=["2036-11-23T09:30:00Z"])
]


EpochSeconds = Annotated[
    int,
    Meta(description="Seconds since 1970.", examples=[1795000000], extra_json_schema={"format": "int64"}),
]


def extensible(values: type[StrEnum]) -> Meta:
    """Return the schema of a text in a response whose known values are these; later versions may have more.

    A client that is generated from a closed enumeration rejects the whole response for a new value.
    """
    return Meta(extra_json_schema={"x-extensible-enum": [value.value for value in values]})


class Input(msgspec.Struct, forbid_unknown_fields=True, kw_only=True, frozen=True):
    """Base of all inputs: an undeclared field is rejected, never ignored."""


class Output(msgspec.Struct, frozen=True):
    """Base of all outputs."""


class PageQuery(Input, frozen=True):
    """The query of a listing without a filter."""

    limit: Limit = PAGE_DEFAULT
    cursor: Cursor | None = None


# The database driver maps the two ends of `datetime` to infinity.
EARLIEST = datetime.min.replace(tzinfo=UTC)
_INFINITY = datetime.max.replace(tzinfo=UTC)


def in_utc(at: datetime, pointer: str) -> datetime:
    """Return a time in UTC.

    Raises:
        ValidationFailed: in UTC it is outside the years 1 to 9999; the error is at `pointer`.
    """
    try:
        utc = at.astimezone(UTC)
    except OverflowError:
        utc = _INFINITY
    if utc in (_INFINITY, EARLIEST):
        raise ValidationFailed(FieldError(pointer, "out_of_range", "The year must be 1 to 9999."))
    return utc


def timestamp(at: datetime) -> str:
    """Return a time in the one format of the API: UTC, with six decimals."""
    if at.tzinfo is not UTC:
        at = at.astimezone(UTC)
    if at.microsecond == 0:  # msgspec leaves out what is zero; isoformat takes ten times as long
        return at.replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"
    text: str = msgspec.to_builtins(at)
    return text


def timestamp_or_none(at: datetime | None) -> str | None:
    """Return a time in the one format of the API, or None."""
    return timestamp(at) if at is not None else None
