"""Schema types that several resources share."""

from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any, Generic, TypeVar
from uuid import UUID

import msgspec
from msgspec import UNSET, Meta, UnsetType

from service.domain.errors import FieldError, ValidationFailed
from service.domain.pages import PAGE_DEFAULT, PAGE_MAX

T = TypeVar("T")


def about(description: str, *examples: object, **rules: Any) -> Meta:
    """Return the description of a field, with examples and rules."""
    return Meta(description=description, examples=list(examples) or None, **rules)


def extensible(values: type[StrEnum]) -> Meta:
    """Return the schema of a text in a response whose known values are these; later versions may have more.

    A client that is generated from a closed enumeration rejects the whole response for a new value.
    """
    return Meta(extra_json_schema={"x-extensible-enum": [value.value for value in values]})


ID_PATTERN = "^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$"
SAMPLE_ID = "0198c5a4-7d1e-7c3b-9f60-2b1f3a5c7d9e"

Id = Annotated[UUID, about("UUIDv7, lower-case with hyphens.", SAMPLE_ID)]
Timestamp = Annotated[
    str,
    about(
        "RFC 3339 in UTC with microseconds, by the database's clock.",
        "2026-11-23T09:30:00.000000Z",
        extra_json_schema={"format": "date-time"},
    ),
]
# The length too, as `$` matches before a line break at the end.
IdText = Annotated[str, Meta(pattern=ID_PATTERN, max_length=36, examples=[SAMPLE_ID])]
Limit = Annotated[int, about("The maximum number of items on a page.", ge=1, le=PAGE_MAX)]
Cursor = Annotated[str, about("`next_cursor` of the previous page, with the same filter and sort.")]
InputTime = Annotated[datetime, about("RFC 3339 with an offset.", "2036-11-23T09:30:00Z", tz=True)]
EpochSeconds = Annotated[int, about("Seconds since 1970.", 1795000000, extra_json_schema={"format": "int64"})]


class Input(msgspec.Struct, forbid_unknown_fields=True, kw_only=True, frozen=True):
    """Base of all inputs: an undeclared field is rejected, never ignored."""


class Output(msgspec.Struct, frozen=True):
    """Base of all outputs."""


class PageView(Output, Generic[T], frozen=True):
    """Base of the pages of listings."""

    items: list[T]
    next_cursor: str | None


class PageQuery(Input, frozen=True):
    """The query of a listing without a filter."""

    limit: Limit = PAGE_DEFAULT
    cursor: Cursor | None = None


def given(value: T | UnsetType) -> T | None:
    """Return the value of an optional field; None if it was not sent."""
    return None if value is UNSET else value


# The database driver maps the two ends of `datetime` to infinity.
EARLIEST = datetime.min.replace(tzinfo=UTC)
_INFINITY = datetime.max.replace(tzinfo=UTC)


def in_utc(at: datetime | None, pointer: str) -> datetime | None:
    """Return a time in UTC, or None.

    Raises:
        ValidationFailed: in UTC it is outside the years 1 to 9999; the error is at `pointer`.
    """
    if at is None:
        return None
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
